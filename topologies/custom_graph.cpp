#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "topologies/fabric_graph.hpp"

namespace orrery {
namespace {

using Kind = GraphSpec::Kind;

bool is_switch(const GraphSpec& graph, size_t v) { return graph.vertices[v].kind == Kind::network_switch; }

/// Takes switches that hold storage, and are cores so far, for leaves where what they are cabled to is joined
/// without them: a core joins pods, a leaf of storage does not.
void find_leaves_of_storage(const GraphSpec& graph, const std::vector<std::set<Kind>>& beside,
                            std::vector<VertexKind>& kinds) {
  std::vector<bool> holds_storage(kinds.size(), false);
  for (size_t v = 0; v < kinds.size(); ++v) {
    holds_storage[v] =
        is_switch(graph, v) && kinds[v] == VertexKind::core && beside[v].contains(Kind::storage);
  }
  std::vector<size_t> parent(kinds.size());
  std::iota(parent.begin(), parent.end(), size_t{0});
  const auto root = [&parent](size_t v) {
    while (parent[v] != v) {
      parent[v] = parent[parent[v]];
      v = parent[v];
    }
    return v;
  };
  const auto joins = [&](size_t v) { return is_switch(graph, v) && !holds_storage[v]; };
  for (const GraphSpec::Edge& edge : graph.edges) {
    if (joins(edge.from) && joins(edge.to)) parent[root(edge.from)] = root(edge.to);
  }
  std::vector<std::set<size_t>> joined(kinds.size());  // parts of the network that it is cabled to
  for (const GraphSpec::Edge& edge : graph.edges) {
    if (holds_storage[edge.from] && joins(edge.to)) joined[edge.from].insert(root(edge.to));
    if (holds_storage[edge.to] && joins(edge.from)) joined[edge.to].insert(root(edge.from));
  }
  for (size_t v = 0; v < kinds.size(); ++v) {
    if (holds_storage[v] && joined[v].size() < 2) kinds[v] = VertexKind::leaf;
  }
}

/// What a switch is, from where it stands and what hangs off it: in a node a PCIe switch if a NIC does, else
/// an NVSwitch; outside a leaf if a NIC, a GPU or storage alone does, a spine if a leaf of nodes does, else a
/// core.
std::vector<VertexKind> kinds_of_switches(const GraphSpec& graph) {
  std::vector<std::set<Kind>> beside(graph.vertices.size());
  for (const GraphSpec::Edge& edge : graph.edges) {
    beside[edge.from].insert(graph.vertices[edge.to].kind);
    beside[edge.to].insert(graph.vertices[edge.from].kind);
  }
  std::vector<VertexKind> kinds(graph.vertices.size(), VertexKind::core);
  for (size_t v = 0; v < kinds.size(); ++v) {
    if (!is_switch(graph, v)) continue;
    if (graph.vertices[v].node >= 0) {
      kinds[v] = beside[v].contains(Kind::nic) ? VertexKind::pcie_switch : VertexKind::nvswitch;
    } else if (beside[v].contains(Kind::nic) || beside[v].contains(Kind::gpu)) {
      kinds[v] = VertexKind::leaf;
    }
  }
  for (const GraphSpec::Edge& edge : graph.edges) {
    for (const auto& [below, above] : {std::pair(edge.from, edge.to), std::pair(edge.to, edge.from)}) {
      if (is_switch(graph, below) && is_switch(graph, above) && kinds[below] == VertexKind::leaf &&
          kinds[above] == VertexKind::core)
        kinds[above] = VertexKind::spine;
    }
  }
  find_leaves_of_storage(graph, beside, kinds);
  return kinds;
}

}  // namespace

void add_custom_graph(const ClusterSpec& cluster, FabricGraph& graph) {
  const GraphSpec& spec = cluster.fabric.graph;
  if (std::string problem = graph_problem(cluster); !problem.empty()) throw std::invalid_argument(problem);
  const std::vector<VertexKind> switches = kinds_of_switches(spec);
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
                                                          : switches[v];
    vertex[v] = graph.topology.add_vertex(kind, given.node, given.id);
    if (kind == VertexKind::nic) graph.nics.push_back(vertex[v]);
  }
  for (const VertexKind top : {VertexKind::core, VertexKind::spine, VertexKind::leaf}) {
    if (!graph.top_switches.empty()) break;
    for (const size_t v : order) {
      if (graph.topology.vertices()[static_cast<size_t>(vertex[v])].kind == top)
        graph.top_switches.push_back(vertex[v]);
    }
  }
  for (const GraphSpec::Edge& edge : spec.edges) {
    graph.topology.add_link(vertex[edge.from], vertex[edge.to], edge.bandwidth, edge.latency);
    if (!edge.directed)
      graph.topology.add_link(vertex[edge.to], vertex[edge.from], edge.bandwidth, edge.latency);
  }
}

}  // namespace orrery
