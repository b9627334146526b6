#include "topologies/fabric_spec.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 9> kKindNames = {"single_switch", "leaf_spine", "rail_optimized",
                                                        "nvl72",         "fat_tree",   "dragonfly",
                                                        "dragonfly+",    "torus",      "graph"};
constexpr std::array<std::string_view, 3> kRoutingNames = {"ecmp", "adaptive", "static"};
constexpr int kMostPorts = 4096;
constexpr double kMostOversubscription = 1000.0;
constexpr int kTraysOfRack = 18;          // NVIDIA GB200 NVL72: compute trays of a rack
constexpr int kTraysDividingEvenly = 16;  // contract section 2: domain_nodes
constexpr int kMostNodes = 1'000'000;
constexpr size_t kMostDimensions = 3;

std::vector<double> read_oversubscription(const SpecReader& value) {
  std::vector<double> ratios;
  for (const SpecReader& ratio : value.elements()) ratios.push_back(ratio.number(1.0, kMostOversubscription));
  if (ratios.size() > 2) value.refuse("at most two ratios: leaf to spine, spine to core");
  return ratios;
}

std::vector<int> read_radix(const SpecReader& value) {
  std::vector<int> ports;
  if (!value.is_list()) return {static_cast<int>(value.integer(2, kMostPorts))};
  for (const SpecReader& each : value.elements())
    ports.push_back(static_cast<int>(each.integer(2, kMostPorts)));
  if (ports.empty() || ports.size() > 3) value.refuse("one to three numbers of ports, from the leaf up");
  return ports;
}

int read_domain_nodes(const SpecReader& reader, const NodeSpec& node, int nodes, FabricKind kind) {
  if (kind != FabricKind::nvl72) {
    if (reader.has("domain_nodes"))
      reader.at("domain_nodes").refuse("nothing, because only nvl72 has domains");
    return 1;
  }
  if (node.scale_up.kind != ScaleUpKind::nvswitch && node.gpus > 0 && node.gpu.device.sms > 0) {
    reader.at("kind").refuse("another kind, because nvl72 needs nodes whose scale_up is nvswitch");
  }
  if (reader.has("domain_nodes")) return static_cast<int>(reader.at("domain_nodes").integer(1, kTraysOfRack));
  return nodes > kTraysOfRack && nodes % kTraysDividingEvenly == 0 ? kTraysDividingEvenly : kTraysOfRack;
}

CableName read_cable(const SpecReader& value) {
  const std::vector<SpecReader> ends = value.elements();
  if (value.is_list() && ends.size() == 2) return {ends[0].text(), ends[1].text()};
  if (value.is_list()) value.refuse("the ids of two ends, [from, to]");
  return {};
}

WhatIf read_what_if(const SpecReader& reader) {
  WhatIf what_if;
  if (reader.has("failed_links")) {
    for (const SpecReader& cable : reader.at("failed_links").elements()) {
      what_if.failed_links.push_back(read_cable(cable));
    }
  }
  if (reader.has("failed_switches")) {
    for (const SpecReader& id : reader.at("failed_switches").elements()) {
      what_if.failed_switches.push_back(id.text());
    }
  }
  if (reader.has("degraded")) {
    for (const SpecReader& entry : reader.at("degraded").elements()) {
      entry.only({"link", "bandwidth"});
      what_if.degraded.push_back(
          {read_cable(entry.at("link")), entry.at("bandwidth").quantity<BytesPerSecond>()});
    }
  }
  return what_if;
}

