#pragma once

#include "sim/network/topology.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// The cluster as a graph: per node GPUs, NVSwitch (all chips of a domain are one vertex), PCIe switches and
/// NICs; then leaves, spines and cores. A link's latency is its cable's plus that of the switch or NIC it
/// leads into. A single node has NICs and no switches. Ids: "node3/gpu5", "node3/pcie1", "node3/nic2",
/// "node3/nvswitch" ("domain1/nvswitch" under nvl72), "leaf0", "spine2", "core4".
/// @throws std::invalid_argument if the fabric cannot be built (which read_cluster_spec refuses)
Topology build_topology(const ClusterSpec& cluster);

}  // namespace orrery
