#pragma once

#include <vector>

#include "sim/network/topology.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery::testing {

/// End of every task by a second, independent engine: plain send_receive communications, progressive filling
/// anew at every event, no shortcuts. Slow (flows x links an event); for graphs of some hundred tasks.
std::vector<double> max_min_reference(const WorkloadGraph& graph, const Topology& topology);

}  // namespace orrery::testing