/// Refuses keys that say something about other kinds of fabric.
class KeysByKind {
 public:
  KeysByKind(const SpecReader& reader, FabricKind kind) : reader_(reader), kind_(kind) {}
  /// True if the key is there and the kind has it.
  bool has(std::string_view key, std::span<const FabricKind> kinds) const {
    if (!reader_.has(key)) return false;
    if (std::find(kinds.begin(), kinds.end(), kind_) != kinds.end()) return true;
    std::vector<std::string> names;
    for (const FabricKind each : kinds) names.emplace_back(name_of(each));
    reader_.at(key).refuse("nothing, because only " + list_names(names) +
                           (names.size() == 1 ? " has it" : " have it"));
    return false;
  }
  int count(std::string_view key, int most, std::span<const FabricKind> kinds) const {
    return has(key, kinds) ? static_cast<int>(reader_.at(key).integer(1, most)) : 0;
  }

 private:
  const SpecReader& reader_;
  FabricKind kind_;
};

/// Sizes that only some kinds have.
void read_sizes(const SpecReader& reader, int nodes, FabricSpec& fabric) {
  using Kind = FabricKind;
  const KeysByKind keys(reader, fabric.kind);
  constexpr std::array kTrees = {Kind::leaf_spine, Kind::rail_optimized, Kind::nvl72, Kind::fat_tree};
  constexpr std::array kDragonflies = {Kind::dragonfly, Kind::dragonfly_plus};
  constexpr std::array kWithLeaves = {Kind::leaf_spine, Kind::rail_optimized, Kind::nvl72,
                                      Kind::fat_tree,   Kind::dragonfly,      Kind::dragonfly_plus};
  constexpr std::array kPlus = {Kind::dragonfly_plus};
  constexpr std::array kTorus = {Kind::torus};
  constexpr std::array kGraph = {Kind::graph};
  fabric.planes = std::max(1, keys.count("planes", 64, kTrees));
  fabric.nodes_per_pod = keys.count("nodes_per_pod", kMostNodes, kTrees);
  fabric.nodes_per_leaf = keys.count("nodes_per_leaf", kMostPorts, kWithLeaves);
  fabric.groups = keys.count("groups", kMostNodes, kDragonflies);
  fabric.switches_per_group = keys.count("switches_per_group", kMostPorts, kDragonflies);
  fabric.global_links = keys.count("global_links", kMostPorts * kMostPorts, kDragonflies);
  fabric.spines_per_group = keys.count("spines_per_group", kMostPorts, kPlus);
  if (keys.has("dimensions", kTorus)) {
    const SpecReader dimensions = reader.at("dimensions");
    for (const SpecReader& size : dimensions.elements()) {
      fabric.dimensions.push_back(static_cast<int>(size.integer(1, kMostNodes)));
    }
    if (fabric.dimensions.empty() || fabric.dimensions.size() > kMostDimensions) {
      dimensions.refuse("one to three dimensions");
    }
  }
  // Both are asked for, so that each is refused where it says nothing.
  const bool has_vertices = keys.has("vertices", kGraph);
  const bool has_edges = keys.has("edges", kGraph);
  if (fabric.kind != Kind::graph) return;
  for (const std::string_view key : {"vertices", "edges"}) {
    if (!reader.has(key)) reader.at(key).refuse("a list");
  }
  if (has_vertices && has_edges)
    fabric.graph = read_graph(reader, nodes, fabric.link_bandwidth, fabric.link_latency);
}

/// NCCL 2.12 brought PXN, on by default: a message crosses NVLink to the GPU whose NIC is on the rail of the
/// destination. Only NVSwitch joins every pair of a node's GPUs at full rate.
bool pxn_by_default(const FabricSpec& fabric, const NodeSpec& node) {
  return fabric.railed() && node.scale_up.kind == ScaleUpKind::nvswitch && node.nics.count > 1;
}

