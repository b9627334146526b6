#include "reports/answers/communication_lines.hpp"

#include <algorithm>
#include <array>

namespace orrery {
namespace {

bool inside_layers(GroupKind group) {
  return std::find(kInsideLayers.begin(), kInsideLayers.end(), group) != kInsideLayers.end();
}

bool same_call(const CommunicationTotal& a, const CommunicationTotal& b) {
  return a.group == b.group && a.op == b.op && a.ranks == b.ranks && a.payload == b.payload &&
         a.algorithm == b.algorithm && a.protocol == b.protocol;
}

void add_use(std::vector<CommunicationTotal>& lines, const CommunicationTotal& use) {
  const auto line = std::find_if(lines.begin(), lines.end(),
                                 [&use](const CommunicationTotal& other) { return same_call(other, use); });
  if (line == lines.end()) {
    lines.push_back(use);
    return;
  }
  line->count += use.count;
  line->total += use.total;
  line->exposed += use.exposed;
  line->evidence = weaker(line->evidence, use.evidence);
}

/// Collectives inside layers that cross domains are tasks of their own: their lines say what the plan does,
/// with the seconds that the tasks took on the network in proportion.
void scale_to_tasks(std::vector<CommunicationTotal>& lines, GroupKind group, double seconds_on_network) {
  Seconds planned;
  for (const CommunicationTotal& line : lines) {
    if (line.group == group) planned += line.exposed;
  }
  if (planned <= Seconds(0)) return;
  for (CommunicationTotal& line : lines) {
    if (line.group == group) line.total += line.exposed * (seconds_on_network / planned.base() - 1.0);
  }
}

}  // namespace

std::vector<CommunicationTotal> simulated_communication(const SimulatedStep& step, const StepPlan& plan) {
  const int rank = slowest_rank(step.graph, step.timeline);
  const int stage = rank / (step.graph.ranks / plan.stages());
  std::vector<CommunicationTotal> lines = inline_communications(plan, stage);
  std::array<double, kGroupKinds> crossing{};  // seconds of tasks that were taken out of layers
  for (const CommunicationUse& use : communication_use(step.graph, step.timeline, rank)) {
    const Communication& what = step.graph.communications[static_cast<size_t>(use.communication)];
    if (what.storage != StorageUse::none) continue;
    if (inside_layers(what.group)) {
      crossing[static_cast<size_t>(what.group)] += use.total_s;
      continue;
    }
    const int ranks = what.groups.empty() ? 2 : static_cast<int>(what.groups.front().size());
    add_use(lines,
            {what.group, what.op, ranks, what.payload / what.calls, use.count * what.calls,
             seconds(use.total_s), seconds(use.exposed_s), what.algorithm, what.protocol, what.evidence});
  }
  const Breakdown breakdown = breakdown_of_rank(step.graph, step.timeline, rank);
  for (const GroupKind group : kInsideLayers) {
    const double seconds_on_network = crossing[static_cast<size_t>(group)];
    if (seconds_on_network > 0.0) scale_to_tasks(lines, group, seconds_on_network);
  }
  match_exposed_inside(breakdown, lines);
  // The exposed share of an overlapped send is part of its pass.
  match_exposed(breakdown, GroupKind::pipeline, lines);
  return lines;
}

}  // namespace orrery
