#pragma once

#include "sim/network/topology.hpp"
#include "sim/timeline/step_timeline.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// Every link idle: a communication takes latency + transfer. One pass over the tasks, O(tasks + edges). The
/// oracle of the other engine where nothing contends (no bound where something does: scheduling anomalies
/// exist).
StepTimeline run_contention_free(const WorkloadGraph& graph);

/// SimGrid: communications are fluid flows that share the links of the topology by max-min fairness, their
/// twins' load included; alone, each takes latency + transfer exactly. Runs in a child process forked before
/// any engine exists (a second SimGrid engine in one process aborts), so calls are independent and the caller
/// stays clean.
/// @throws std::runtime_error with the child's message if the simulation fails
StepTimeline run_simgrid(const WorkloadGraph& graph, const Topology& topology);

}  // namespace orrery
