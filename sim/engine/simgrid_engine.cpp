#include <algorithm>
#include <stdexcept>

#include "sim/engine/child_process.hpp"
#include "sim/engine/engine.hpp"
#include "sim/engine/footprint.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/simgrid_platform.hpp"
#include "sim/engine/step_executor.hpp"

namespace orrery {

namespace {

/// What the links see of a graph's communications.
struct Traffic {
  std::vector<FlowSpec> flows;                    // by communication
  std::vector<std::vector<LinkLoad>> footprints;  // by communication; empty where no task refers to it
  std::vector<double> capacity;                   // by link
};

Traffic traffic_of(const WorkloadGraph& graph, const Topology& topology) {
  FootprintBuilder builder(topology);
  Traffic traffic;
  for (size_t link = 0; link < topology.links().size(); ++link) {
    traffic.capacity.push_back(builder.capacity(static_cast<LinkId>(link)).base());
  }
  std::vector<bool> used(graph.communications.size(), false);
  for (const Task& task : graph.tasks) {
    if (task.kind == TaskKind::communication) {
      used[static_cast<size_t>(task.index)] = true;
    }
  }
  traffic.flows.resize(graph.communications.size());
  traffic.footprints.resize(graph.communications.size());
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    const Communication& communication = graph.communications[i];
    if (!used[i] || communication.groups.empty()) {
      continue;
    }
    traffic.footprints[i] = builder.footprint(communication);
    const Bytes wire = wire_bytes(communication.op, communication.payload,
                                  static_cast<int>(communication.groups.front().size()));
    traffic.flows[i].wire_bytes = wire.base();
    if (!traffic.footprints[i].empty() && wire.base() > 0.0 && communication.transfer.base() > 0.0) {
      traffic.flows[i].rate_bound = (wire / communication.transfer).base();
    }
  }
  return traffic;
}

/// Bytes that crossed every link, twins included.
std::vector<double> link_bytes(const Traffic& traffic, std::span<const std::int64_t> executions) {
  std::vector<double> bytes_of(traffic.capacity.size(), 0.0);
  for (size_t i = 0; i < traffic.footprints.size(); ++i) {
    const double sent = traffic.flows[i].wire_bytes * static_cast<double>(executions[i]);
    for (const LinkLoad& load : traffic.footprints[i]) {
      bytes_of[static_cast<size_t>(load.link)] += sent * load.weight;
    }
  }
  return bytes_of;
}

/// The whole simulation, as it runs in the child: contended, start of each task, end of each task, bytes by
/// link.
std::vector<double> simulate(const WorkloadGraph& graph, const Traffic& traffic) {
  const SharedResources resources(traffic.footprints, traffic.capacity);
  std::vector<double> bounds;
  double largest = 1.0;
  for (const FlowSpec& flow : traffic.flows) {
    bounds.push_back(flow.rate_bound);
    largest = std::max(largest, flow.wire_bytes);
  }
  SimgridPlatform platform(resources, bounds, largest);
  StepExecutor executor(graph, resources, traffic.flows, platform);
  const StepTimeline timeline = executor.run();
  std::vector<double> values{timeline.contended ? 1.0 : 0.0};
  values.insert(values.end(), timeline.start_s.begin(), timeline.start_s.end());
  values.insert(values.end(), timeline.end_s.begin(), timeline.end_s.end());
  const std::vector<double> crossed = link_bytes(traffic, executor.executions());
  values.insert(values.end(), crossed.begin(), crossed.end());
  return values;
}

}  // namespace

StepTimeline run_simgrid(const WorkloadGraph& graph, const Topology& topology) {
  // Routes are found here, where no lock of the topology can be left behind by a fork.
  const Traffic traffic = traffic_of(graph, topology);
  const std::vector<double> values = doubles_from_child([&] { return simulate(graph, traffic); });
  const size_t tasks = graph.tasks.size();
  if (values.size() != 1 + 2 * tasks + traffic.capacity.size()) {
    throw std::runtime_error("the simulation process sent a timeline of another graph");
  }
  StepTimeline timeline;
  timeline.contended = values[0] != 0.0;
  const auto starts = values.begin() + 1;
  const auto ends = starts + static_cast<std::ptrdiff_t>(tasks);
  const auto crossed = ends + static_cast<std::ptrdiff_t>(tasks);
  timeline.start_s.assign(starts, ends);
  timeline.end_s.assign(ends, crossed);
  timeline.link_bytes.assign(crossed, values.end());
  for (const double end : timeline.end_s) {
    timeline.makespan_s = std::max(timeline.makespan_s, end);
  }
  return timeline;
}

}  // namespace orrery
