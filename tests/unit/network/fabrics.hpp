#pragma once

#include <string>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery::test {

inline std::string numbered(const std::string& name, int number) { return name + std::to_string(number); }

/// A rail-optimised fabric by hand: `nodes` nodes of `rails` GPUs on an NVSwitch (450 GB/s), each GPU with
/// its own PCIe switch (63 GB/s) and NIC; NIC i of every `nodes_per_leaf` nodes on a leaf (50 GB/s cables);
/// every leaf with `cables` cables to each of `spines` spines.
inline Topology rails(int nodes, int rails, int nodes_per_leaf, int spines, int cables) {
  constexpr BytesPerSecond kCable = gigabytes_per_second(50);
  Topology topology;
  std::vector<VertexId> leaves;
  for (int i = 0; i < (nodes + nodes_per_leaf - 1) / nodes_per_leaf * rails; ++i) {
    leaves.push_back(topology.add_vertex(VertexKind::leaf, -1, numbered("leaf", i)));
  }
  for (int node = 0; node < nodes; ++node) {
    const std::string prefix = numbered("node", node) + "/";
    const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, node, prefix + "nvswitch");
    for (int i = 0; i < rails; ++i) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + numbered("gpu", i));
      const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + numbered("pcie", i));
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + numbered("nic", i));
      topology.add_duplex_link(gpu, nvswitch, gigabytes_per_second(450), microseconds(0.3));
      topology.add_duplex_link(gpu, pcie, gigabytes_per_second(63), microseconds(0.25));
      topology.add_duplex_link(pcie, nic, gigabytes_per_second(63), microseconds(0.5));
      topology.add_duplex_link(nic, leaves[static_cast<size_t>(node / nodes_per_leaf * rails + i)], kCable,
                               microseconds(0.125));
    }
  }
  for (int s = 0; s < spines; ++s) {
    const VertexId spine = topology.add_vertex(VertexKind::spine, -1, numbered("spine", s));
    for (const VertexId leaf : leaves) {
      for (int c = 0; c < cables; ++c) topology.add_duplex_link(leaf, spine, kCable, microseconds(0.125));
    }
  }
  return topology;
}

/// Joins the PCIe switches of each node of rails() at a host.
inline void bridge_hosts(Topology& topology) {
  std::vector<VertexId> pcie;
  for (std::size_t v = 0; v < topology.vertices().size(); ++v) {
    if (topology.vertices()[v].kind == VertexKind::pcie_switch) pcie.push_back(static_cast<VertexId>(v));
  }
  VertexId host = -1;
  int node = -1;
  for (const VertexId each : pcie) {
    const int own = topology.vertices()[static_cast<std::size_t>(each)].node;
    if (own != node) {
      node = own;
      host = topology.add_vertex(VertexKind::pcie_switch, node, numbered("node", node) + "/host");
    }
    topology.add_duplex_link(each, host, gigabytes_per_second(63), microseconds(0.25));
  }
}

/// A torus with one GPU, cabled to its router, at each place; the first dimension counts fastest.
inline Topology torus(const std::vector<int>& dimensions) {
  constexpr BytesPerSecond kLink = gigabytes_per_second(50);
  Topology topology;
  int places = 1;
  for (const int n : dimensions) places *= n;
  for (int i = 0; i < places; ++i) {
    const VertexId router = topology.add_vertex(VertexKind::leaf, i, numbered("router", i));
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, i, numbered("gpu", i));
    topology.add_duplex_link(gpu, router, kLink * 6.0, microseconds(0.1));
  }
  const auto router = [&](int place) { return topology.find(numbered("router", place)); };
  // Not dimension by dimension, so that the order of the links gives nothing away.
  for (int place = places; place-- > 0;) {
    int stride = 1;
    for (const int n : dimensions) {
      const int here = place / stride % n;
      if (n > 2 || here == 0) {
        topology.add_duplex_link(router(place), router(place + ((here + 1) % n - here) * stride), kLink,
                                 microseconds(0.1));
      }
      stride *= n;
    }
  }
  return topology;
}

/// Ids of the vertices that a path passes, both ends included.
inline std::vector<std::string> ids_of(const Topology& topology, const std::vector<LinkId>& path) {
  std::vector<std::string> ids;
  for (const LinkId link : path) {
    const Link& hop = topology.links()[static_cast<size_t>(link)];
    if (ids.empty()) ids.push_back(topology.vertices()[static_cast<size_t>(hop.from)].id);
    ids.push_back(topology.vertices()[static_cast<size_t>(hop.to)].id);
  }
  return ids;
}

/// The link between two vertices.
inline LinkId link_between(const Topology& topology, const std::string& from, const std::string& to) {
  for (size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    if (link.from == topology.find(from) && link.to == topology.find(to)) return static_cast<LinkId>(l);
  }
  return -1;
}

}  // namespace orrery::test
