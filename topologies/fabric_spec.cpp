#include "topologies/fabric_spec.hpp"

#include <algorithm>
#include <array>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 8> kKindNames = {
    "single_switch", "leaf_spine", "rail_optimized", "nvl72", "fat_tree", "dragonfly", "torus", "graph"};
constexpr size_t kModelledKinds = 4;
constexpr int kMostPorts = 4096;
constexpr double kMostOversubscription = 1000.0;
constexpr int kTraysOfRack = 18;          // NVIDIA GB200 NVL72: compute trays of a rack
constexpr int kTraysDividingEvenly = 16;  // contract section 2: domain_nodes

void refuse_as_unmodelled(const SpecReader& object, std::string_view key,
                          std::string_view what_is_modelled = {}) {
  std::string message(1, '"');
  message.append(key).append("\" is not modelled yet").append(what_is_modelled);
  object.at(key).refuse_message(message);
}

/// Refuses the members that the contract names and no fabric models yet, unless they say what holds without
/// them.
void refuse_unmodelled(const SpecReader& reader) {
  for (const std::string_view key : {"dimensions", "groups", "vertices", "edges"}) {
    if (reader.has(key)) refuse_as_unmodelled(reader, key);
  }
  for (const std::string_view key : {"pxn", "in_network_reduction"}) {
    if (reader.has(key) && reader.at(key).boolean()) refuse_as_unmodelled(reader, key, "; only false is");
  }
  for (const std::string_view key : {"failed_links", "failed_switches", "degraded"}) {
    if (reader.has(key) && !reader.at(key).elements().empty()) {
      refuse_as_unmodelled(reader, key, "; only an empty list is");
    }
  }
}

FabricKind read_kind(const SpecReader& value) {
  const size_t kind = value.choice(kKindNames);
  if (kind < kModelledKinds) return static_cast<FabricKind>(kind);
  std::string message = "fabric kind \"";
  message.append(kKindNames[kind]).append("\" is not modelled yet; modelled: ");
  message.append("single_switch, leaf_spine, rail_optimized, nvl72");
  value.refuse_message(message);
  return FabricKind::single_switch;
}

Routing read_routing(const SpecReader& value) {
  constexpr std::array<std::string_view, 3> kNames = {"ecmp", "adaptive", "static"};
  const auto routing = static_cast<Routing>(value.choice(kNames));
  if (routing != Routing::adaptive) return routing;
  value.refuse_message("adaptive routing is not modelled yet; modelled: ecmp, static");
  return Routing::ecmp;
}

std::vector<double> read_oversubscription(const SpecReader& value) {
  std::vector<double> ratios;
  for (const SpecReader& ratio : value.elements()) ratios.push_back(ratio.number(1.0, kMostOversubscription));
  if (ratios.size() > 2) value.refuse("at most two ratios: leaf to spine, spine to core");
  return ratios;
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

}  // namespace

std::string_view name_of(FabricKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

FabricSpec read_fabric(const SpecReader& reader, const NodeSpec& node, int nodes, Provenance& provenance,
                       const std::string& path) {
  reader.only({"kind", "link_bandwidth", "link_latency", "switch_radix", "switch_latency", "tiers",
               "transport", "dimensions", "groups", "pxn", "oversubscription", "routing",
               "in_network_reduction", "vertices", "edges", "failed_links", "failed_switches", "degraded",
               "domain_nodes"});
  refuse_unmodelled(reader);
  const auto member = [&](std::string_view key, const std::string& default_path) {
    std::string member_path = path;
    member_path.append(1, '.').append(key);
    return provenance.member_or_default(reader, key, default_path, member_path);
  };
  std::string of_protocol = "fabric.";
  of_protocol.append(name_of(node.nics.protocol)).append(1, '.');

  FabricSpec fabric;
  fabric.kind = read_kind(member("kind", "fabric.kind"));
  fabric.link_bandwidth = reader.has("link_bandwidth")
                              ? reader.at("link_bandwidth").quantity<BytesPerSecond>()
                              : node.nics.bandwidth;
  fabric.link_latency = member("link_latency", "fabric.link_latency").quantity<Seconds>(true);
  if (fabric.kind != FabricKind::single_switch || reader.has("switch_radix")) {
    fabric.switch_radix =
        static_cast<int>(member("switch_radix", "fabric.switch_radix").integer(2, kMostPorts));
  }
  fabric.switch_latency = member("switch_latency", of_protocol + "switch_latency").quantity<Seconds>(true);
  if (reader.has("oversubscription"))
    fabric.oversubscription = read_oversubscription(reader.at("oversubscription"));
  fabric.routing = read_routing(member("routing", of_protocol + "routing"));
  if (reader.has("tiers")) fabric.tiers = static_cast<int>(reader.at("tiers").integer(1, 3));
  fabric.domain_nodes = read_domain_nodes(reader, node, nodes, fabric.kind);

  const Json none = Json::object();
  const SpecReader transport = reader.has("transport")
                                   ? reader.at("transport")
                                   : SpecReader(none, reader.pointer(), reader.problems());
  transport.only({"payload_efficiency", "spray_efficiency", "ramp"});
  for (const std::string_view key : {"spray_efficiency", "ramp"}) {
    if (transport.has(key)) refuse_as_unmodelled(transport, key);
  }
  fabric.payload_efficiency =
      provenance
          .member_or_default(transport, "payload_efficiency", of_protocol + "payload_efficiency",
                             path + ".transport.payload_efficiency")
          .number(0.01, 1.0);
  return fabric;
}

}  // namespace orrery
