#include "sim/base/precision.hpp"
#include "topologies/cluster_shape.hpp"
#include "topologies/cluster_spec.hpp"
#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

/// Writes values at dotted paths, each with its origin.
class Writer {
 public:
  explicit Writer(const Origins& origins) : origins_(origins) {}

  void put(const std::string& path, Json value) {
    Json* place = &result_;
    size_t begin = 0;
    for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
      place = &(*place)[path.substr(begin, dot - begin)];
      begin = dot + 1;
    }
    (*place)[path.substr(begin)] = Json{{"value", std::move(value)}, {"origin", origins_.of(path)}};
  }
  template <int T, int D, int W, int E, int M>
  void put(const std::string& path, Quantity<T, D, W, E, M> value) {
    put(path, Json(exact_text(value)));
  }
  template <typename Value>
  void put(const std::string& path, const std::optional<Value>& value) {
    if (value) put(path, *value);
  }
  void put(const std::string& path, double value) { put(path, Json(value)); }
  void put(const std::string& path, int value) { put(path, Json(value)); }

  Json take() { return std::move(result_); }

 private:
  const Origins& origins_;
  Json result_ = Json::object();
};

void put_gpu(Writer& writer, const GpuSpec& gpu) {
  const DeviceSpec& device = gpu.device;
  writer.put("node.gpu.architecture", Json(device.architecture));
  writer.put("node.gpu.sms", device.sms);
  writer.put("node.gpu.memory_bandwidth", device.memory_bandwidth);
  writer.put("node.gpu.memory_capacity", device.memory_capacity);
  writer.put("node.gpu.l2_cache", device.l2_cache);
  writer.put("node.gpu.board_power", device.board_power);
  for (const std::string_view name : precision_names()) {
    writer.put("node.gpu.peak." + std::string(name), device.peak_for(*precision_named(name)));
  }
  if (device.exponentials.base() > 0.0) writer.put("node.gpu.exponentials", device.exponentials);
  if (device.shared_memory_bandwidth.base() > 0.0)
    writer.put("node.gpu.shared_memory_bandwidth", device.shared_memory_bandwidth);
  if (device.persistent_products) writer.put("node.gpu.persistent_products", Json(true));
  if (gpu.nvlink_links > 0) {
    writer.put("node.gpu.nvlink.links", gpu.nvlink_links);
    writer.put("node.gpu.nvlink.bandwidth_per_link", gpu.nvlink_link_bandwidth);
  }
  if (gpu.pcie_bandwidth.base() > 0.0) writer.put("node.gpu.pcie_bandwidth", gpu.pcie_bandwidth);
}

void put_node(Writer& writer, const NodeSpec& node) {
  writer.put("node.gpus", node.gpus);
  writer.put("node.scale_up.kind", Json(name_of(node.scale_up.kind)));
  if (node.scale_up.bandwidth.base() > 0.0) writer.put("node.scale_up.bandwidth", node.scale_up.bandwidth);
  writer.put("node.scale_up.latency", node.scale_up.latency);
  writer.put("node.scale_up.in_network_reduction", Json(node.scale_up.in_network_reduction));
  writer.put("node.nics.count", node.nics.count);
  if (node.nics.count > 0) {
    writer.put("node.nics.bandwidth", node.nics.bandwidth);
    writer.put("node.nics.latency", node.nics.latency);
    writer.put("node.nics.protocol", Json(name_of(node.nics.protocol)));
    writer.put("node.host_link", node.host_link);
  }
  if (node.host_memory_bandwidth.base() > 0.0) {
    writer.put("node.host_memory.bandwidth", node.host_memory_bandwidth);
  }
  if (node.host_memory_link.base() > 0.0 && node.host_memory_link.base() != node.host_link.base()) {
    writer.put("node.host_memory.link", node.host_memory_link);
  }
  if (node.host_speed != 1.0) writer.put("node.host_speed", Json(node.host_speed));
}

Json cable_json(const CableName& cable) { return Json::array({cable.from, cable.to}); }

void put_what_if(Writer& writer, const WhatIf& what_if) {
  Json failed = Json::array();
  for (const CableName& cable : what_if.failed_links) failed.push_back(cable_json(cable));
  Json degraded = Json::array();
  for (const DegradedCable& entry : what_if.degraded) {
    degraded.push_back({{"link", cable_json(entry.cable)}, {"bandwidth", exact_text(entry.bandwidth)}});
  }
  if (!failed.empty()) writer.put("fabric.failed_links", std::move(failed));
  if (!what_if.failed_switches.empty()) writer.put("fabric.failed_switches", Json(what_if.failed_switches));
  if (!degraded.empty()) writer.put("fabric.degraded", std::move(degraded));
}

