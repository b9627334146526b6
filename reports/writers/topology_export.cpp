#include <fmt/format.h>

#include <vector>

#include "reports/writers/topology_writer.hpp"
#include "sim/base/index.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {
namespace {

/// The values of a resolved cluster without their origins.
Json values_of(const Json& resolved) {
  if (!resolved.is_object()) return resolved;
  if (resolved.contains("value") && resolved.contains("origin")) return resolved["value"];
  Json values = Json::object();
  for (const auto& [key, value] : resolved.items()) values[key] = values_of(value);
  return values;
}

/// What of a resolved object was given beside its preset.
Json given_of(const Json& resolved) {
  Json given = Json::object();
  for (const auto& [key, value] : resolved.items()) {
    if (value.contains("origin")) {
      if (value["origin"] == "given") given[key] = value["value"];
    } else if (Json inside = given_of(value); !inside.empty()) {
      given[key] = std::move(inside);
    }
  }
  return given;
}

/// By its preset's name, on which the kernel profile and measured collectives rest.
Json gpu_of(const GpuSpec& gpu, const Json& resolved) {
  if (gpu.device.name == "custom") return values_of(resolved);
  Json by_name = given_of(resolved);
  by_name["preset"] = gpu.device.name;
  return by_name;
}

std::string_view graph_kind(VertexKind kind) {
  switch (kind) {
    case VertexKind::gpu:
    case VertexKind::nic:
    case VertexKind::storage:
      return name_of(kind);
    default:
      return "switch";
  }
}

/// Routers of a torus stand in nodes; read back, a switch in a node would be one of its PCIe switches.
int node_of(const Vertex& vertex) { return is_network_switch(vertex.kind) ? -1 : vertex.node; }

std::string quoted(const std::string& id) {
  std::string text = "\"";
  for (const char c : id) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

/// A pair of links that are one cable in both directions alike.
bool is_duplex(const Topology& topology, size_t l) {
  if (l + 1 >= topology.links().size()) return false;
  const Link& link = topology.links()[l];
  const Link& back = topology.links()[l + 1];
  return back.from == link.to && back.to == link.from && back.bandwidth == link.bandwidth &&
         back.latency == link.latency &&
         topology.usable(static_cast<LinkId>(l)) == topology.usable(static_cast<LinkId>(l + 1));
}

/// Shared storage is built from the cluster's `storage` when the graph is read back, under the same ids.
bool is_of_shared_storage(const ClusterSpec& cluster, const std::string& id) {
  return cluster.storage && cluster.storage->kind != StorageSpec::Kind::local &&
         (id == "storage0" || id.starts_with("storage0/"));
}

/// What a graph needs beside vertices and edges for the same shared storage, broken as it was.
void put_shared_storage(const ClusterSpec& cluster, const Json& resolved, Json& graph) {
  if (!is_of_shared_storage(cluster, "storage0")) return;
  graph["storage"] = resolved["storage"];
  Json& fabric = graph["fabric"];
  for (const char* key : {"link_bandwidth", "link_latency", "switch_latency"})
    fabric[key] = resolved["fabric"][key];
  const auto keep = [&](const char* key, const auto& ends_of) {
    if (!resolved["fabric"].contains(key)) return;
    for (const Json& entry : resolved["fabric"][key]) {
      const Json& ends = ends_of(entry);
      if (is_of_shared_storage(cluster, ends[0]) || is_of_shared_storage(cluster, ends[1]))
        fabric[key].push_back(entry);
    }
  };
  if (resolved["fabric"].contains("failed_switches")) {
    for (const Json& id : resolved["fabric"]["failed_switches"]) {
      if (is_of_shared_storage(cluster, id)) fabric["failed_switches"].push_back(id);
    }
  }
  keep("failed_links", [](const Json& entry) -> const Json& { return entry; });
  keep("degraded", [](const Json& entry) -> const Json& { return entry.at("link"); });
}

}  // namespace

Json topology_graph_json(const TopologyAnswer& answer) {
  const Topology& topology = answer.topology;
  const Json with_origins = resolved_cluster_json(answer.cluster);
  const Json resolved = values_of(with_origins);
  Json vertices = Json::array();
  for (size_t v = 0; v < topology.vertices().size(); ++v) {
    const auto id = static_cast<VertexId>(v);
    const Vertex& vertex = topology.vertices()[v];
    if (topology.failed(id) || is_of_shared_storage(answer.cluster, vertex.id)) continue;
    Json line = {{"id", vertex.id}, {"kind", graph_kind(vertex.kind)}};
    if (const int node = node_of(vertex); node >= 0) line["node"] = node;
    vertices.push_back(std::move(line));
  }
  Json edges = Json::array();
  for (size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    const bool duplex = is_duplex(topology, l);
    const std::string& from = topology.vertices()[index_of(link.from)].id;
    const std::string& to = topology.vertices()[index_of(link.to)].id;
    if (topology.usable(static_cast<LinkId>(l)) && !is_of_shared_storage(answer.cluster, from) &&
        !is_of_shared_storage(answer.cluster, to)) {
      Json edge = {{"from", from},
                   {"to", to},
                   {"bandwidth", exact_text(link.bandwidth)},
                   {"latency", exact_text(link.latency)}};
      if (!duplex) edge["directed"] = true;
      edges.push_back(std::move(edge));
    }
    if (duplex) ++l;
  }
  Json fabric = {{"kind", "graph"}, {"routing", name_of(topology.routing())}};
  if (topology.pxn()) fabric["pxn"] = true;
  for (const char* key : {"transport", "in_network_reduction"}) {
    if (resolved.contains("fabric") && resolved["fabric"].contains(key))
      fabric[key] = resolved["fabric"][key];
  }
  fabric["vertices"] = std::move(vertices);
  fabric["edges"] = std::move(edges);
  Json node = resolved["node"];
  node["gpu"] = gpu_of(answer.cluster.node.gpu, with_origins["node"]["gpu"]);
  Json cluster = {{"node", std::move(node)}, {"gpus", answer.cluster.gpus}, {"nodes", answer.cluster.nodes}};
  cluster["fabric"] = std::move(fabric);
  for (const char* key : {"price", "power", "reliability"}) {
    if (resolved.contains(key)) cluster[key] = resolved[key];
  }
  put_shared_storage(answer.cluster, resolved, cluster);
  return cluster;
}

std::string topology_dot(const TopologyAnswer& answer) {
  const Topology& topology = answer.topology;
  std::string text = "graph fabric {\n  node [shape=box, fontsize=10]\n";
  for (size_t v = 0; v < topology.vertices().size(); ++v) {
    const Vertex& vertex = topology.vertices()[v];
    text += fmt::format("  {} [kind={}{}{}]\n", quoted(vertex.id), name_of(vertex.kind),
                        vertex.node >= 0 ? fmt::format(", group=node{}", vertex.node) : "",
                        topology.failed(static_cast<VertexId>(v)) ? ", style=dashed, color=red" : "");
  }
  for (size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    const bool duplex = is_duplex(topology, l);
    text += fmt::format("  {} -- {} [label={}{}{}]\n", quoted(topology.vertices()[index_of(link.from)].id),
                        quoted(topology.vertices()[index_of(link.to)].id),
                        quoted(format_quantity(link.bandwidth)), duplex ? "" : ", dir=forward",
                        topology.usable(static_cast<LinkId>(l)) ? "" : ", style=dashed, color=red");
    if (duplex) ++l;
  }
  return text + "}\n";
}

}  // namespace orrery
