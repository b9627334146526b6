#include "topologies/graph_spec.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "topologies/cluster_spec.hpp"

namespace orrery {
namespace {

constexpr std::array<std::string_view, 4> kKinds = {"gpu", "nic", "switch", "storage"};

GraphSpec::Vertex read_vertex(const SpecReader& reader, int nodes) {
  reader.only({"id", "kind", "node"});
  GraphSpec::Vertex vertex;
  vertex.id = reader.at("id").text();
  vertex.kind = static_cast<GraphSpec::Kind>(reader.at("kind").choice(kKinds));
  const bool needs_node = vertex.kind == GraphSpec::Kind::gpu || vertex.kind == GraphSpec::Kind::nic;
  if (reader.has("node") || needs_node) {
    vertex.node = static_cast<int>(reader.at("node").integer(0, std::max(0, nodes - 1)));
  }
  return vertex;
}

/// The vertex that a text names.
size_t end_of(const SpecReader& reader, const std::map<std::string, size_t>& by_id,
              const std::vector<std::string>& ids) {
  if (!reader.is_text()) {
    reader.refuse("the id of a vertex");
    return 0;
  }
  const std::string id = reader.text();
  const auto found = by_id.find(id);
  if (found != by_id.end()) return found->second;
  reader.refuse(one_of(ids, id));
  return 0;
}

/// What a node's links look like, whatever its vertices are called.
using LinkShape = std::tuple<GraphSpec::Kind, GraphSpec::Kind, bool, double, double, bool>;

}  // namespace

std::string_view name_of(GraphSpec::Kind kind) { return kKinds[static_cast<size_t>(kind)]; }

GraphSpec read_graph(const SpecReader& fabric, int nodes, BytesPerSecond bandwidth, Seconds latency) {
  GraphSpec graph;
  std::map<std::string, size_t> by_id;
  std::vector<std::string> ids;
  for (const SpecReader& reader : fabric.at("vertices").elements()) {
    graph.vertices.push_back(read_vertex(reader, nodes));
    const std::string& id = graph.vertices.back().id;
    if (!by_id.emplace(id, ids.size()).second) reader.at("id").refuse("an id that no other vertex has");
    ids.push_back(id);
  }
  for (const SpecReader& reader : fabric.at("edges").elements()) {
    reader.only({"from", "to", "bandwidth", "latency", "directed"});
    GraphSpec::Edge edge;
    edge.from = end_of(reader.at("from"), by_id, ids);
    edge.to = end_of(reader.at("to"), by_id, ids);
    if (edge.from == edge.to && reader.at("to").is_text() && by_id.contains(reader.at("to").text())) {
      reader.at("to").refuse("another vertex than \"from\"");
    }
    edge.bandwidth = reader.has("bandwidth") ? reader.at("bandwidth").quantity<BytesPerSecond>() : bandwidth;
    edge.latency = reader.has("latency") ? reader.at("latency").quantity<Seconds>(true) : latency;
    if (reader.has("directed")) edge.directed = reader.at("directed").boolean();
    graph.edges.push_back(edge);
  }
  return graph;
}

Json vertices_json(const GraphSpec& graph) {
  Json vertices = Json::array();
  for (const GraphSpec::Vertex& vertex : graph.vertices) {
    Json json = {{"id", vertex.id}, {"kind", std::string(name_of(vertex.kind))}};
    if (vertex.node >= 0) json["node"] = vertex.node;
    vertices.push_back(std::move(json));
  }
  return vertices;
}

Json edges_json(const GraphSpec& graph) {
  Json edges = Json::array();
  for (const GraphSpec::Edge& edge : graph.edges) {
    Json json = {{"from", graph.vertices[edge.from].id},
                 {"to", graph.vertices[edge.to].id},
                 {"bandwidth", exact_text(edge.bandwidth)},
                 {"latency", exact_text(edge.latency)}};
    if (edge.directed) json["directed"] = true;
    edges.push_back(std::move(json));
  }
  return edges;
}

std::string graph_problem(const ClusterSpec& cluster) {
  const GraphSpec& graph = cluster.fabric.graph;
  const auto nodes = static_cast<size_t>(cluster.nodes);
  if (cluster.gpus_per_node() != cluster.node.gpus) {
    return "a graph takes whole nodes of " + std::to_string(cluster.node.gpus) + " GPUs";
  }
  std::vector<std::array<int, kKinds.size()>> counts(nodes);
  for (const GraphSpec::Vertex& vertex : graph.vertices) {
    if (vertex.node >= 0) ++counts[static_cast<size_t>(vertex.node)][static_cast<size_t>(vertex.kind)];
  }
  for (const auto& [kind, expected, what] :
       {std::tuple(GraphSpec::Kind::gpu, cluster.node.gpus, "GPUs"),
        std::tuple(GraphSpec::Kind::nic, cluster.node.nics.count, "NICs")}) {
    for (size_t node = 0; node < nodes; ++node) {
      const int found = counts[node][static_cast<size_t>(kind)];
      if (found == expected) continue;
      return "node " + std::to_string(node) + " has " + std::to_string(found) + ' ' + what +
             " among the vertices, a node of this cluster has " + std::to_string(expected);
    }
  }
  std::vector<std::vector<LinkShape>> links(nodes);
  const auto note = [&](size_t own, size_t other, const GraphSpec::Edge& edge, bool outward) {
    const GraphSpec::Vertex& a = graph.vertices[own];
    const GraphSpec::Vertex& b = graph.vertices[other];
    if (a.node < 0) return;
    links[static_cast<size_t>(a.node)].emplace_back(a.kind, b.kind, a.node == b.node, edge.bandwidth.base(),
                                                    edge.latency.base(), edge.directed && outward);
  };
  for (const GraphSpec::Edge& edge : graph.edges) {
    note(edge.from, edge.to, edge, true);
    note(edge.to, edge.from, edge, false);
  }
  for (std::vector<LinkShape>& of_node : links) std::sort(of_node.begin(), of_node.end());
  for (size_t node = 1; node < nodes; ++node) {
    if (links[node] == links[0]) continue;
    return "node " + std::to_string(node) +
           " has other links than node 0 (kinds, bandwidths and latencies compared); every node must be the "
           "same";
  }
  return {};
}

}  // namespace orrery
