#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/network/topology.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// The graph while it grows, and what its parts hand to one another. Private to topologies.
struct FabricGraph {
  Topology topology;
  std::vector<VertexId> nics;  ///< node by node
  std::vector<VertexId>
      host_sides;  ///< of each node, where its PCIe switches meet or its only one; empty without any
  std::vector<VertexId> top_switches;  ///< the highest tier: where shared storage is cabled
};

std::string numbered(std::string_view name, int number);

/// GPUs, NVSwitches, PCIe switches and NICs of every node.
/// @param host_bridges  joins the PCIe switches of a node at "node3/host", so that a GPU can be reached over
/// another's NIC, or by the node's own drive; nothing else crosses it
void add_nodes(const ClusterSpec& cluster, bool host_bridges, FabricGraph& graph);

/// The network between the nodes, by kind.
/// @throws std::invalid_argument if there is no such fabric
void add_tree(const ClusterSpec& cluster, FabricGraph& graph);
void add_dragonfly(const ClusterSpec& cluster, FabricGraph& graph);
void add_torus(const ClusterSpec& cluster, FabricGraph& graph);
/// Nodes and network at once.
void add_custom_graph(const ClusterSpec& cluster, FabricGraph& graph);

/// Both directions of the cable between a NIC and its switch.
void add_nic_cable(const ClusterSpec& cluster, FabricGraph& graph, VertexId nic, VertexId to,
                   BytesPerSecond bandwidth);
/// Both directions of a cable between two switches.
void add_switch_cable(const ClusterSpec& cluster, FabricGraph& graph, VertexId a, VertexId b,
                      BytesPerSecond bandwidth);

/// Storage of the cluster (see build_topology.hpp). @throws std::invalid_argument if it has nowhere to go
void add_storage(const ClusterSpec& cluster, FabricGraph& graph);

}  // namespace orrery