void read_transport(const SpecReader& reader, const std::string& of_protocol, Provenance& provenance,
                    const std::string& path, FabricSpec& fabric) {
  const Json none = Json::object();
  const SpecReader transport = reader.has("transport")
                                   ? reader.at("transport")
                                   : SpecReader(none, reader.pointer(), reader.problems());
  transport.only({"payload_efficiency", "spray_efficiency", "ramp"});
  const auto member = [&](std::string_view key, const std::string& default_path) {
    return provenance.member_or_default(transport, key, default_path,
                                        path + ".transport." + std::string(key));
  };
  fabric.payload_efficiency =
      member("payload_efficiency", of_protocol + "payload_efficiency").number(0.01, 1.0);
  if (transport.has("spray_efficiency") || fabric.routing == Routing::adaptive) {
    fabric.spray_efficiency = member("spray_efficiency", "fabric.spray_efficiency").number(0.01, 1.0);
  }
  if (transport.has("ramp")) {
    fabric.ramp = transport.at("ramp").quantity<Seconds>(true);
  } else {
    fabric.ramp_round_trips =
        provenance.default_for("fabric.ramp_round_trips", path + ".transport.ramp").number(0.0, 1000.0);
  }
}

}  // namespace

std::string_view name_of(FabricKind kind) { return kKindNames[static_cast<size_t>(kind)]; }
std::string_view name_of(Routing routing) { return kRoutingNames[static_cast<size_t>(routing)]; }

FabricSpec read_fabric(const SpecReader& reader, const NodeSpec& node, int nodes, Provenance& provenance,
                       const std::string& path) {
  reader.only({"kind",
               "link_bandwidth",
               "link_latency",
               "switch_radix",
               "switch_latency",
               "tiers",
               "transport",
               "dimensions",
               "groups",
               "pxn",
               "oversubscription",
               "routing",
               "in_network_reduction",
               "vertices",
               "edges",
               "failed_links",
               "failed_switches",
               "degraded",
               "domain_nodes",
               "planes",
               "nodes_per_leaf",
               "nodes_per_pod",
               "switches_per_group",
               "spines_per_group",
               "global_links"});
  if (reader.has("in_network_reduction") && reader.at("in_network_reduction").boolean()) {
    reader.at("in_network_reduction")
        .refuse_message("\"in_network_reduction\" is not modelled yet; only false is");
  }
  const auto member = [&](std::string_view key, const std::string& default_path) {
    std::string member_path = path;
    member_path.append(1, '.').append(key);
    return provenance.member_or_default(reader, key, default_path, member_path);
  };
  std::string of_protocol = "fabric.";
  of_protocol.append(name_of(node.nics.protocol)).append(1, '.');

  FabricSpec fabric;
  fabric.kind = static_cast<FabricKind>(member("kind", "fabric.kind").choice(kKindNames));
  fabric.link_bandwidth = reader.has("link_bandwidth")
                              ? reader.at("link_bandwidth").quantity<BytesPerSecond>()
                              : node.nics.bandwidth;
  fabric.link_latency = member("link_latency", "fabric.link_latency").quantity<Seconds>(true);
  const bool has_ports = fabric.kind != FabricKind::torus && fabric.kind != FabricKind::graph;
  if (has_ports && (fabric.kind != FabricKind::single_switch || reader.has("switch_radix"))) {
    fabric.switch_radix = read_radix(member("switch_radix", "fabric.switch_radix"));
  }
  fabric.switch_latency = member("switch_latency", of_protocol + "switch_latency").quantity<Seconds>(true);
  if (reader.has("oversubscription"))
    fabric.oversubscription = read_oversubscription(reader.at("oversubscription"));
  fabric.routing = static_cast<Routing>(member("routing", of_protocol + "routing").choice(kRoutingNames));
  if (reader.has("tiers")) fabric.tiers = static_cast<int>(reader.at("tiers").integer(1, 3));
  fabric.domain_nodes = read_domain_nodes(reader, node, nodes, fabric.kind);
  fabric.pxn = reader.has("pxn") ? reader.at("pxn").boolean() : pxn_by_default(fabric, node);
  read_sizes(reader, nodes, fabric);
  fabric.what_if = read_what_if(reader);
  read_transport(reader, of_protocol, provenance, path, fabric);
  return fabric;
}

}  // namespace orrery
