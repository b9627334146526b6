#pragma once

#include <string>
#include <vector>

#include "topologies/cluster_spec.hpp"

namespace orrery {

/// Puts on record why the fabric and storage of a cluster cannot be built: counts and ports, ids that are not
/// there, GPUs that nothing joins any more.
/// @param cluster_pointer  JSON pointer of the cluster
void check_fabric(const ClusterSpec& cluster, const std::string& cluster_pointer, Problems& problems);

/// What is uneven about a fabric, a line each: switches of one tier with unlike shares of their uplinks left,
/// nodes with unlike NIC rates, leaves of a graph with unlike ratios of up to down. Builds the graph.
std::vector<std::string> fabric_warnings(const ClusterSpec& cluster);

/// What the closed form cannot see of this fabric and the simulation can, a line each; none where the two
/// agree. Cheap.
std::vector<std::string> estimate_limits(const ClusterSpec& cluster);
inline bool needs_simulation(const ClusterSpec& cluster) { return !estimate_limits(cluster).empty(); }

}  // namespace orrery
