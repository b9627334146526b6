#include "topologies/build_topology.hpp"

#include <stdexcept>

#include "topologies/cluster_shape.hpp"
#include "topologies/fabric_graph.hpp"
#include "topologies/what_if.hpp"

namespace orrery {

Topology build_healthy_topology(const ClusterSpec& cluster, bool host_bridges) {
  FabricGraph graph;
  host_bridges = host_bridges || cluster.fabric.what_if.any() ||
                 (cluster.storage && cluster.storage->kind == StorageSpec::Kind::local);
  if (cluster.fabric.kind == FabricKind::graph) {
    add_custom_graph(cluster, graph);
  } else {
    add_nodes(cluster, host_bridges, graph);
    if (cluster.fabric.is_dragonfly() && cluster.nodes > 1) add_dragonfly(cluster, graph);
    if (cluster.fabric.kind == FabricKind::torus) add_torus(cluster, graph);
    if (cluster.fabric.is_clos()) add_tree(cluster, graph);
  }
  add_storage(cluster, graph);
  Topology topology = std::move(graph.topology);
  topology.set_routing(cluster.fabric.routing);
  topology.set_pxn(cluster.fabric.pxn);
  topology.set_payload_efficiency(cluster.fabric.payload_efficiency);
  topology.set_spray_efficiency(cluster.fabric.spray_efficiency);
  return topology;
}

Topology build_topology(const ClusterSpec& cluster) {
  Topology topology = build_healthy_topology(cluster);
  topology.set_ramp(transport_ramp(cluster, topology));
  const std::vector<WhatIfProblem> problems = apply_what_if(cluster.fabric.what_if, topology);
  if (!problems.empty()) throw std::invalid_argument(problems.front().line());
  return topology;
}

}  // namespace orrery
