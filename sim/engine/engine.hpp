#pragma once

#include <cstdint>
#include <limits>

#include "sim/engine/traffic.hpp"
#include "sim/network/topology.hpp"
#include "sim/timeline/step_timeline.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// Every link idle: a communication takes latency + transfer. One pass over the tasks, O(tasks + edges), or
/// in order of time where communications slow the kernels beside them. The oracle of the other engine where
/// nothing contends (no bound where something does: scheduling anomalies exist).
StepTimeline run_contention_free(const WorkloadGraph& graph);

/// SimGrid: communications are fluid flows that share the links of the topology by max-min fairness, their
/// twins' load included; alone, each takes latency + transfer exactly. Where no link is ever asked for more
/// than it has, that is all and no SimGrid is started. Else it runs in a child process forked before any
/// engine exists (a second SimGrid engine in one process aborts), so calls are independent and the caller
/// stays clean.
/// @throws std::runtime_error with the child's message if the simulation fails
StepTimeline run_simgrid(const WorkloadGraph& graph, const Topology& topology);
inline constexpr std::int64_t kAllTasks = std::numeric_limits<std::int64_t>::max();
/// The same where the graph's traffic is known.
/// @param observed  tasks whose contention the timeline tells, the first of the graph: a job beside another's
StepTimeline run_simgrid(const WorkloadGraph& graph, const Traffic& traffic,
                         std::int64_t observed = kAllTasks);

/// The same step on our own max-min solver, in this process. Agrees with SimGrid (tests/properties/engine);
/// faster where thousands of flows contend, since SimGrid solves all that are connected at every end.
StepTimeline run_max_min(const WorkloadGraph& graph, const Traffic& traffic,
                         std::int64_t observed = kAllTasks);

/// Communications up to which run_step takes SimGrid.
inline constexpr std::int64_t kMostSimgridCommunications = 1000;
/// SimGrid for a step of few communications (folded), our own solver for many (full scope).
StepTimeline run_step(const WorkloadGraph& graph, const Traffic& traffic, std::int64_t observed = kAllTasks);

}  // namespace orrery
