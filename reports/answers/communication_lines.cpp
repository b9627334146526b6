#include "reports/answers/communication_lines.hpp"

#include <algorithm>

namespace orrery {
namespace {

bool inside_layers(GroupKind group) { return group == GroupKind::tensor || group == GroupKind::context; }

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

}  // namespace

std::vector<CommunicationTotal> simulated_communication(const SimulatedStep& step, const StepPlan& plan) {
  std::vector<CommunicationTotal> lines = estimate_step(plan).communications;
  std::erase_if(lines, [](const CommunicationTotal& line) { return !inside_layers(line.group); });
  const int rank = slowest_rank(step.graph, step.timeline);
  for (const CommunicationUse& use : communication_use(step.graph, step.timeline, rank)) {
    const Communication& what = step.graph.communications[static_cast<size_t>(use.communication)];
    const int ranks = what.groups.empty() ? 2 : static_cast<int>(what.groups.front().size());
    add_use(lines,
            {what.group, what.op, ranks, what.payload, use.count, seconds(use.total_s),
             seconds(use.exposed_s), what.algorithm, what.protocol, what.bus_bandwidth, what.evidence});
  }
  return lines;
}

}  // namespace orrery
