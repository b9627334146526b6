#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// A fabric given vertex by vertex: all GPUs, NICs and switches of the cluster, inside nodes and out.
struct GraphSpec {
  enum class Kind { gpu, nic, network_switch, storage };
  struct Vertex {
    std::string id;
    Kind kind = Kind::network_switch;
    int node = -1;  ///< -1: outside nodes
  };
  struct Edge {
    size_t from = 0;  ///< index into vertices
    size_t to = 0;
    BytesPerSecond bandwidth;  ///< one direction
    Seconds latency;           ///< all of it: nothing is added for switches or NICs
    bool directed = false;     ///< from `from` to `to` alone
  };
  std::vector<Vertex> vertices;
  std::vector<Edge> edges;
};
std::string_view name_of(GraphSpec::Kind kind);

/// Reads `vertices` and `edges` of a fabric; problems go to the reader.
/// @param bandwidth, latency  of edges that leave them out
GraphSpec read_graph(const SpecReader& fabric, int nodes, BytesPerSecond bandwidth, Seconds latency);

/// `vertices` and `edges` as read_graph takes them.
Json vertices_json(const GraphSpec& graph);
Json edges_json(const GraphSpec& graph);

struct ClusterSpec;
/// Why the graph is no cluster of equal nodes (as many GPUs and NICs in each as `node` says, the same links),
/// a whole sentence; empty if it is one.
std::string graph_problem(const ClusterSpec& cluster);

}  // namespace orrery
