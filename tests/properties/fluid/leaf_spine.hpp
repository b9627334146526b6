#pragma once

#include <string>

#include "sim/network/topology.hpp"

namespace orrery::testing {

struct LeafSpine {
  int leaves = 16;
  int hosts_per_leaf = 8;
  int spines = 8;
  BytesPerSecond link = gigabits_per_second(400);
  Seconds wire = microseconds(1);
};

/// Hosts of one GPU and one NIC (a bus that never binds, without latency), each on its leaf by one cable;
/// each leaf on each spine by one cable.
inline Topology leaf_spine(const LeafSpine& shape) {
  Topology topology;
  std::vector<VertexId> spines;
  for (int spine = 0; spine < shape.spines; ++spine) {
    spines.push_back(topology.add_vertex(VertexKind::spine, -1, "spine" + std::to_string(spine)));
  }
  for (int leaf = 0; leaf < shape.leaves; ++leaf) {
    const VertexId at = topology.add_vertex(VertexKind::leaf, -1, "leaf" + std::to_string(leaf));
    for (const VertexId spine : spines) topology.add_duplex_link(at, spine, shape.link, shape.wire);
    for (int i = 0; i < shape.hosts_per_leaf; ++i) {
      const int node = leaf * shape.hosts_per_leaf + i;
      const std::string name = "node" + std::to_string(node);
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu0");
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, name + "/nic0");
      topology.add_duplex_link(gpu, nic, 100.0 * shape.link, Seconds(0));
      topology.add_duplex_link(nic, at, shape.link, shape.wire);
    }
  }
  return topology;
}

}  // namespace orrery::testing