/// Sizes, where they are not by rule.
void put_sizes(Writer& writer, const ClusterSpec& cluster) {
  const FabricSpec& fabric = cluster.fabric;
  const auto put_given = [&](const char* key, int value) {
    if (value > 0) writer.put(std::string("fabric.") + key, value);
  };
  put_given("tiers", fabric.tiers);
  put_given("planes", fabric.planes > 1 ? fabric.planes : 0);
  std::string problem;
  const int by_rule = fabric.is_dragonfly() ? dragonfly_layout(cluster, problem).nodes_per_leaf : 0;
  put_given("nodes_per_leaf", by_rule > 0 ? by_rule : fabric.nodes_per_leaf);
  put_given("nodes_per_pod", fabric.nodes_per_pod);
  if (fabric.kind == FabricKind::nvl72) writer.put("fabric.domain_nodes", fabric.domain_nodes);
  if (fabric.is_dragonfly()) {
    const DragonflyLayout layout = dragonfly_layout(cluster, problem);
    writer.put("fabric.groups", layout.groups);
    writer.put("fabric.switches_per_group", layout.switches_per_group);
    if (layout.plus) writer.put("fabric.spines_per_group", layout.spines_per_group);
    put_given("global_links", layout.global_links);
  }
  if (fabric.kind == FabricKind::torus)
    writer.put("fabric.dimensions", Json(torus_dimensions(cluster, problem)));
  if (fabric.kind == FabricKind::graph) {
    writer.put("fabric.vertices", vertices_json(fabric.graph));
    writer.put("fabric.edges", edges_json(fabric.graph));
  }
}

void put_fabric(Writer& writer, const ClusterSpec& cluster) {
  const FabricSpec& fabric = cluster.fabric;
  writer.put("fabric.kind", Json(name_of(fabric.kind)));
  writer.put("fabric.link_bandwidth", fabric.link_bandwidth);
  writer.put("fabric.link_latency", fabric.link_latency);
  if (fabric.switch_radix.size() == 1) writer.put("fabric.switch_radix", fabric.switch_radix.front());
  if (fabric.switch_radix.size() > 1) writer.put("fabric.switch_radix", Json(fabric.switch_radix));
  const bool is_graph = fabric.kind == FabricKind::graph;
  if (!is_graph || cluster.storage) writer.put("fabric.switch_latency", fabric.switch_latency);
  writer.put("fabric.oversubscription", Json(fabric.oversubscription));
  writer.put("fabric.routing", Json(name_of(fabric.routing)));
  writer.put("fabric.pxn", Json(fabric.pxn));
  writer.put("fabric.transport.payload_efficiency", fabric.payload_efficiency);
  if (fabric.routing == Routing::adaptive)
    writer.put("fabric.transport.spray_efficiency", fabric.spray_efficiency);
  writer.put("fabric.transport.ramp",
             transport_ramp(cluster, is_graph ? build_healthy_topology(cluster) : Topology()));
  put_sizes(writer, cluster);
  put_what_if(writer, fabric.what_if);
}

void put_facility(Writer& writer, const ClusterSpec& cluster) {
  if (const auto& storage = cluster.storage) {
    writer.put("storage.kind", Json(name_of(storage->kind)));
    writer.put("storage.read_bandwidth", storage->read_bandwidth);
    writer.put("storage.write_bandwidth", storage->write_bandwidth);
    writer.put("storage.per_client_bandwidth", storage->per_client_bandwidth);
    writer.put("storage.latency", storage->access_latency);
    writer.put("storage.redundancy", Json(redundancy_text(*storage)));
  }
  if (const auto& price = cluster.price) {
    writer.put("price.gpu_hour", price->gpu_hour);
    writer.put("price.node", price->node);
    writer.put("price.switch", price->network_switch);
    writer.put("price.optics", price->optics);
    writer.put("price.storage", price->storage);
    writer.put("price.years", price->years);
  }
  if (const auto& power = cluster.power) {
    writer.put("power.node_idle", power->node_idle);
    writer.put("power.node_busy", power->node_busy);
    writer.put("power.switch", power->network_switch);
    writer.put("power.pue", power->pue);
  }
  if (const auto& reliability = cluster.reliability) {
    writer.put("reliability.node_failures_per_1000_days", reliability->node_failures_per_1000_days);
    writer.put("reliability.detect", reliability->detect);
    writer.put("reliability.restart", reliability->restart);
    writer.put("reliability.spares", reliability->spares);
    writer.put("reliability.repair", reliability->repair);
  }
}

}  // namespace

Json resolved_cluster_json(const ClusterSpec& cluster) {
  Writer writer(cluster.origins);
  put_gpu(writer, cluster.node.gpu);
  put_node(writer, cluster.node);
  writer.put("nodes", cluster.nodes);
  writer.put("gpus", cluster.gpus);
  put_fabric(writer, cluster);
  put_facility(writer, cluster);
  return writer.take();
}

}  // namespace orrery
