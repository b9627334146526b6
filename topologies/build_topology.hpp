#pragma once

#include <vector>

#include "sim/network/storage_shape.hpp"
#include "sim/network/topology.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// The cluster as a graph: per node GPUs, NVSwitch (all chips of a domain are one vertex), PCIe switches and
/// NICs; then the fabric, then storage; what is broken has failed in it. A link's latency is its cable's plus
/// that of the switch or NIC it leads into. A single node has NICs and no switches. Ids: "node3/gpu5",
/// "node3/pcie1", "node3/nic2", "node3/nvswitch" ("domain1/nvswitch" under nvl72); trees "leaf0", "spine2",
/// "core4"; dragonflies "group3/switch5", or "group3/leaf5" and "group3/spine1"; tori "node3/router"; graphs
/// as given. Where something is broken or drives are local, the PCIe switches of a node meet at "node3/host".
///
/// Storage: "node3/nvme" is the drives of a node, where its PCIe switches meet. Shared and object stores are
/// "storage0" behind "storage0/hub", a link of the servers' whole rate, and "storage0/nic", cabled to the
/// fabric's highest switches (of a dragonfly, all that hold global cables); with a rate a client, node 3
/// reads and writes at "storage0/node3", which hangs on the hub over a link of that rate. A link out of
/// storage has the read bandwidth, one into it the write bandwidth over what redundancy writes more.
/// @throws std::invalid_argument if the fabric cannot be built (which read_cluster_spec refuses)
Topology build_topology(const ClusterSpec& cluster);

/// The group that each vertex of a dragonfly's graph is a switch of, -1 for the others; empty unless the
/// fabric is a dragonfly.
std::vector<int> dragonfly_groups(const ClusterSpec& cluster, const Topology& topology);

}  // namespace orrery
