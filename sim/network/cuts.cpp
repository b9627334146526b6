#include "sim/network/cuts.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes boost::optional inside Boost.Graph's edge iterator for uninitialised once it is inlined here.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <cstdint>

namespace orrery {
namespace {

using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using Edge = Traits::edge_descriptor;
using Node = Traits::vertex_descriptor;

// Whole bytes a second, so that the flow is exact: 64 bits hold 9e9 GB/s.
struct EdgeFlow {
  std::int64_t capacity = 0;
  std::int64_t residual = 0;
  Edge reverse;
};
struct NodeFlow {
  boost::default_color_type color = boost::white_color;
  std::int64_t distance = 0;
  Edge predecessor;
};
using FlowGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, NodeFlow, EdgeFlow>;

void add_capacity(FlowGraph& graph, Node from, Node to, std::int64_t capacity) {
  const Edge forward = boost::add_edge(from, to, EdgeFlow{capacity, 0, {}}, graph).first;
  const Edge backward = boost::add_edge(to, from, EdgeFlow{0, 0, {}}, graph).first;
  graph[forward].reverse = backward;
  graph[backward].reverse = forward;
}

}  // namespace

BytesPerSecond bisection_bandwidth(const Topology& topology) {
  if (topology.gpu_count() < 2) return {};
  const std::size_t vertices = topology.vertices().size();
  FlowGraph graph(vertices + 2);
  const Node source = vertices;
  const Node sink = vertices + 1;
  std::int64_t total = 1;
  for (const Link& link : topology.links()) {
    const auto capacity = static_cast<std::int64_t>(link.bandwidth.base());
    add_capacity(graph, static_cast<Node>(link.from), static_cast<Node>(link.to), capacity);
    total += capacity;
  }
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    const auto vertex = static_cast<Node>(topology.gpu(gpu));
    if (gpu < topology.gpu_count() / 2) {
      add_capacity(graph, source, vertex, total);
    } else {
      add_capacity(graph, vertex, sink, total);
    }
  }
  const std::int64_t flow = boost::boykov_kolmogorov_max_flow(
      graph, boost::get(&EdgeFlow::capacity, graph), boost::get(&EdgeFlow::residual, graph),
      boost::get(&EdgeFlow::reverse, graph), boost::get(&NodeFlow::predecessor, graph),
      boost::get(&NodeFlow::color, graph), boost::get(&NodeFlow::distance, graph),
      boost::get(boost::vertex_index, graph), source, sink);
  return BytesPerSecond(static_cast<double>(flow));
}

}  // namespace orrery
