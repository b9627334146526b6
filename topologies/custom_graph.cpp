#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>

#include "topologies/fabric_graph.hpp"

namespace orrery {
namespace {

using Kind = GraphSpec::Kind;

/// What a switch is, from where it stands and what hangs off it: in a node a PCIe switch if a NIC does, else
/// an NVSwitch; outside a leaf if a NIC, a GPU or storage does, else a spine.
VertexKind kind_of_switch(const GraphSpec& graph, size_t vertex, const std::vector<std::set<Kind>>& beside) {
  const std::set<Kind>& kinds = beside[vertex];
  if (graph.vertices[vertex].node >= 0) {
    return kinds.contains(Kind::nic) ? VertexKind::pcie_switch : VertexKind::nvswitch;
  }
  return kinds == std::set<Kind>{Kind::network_switch} || kinds.empty() ? VertexKind::spine
                                                                        : VertexKind::leaf;
}

}  // namespace

void add_custom_graph(const ClusterSpec& cluster, FabricGraph& graph) {
  const GraphSpec& spec = cluster.fabric.graph;
  if (std::string problem = graph_problem(cluster); !problem.empty()) throw std::invalid_argument(problem);
  std::vector<std::set<Kind>> beside(spec.vertices.size());
  for (const GraphSpec::Edge& edge : spec.edges) {
    beside[edge.from].insert(spec.vertices[edge.to].kind);
    beside[edge.to].insert(spec.vertices[edge.from].kind);
  }
  // GPUs are numbered in the order of construction: node by node, each node's in the order given.
  std::vector<size_t> order(spec.vertices.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const auto key = [&](size_t v) {
      const int node = spec.vertices[v].node;
      return node < 0 ? cluster.nodes : node;
    };
    return key(a) < key(b);
  });
  std::vector<VertexId> vertex(spec.vertices.size());
  for (const size_t v : order) {
    const GraphSpec::Vertex& given = spec.vertices[v];
    const VertexKind kind = given.kind == Kind::gpu       ? VertexKind::gpu
                            : given.kind == Kind::nic     ? VertexKind::nic
                            : given.kind == Kind::storage ? VertexKind::storage
                                                          : kind_of_switch(spec, v, beside);
    vertex[v] = graph.topology.add_vertex(kind, given.node, given.id);
    if (kind == VertexKind::nic) graph.nics.push_back(vertex[v]);
    if (kind == VertexKind::spine) graph.top_switches.push_back(vertex[v]);
  }
  if (graph.top_switches.empty()) {
    for (const VertexId v : vertex) {
      if (graph.topology.vertices()[static_cast<size_t>(v)].kind == VertexKind::leaf)
        graph.top_switches.push_back(v);
    }
  }
  for (const GraphSpec::Edge& edge : spec.edges) {
    graph.topology.add_link(vertex[edge.from], vertex[edge.to], edge.bandwidth, edge.latency);
    if (!edge.directed)
      graph.topology.add_link(vertex[edge.to], vertex[edge.from], edge.bandwidth, edge.latency);
  }
}

}  // namespace orrery
