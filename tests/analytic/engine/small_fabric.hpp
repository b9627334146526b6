#pragma once

#include <string>
#include <vector>

#include "sim/network/topology.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery::testing {

/// A two-tier fabric that can be computed by hand: nodes on leaves, every NIC on its node's leaf, and one
/// cable from each leaf to the one spine.
struct SmallFabric {
  int nodes = 2;
  int gpus = 1;  ///< a node, each with a NIC of its own or sharing them evenly
  int nics = 1;
  int nodes_a_leaf = 1;
  double nvlink = 400e9;
  double nic = 50e9;
  double uplink = 1e15;  ///< of a leaf, B/s and direction

  Topology build() const {
    Topology topology;
    const VertexId spine = topology.add_vertex(VertexKind::spine, -1, "spine0");
    VertexId leaf = -1;
    for (int node = 0; node < nodes; ++node) {
      if (node % nodes_a_leaf == 0) {
        leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf" + std::to_string(node / nodes_a_leaf));
        topology.add_duplex_link(leaf, spine, BytesPerSecond(uplink), Seconds(0));
      }
      const std::string name = "node" + std::to_string(node);
      const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, node, name + "/nvswitch");
      std::vector<VertexId> nic_of;
      for (int i = 0; i < nics; ++i) {
        nic_of.push_back(topology.add_vertex(VertexKind::nic, node, name + "/nic" + std::to_string(i)));
        topology.add_duplex_link(nic_of.back(), leaf, BytesPerSecond(nic), Seconds(0));
      }
      for (int i = 0; i < gpus; ++i) {
        const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu" + std::to_string(i));
        topology.add_duplex_link(gpu, nvswitch, BytesPerSecond(nvlink), Seconds(0));
        topology.add_duplex_link(gpu, nic_of[static_cast<size_t>(i * nics / gpus)], BytesPerSecond(1e12),
                                 Seconds(0));
      }
    }
    return topology;
  }
};

inline LinkId link_between(const Topology& topology, const std::string& from, const std::string& to) {
  for (size_t i = 0; i < topology.links().size(); ++i) {
    if (topology.links()[i].from == topology.find(from) && topology.links()[i].to == topology.find(to)) {
      return static_cast<LinkId>(i);
    }
  }
  return -1;
}

inline Communication communication(CollectiveOp op, double payload, double latency, double transfer,
                                   std::vector<std::vector<int>> groups, GroupKind kind = GroupKind::data) {
  Communication result;
  result.group = kind;
  result.op = op;
  result.payload = Bytes(payload);
  result.latency = Seconds(latency);
  result.transfer = Seconds(transfer);
  result.groups = std::move(groups);
  return result;
}

inline Segment segment(double duration, BreakdownTerm term = BreakdownTerm::forward) {
  Segment result;
  result.name = "work";
  result.pieces.push_back(Piece{"kernel", term, Seconds(duration)});
  result.duration = Seconds(duration);
  return result;
}

inline Task segment_task(int rank, std::int32_t index) {
  return Task{.kind = TaskKind::segment, .rank = rank, .index = index};
}
inline Task communication_task(int rank, std::int32_t index, int stream = 2) {
  return Task{.kind = TaskKind::communication,
              .rank = rank,
              .index = index,
              .stream = static_cast<std::int16_t>(stream)};
}

/// A graph of communications that all start at once, one task each, on ranks 0, 1, ...
inline WorkloadGraph concurrent(const std::vector<Communication>& communications) {
  WorkloadGraphBuilder builder(static_cast<int>(communications.size()));
  for (size_t i = 0; i < communications.size(); ++i) {
    builder.add_task(communication_task(static_cast<int>(i), builder.add_communication(communications[i])));
  }
  return builder.finish();
}

}  // namespace orrery::testing
