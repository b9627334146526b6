#include <algorithm>
#include <memory>
#include <stdexcept>

#include "sim/engine/child_process.hpp"
#include "sim/engine/engine.hpp"
#include "sim/engine/max_min_platform.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/simgrid_platform.hpp"
#include "sim/engine/step_executor.hpp"
#include "sim/engine/traffic.hpp"

namespace orrery {

namespace {

/// Bytes that crossed every link, twins included.
std::vector<double> link_bytes(const Traffic& traffic, std::span<const std::int64_t> executions) {
  std::vector<double> bytes_of(traffic.capacity.size(), 0.0);
  for (size_t i = 0; i < traffic.footprints.size(); ++i) {
    const double sent = traffic.flows[i].wire_bytes * static_cast<double>(executions[i]);
    for (const LinkLoad& load : traffic.footprints[i]) {
      bytes_of[static_cast<size_t>(load.link)] += sent * load.weight;
    }
  }
  for (size_t link = 0; link < bytes_of.size(); ++link) {
    bytes_of[link] = bytes_of[static_cast<size_t>(traffic.stands_for[link])];
  }
  return bytes_of;
}

constexpr size_t kContentionFields = 4;

/// What no solver was needed for, or has been executed with one.
StepTimeline timeline_of(StepExecutor& executor, const Traffic& traffic) {
  StepTimeline timeline = executor.take_timeline();
  timeline.link_bytes = link_bytes(traffic, executor.executions());
  return timeline;
}

/// What is left of a step on SimGrid, as it runs in the child: contended, others contended, start of each
/// task, end of each task, bytes by link, then the links' contention.
std::vector<double> simulate(StepExecutor& executor, const SharedResources& resources,
                             const Traffic& traffic) {
  std::vector<double> bounds;
  double largest = 1.0;
  for (const FlowSpec& flow : traffic.flows) {
    bounds.push_back(flow.rate_bound);
    largest = std::max(largest, flow.wire_bytes);
  }
  SimgridPlatform platform(resources, bounds, largest);
  executor.run_with(platform);
  const StepTimeline timeline = timeline_of(executor, traffic);
  std::vector<double> values{timeline.contended ? 1.0 : 0.0, timeline.others_contended ? 1.0 : 0.0};
  values.insert(values.end(), timeline.start_s.begin(), timeline.start_s.end());
  values.insert(values.end(), timeline.end_s.begin(), timeline.end_s.end());
  values.insert(values.end(), timeline.link_bytes.begin(), timeline.link_bytes.end());
  for (const LinkContention& link : timeline.contention) {
    values.insert(values.end(), {static_cast<double>(link.link), link.busy_s, link.held_s,
                                 static_cast<double>(link.flows)});
  }
  return values;
}

}  // namespace

StepTimeline run_simgrid(const WorkloadGraph& graph, const Topology& topology) {
  // Routes are found here, where no lock of the topology can be left behind by a fork.
  return run_simgrid(graph, traffic_of(graph, topology));
}

StepTimeline run_simgrid(const WorkloadGraph& graph, const Traffic& traffic, std::int64_t observed) {
  const SharedResources resources(traffic.footprints, traffic.capacity);
  StepExecutor executor(graph, resources, traffic.flows, observed);
  if (executor.run_without_solver()) return timeline_of(executor, traffic);
  const std::vector<double> values =
      doubles_from_child([&] { return simulate(executor, resources, traffic); });
  const size_t tasks = graph.tasks.size();
  const size_t fixed = 2 + 2 * tasks + traffic.capacity.size();
  if (values.size() < fixed || (values.size() - fixed) % kContentionFields != 0) {
    throw std::runtime_error("the simulation process sent a timeline of another graph");
  }
  StepTimeline timeline;
  timeline.contended = values[0] != 0.0;
  timeline.others_contended = values[1] != 0.0;
  const auto starts = values.begin() + 2;
  const auto ends = starts + static_cast<std::ptrdiff_t>(tasks);
  const auto crossed = ends + static_cast<std::ptrdiff_t>(tasks);
  const auto contention = crossed + static_cast<std::ptrdiff_t>(traffic.capacity.size());
  timeline.start_s.assign(starts, ends);
  timeline.end_s.assign(ends, crossed);
  timeline.link_bytes.assign(crossed, contention);
  for (auto value = contention; value != values.end(); value += kContentionFields) {
    timeline.contention.push_back(
        {static_cast<std::int32_t>(value[0]), value[1], value[2], static_cast<std::int64_t>(value[3])});
  }
  for (const double end : timeline.end_s) {
    timeline.makespan_s = std::max(timeline.makespan_s, end);
  }
  return timeline;
}

StepTimeline run_max_min(const WorkloadGraph& graph, const Traffic& traffic, std::int64_t observed) {
  const SharedResources resources(traffic.footprints, traffic.capacity);
  StepExecutor executor(graph, resources, traffic.flows, observed);
  if (!executor.run_without_solver()) {
    MaxMinPlatform platform(resources);
    executor.run_with(platform);
  }
  return timeline_of(executor, traffic);
}

StepTimeline run_step(const WorkloadGraph& graph, const Traffic& traffic, std::int64_t observed) {
  const auto flowing = std::count_if(traffic.flows.begin(), traffic.flows.end(),
                                     [](const FlowSpec& flow) { return flow.rate_bound > 0.0; });
  return flowing > kMostSimgridCommunications ? run_max_min(graph, traffic, observed)
                                              : run_simgrid(graph, traffic, observed);
}

}  // namespace orrery
