#include "tests/properties/engine/max_min_reference.hpp"

#include <algorithm>
#include <limits>

namespace orrery::testing {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

struct Flow {
  size_t task;
  double left;                 // bytes
  double bound;                // B/s
  std::vector<int> crossings;  // by link: how often
  double rate = 0.0;
};

/// Progressive filling: raise all rates together; whoever meets its bound or a full link stops.
void fill(std::vector<Flow>& flows, const Topology& topology) {
  const size_t links = topology.links().size();
  std::vector<bool> frozen(flows.size(), false);
  for (Flow& flow : flows) flow.rate = 0.0;
  for (size_t done = 0; done < flows.size();) {
    double level = kNever;
    std::vector<double> level_of(links, kNever);
    for (size_t link = 0; link < links; ++link) {
      double free = topology.links()[link].bandwidth.base();
      int crossings = 0;
      for (size_t i = 0; i < flows.size(); ++i) {
        if (frozen[i]) {
          free -= flows[i].rate * flows[i].crossings[link];
        } else {
          crossings += flows[i].crossings[link];
        }
      }
      if (crossings > 0) {
        level_of[link] = std::max(0.0, free) / crossings;
        level = std::min(level, level_of[link]);
      }
    }
    for (size_t i = 0; i < flows.size(); ++i) {
      if (!frozen[i]) level = std::min(level, flows[i].bound);
    }
    for (size_t i = 0; i < flows.size(); ++i) {
      if (frozen[i]) continue;
      bool stops = flows[i].bound <= level * (1 + 1e-12);
      for (size_t link = 0; link < links; ++link) {
        stops = stops || (flows[i].crossings[link] > 0 && level_of[link] <= level * (1 + 1e-12));
      }
      if (stops) {
        frozen[i] = true;
        flows[i].rate = level;
        ++done;
      }
    }
  }
}

}  // namespace

std::vector<double> max_min_reference(const WorkloadGraph& graph, const Topology& topology) {
  std::vector<double> end(graph.tasks.size(), kNever);
  std::vector<std::int32_t> waiting = graph.predecessor_counts();
  std::vector<double> timer(graph.tasks.size(), kNever);  // end of a segment or of a latency
  std::vector<Flow> flows;
  const auto start = [&](size_t task, double now) {
    const auto index = static_cast<size_t>(graph.tasks[task].index);
    timer[task] = now + (graph.tasks[task].kind == TaskKind::segment ? graph.segments[index].duration
                                                                     : graph.communications[index].latency)
                            .base();
  };
  const auto finish = [&](size_t task, double now) {
    end[task] = now;
    for (const std::int32_t successor : graph.successors_of(static_cast<std::int32_t>(task))) {
      if (--waiting[static_cast<size_t>(successor)] == 0) start(static_cast<size_t>(successor), now);
    }
  };
  for (size_t task = 0; task < graph.tasks.size(); ++task) {
    if (waiting[task] == 0) start(task, 0.0);
  }
  double now = 0.0;
  for (;;) {
    fill(flows, topology);
    double next = *std::min_element(timer.begin(), timer.end());
    for (const Flow& flow : flows) next = std::min(next, now + flow.left / flow.rate);
    if (next == kNever) return end;
    for (Flow& flow : flows) flow.left -= flow.rate * (next - now);
    now = next;
    for (size_t i = 0; i < flows.size();) {
      if (flows[i].left <= 1e-6) {  // bytes of some 1e7
        const size_t task = flows[i].task;
        flows.erase(flows.begin() + static_cast<std::ptrdiff_t>(i));
        finish(task, now);
      } else {
        ++i;
      }
    }
    for (size_t task = 0; task < timer.size(); ++task) {
      if (timer[task] > now) continue;
      timer[task] = kNever;
      if (graph.tasks[task].kind == TaskKind::segment) {
        finish(task, now);
        continue;
      }
      const Communication& message = graph.communications[static_cast<size_t>(graph.tasks[task].index)];
      Flow flow{task, message.payload.base(), (message.payload / message.transfer).base(), {}};
      flow.crossings.assign(topology.links().size(), 0);
      for (const auto& pair : message.groups) {
        for (const LinkId link : topology.route(pair[0], pair[1]))
          ++flow.crossings[static_cast<size_t>(link)];
      }
      flows.push_back(std::move(flow));
    }
  }
}

}  // namespace orrery::testing
