#include <algorithm>

#include "topologies/fabric_graph.hpp"

namespace orrery {
namespace {

void add_mesh(const ClusterSpec& cluster, const std::vector<VertexId>& gpu, Topology& topology) {
  const BytesPerSecond pair = cluster.node.scale_up.bandwidth / std::max(1, cluster.node.gpus - 1);
  for (size_t a = 0; a < gpu.size(); ++a) {
    for (size_t b = a + 1; b < gpu.size(); ++b) {
      topology.add_duplex_link(gpu[a], gpu[b], pair, cluster.node.scale_up.latency);
    }
  }
}

VertexId add_nvswitch(const ClusterSpec& cluster, int node, Topology& topology) {
  if (cluster.fabric.domain_nodes > 1) {
    const int domain = node / cluster.fabric.domain_nodes;
    return topology.add_vertex(VertexKind::nvswitch, -1, numbered("domain", domain) + "/nvswitch");
  }
  return topology.add_vertex(VertexKind::nvswitch, node, numbered("node", node) + "/nvswitch");
}

/// Each PCIe switch holds equal runs of the node's GPUs and NICs, as far as these are in use.
void add_pcie(const ClusterSpec& cluster, int node, const std::vector<VertexId>& gpu, bool host_bridge,
              FabricGraph& graph) {
  const NodeSpec& spec = cluster.node;
  Topology& topology = graph.topology;
  const std::string prefix = numbered("node", node) + '/';
  const int gpus = cluster.gpus_per_node();
  const int nics = cluster.nics_per_node();
  const int switches = spec.pcie_switches();
  const int gpus_each = spec.gpus / switches;
  const int nics_each = spec.nics.count / switches;
  const Seconds gpu_link =
      spec.scale_up.kind == ScaleUpKind::pcie ? spec.scale_up.latency / 2 : spec.host_link_latency;
  std::vector<VertexId> pcie_switches;
  for (int s = 0; s * gpus_each < gpus; ++s) {
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + numbered("pcie", s));
    pcie_switches.push_back(pcie);
    for (int i = s * gpus_each; i < std::min((s + 1) * gpus_each, gpus); ++i) {
      topology.add_duplex_link(gpu[static_cast<size_t>(i)], pcie, spec.host_link, gpu_link);
    }
    for (int i = s * nics_each; i < std::min((s + 1) * nics_each, nics); ++i) {
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + numbered("nic", i));
      topology.add_link(pcie, nic, spec.host_link, spec.host_link_latency + spec.nics.latency);
      topology.add_link(nic, pcie, spec.host_link, spec.host_link_latency);
      graph.nics.push_back(nic);
    }
  }
  graph.host_sides.push_back(pcie_switches.front());
  if (!host_bridge || pcie_switches.size() < 2) return;
  const VertexId host = topology.add_vertex(VertexKind::pcie_switch, node, prefix + "host");
  graph.host_sides.back() = host;
  for (const VertexId pcie : pcie_switches) {
    topology.add_duplex_link(pcie, host, spec.host_link, spec.host_link_latency);
  }
}

}  // namespace

std::string numbered(std::string_view name, int number) { return std::string(name) + std::to_string(number); }

void add_nodes(const ClusterSpec& cluster, bool host_bridges, FabricGraph& graph) {
  const NodeSpec& spec = cluster.node;
  VertexId nvswitch = -1;
  for (int node = 0; node < cluster.nodes; ++node) {
    if (spec.scale_up.kind == ScaleUpKind::nvswitch && node % cluster.fabric.domain_nodes == 0) {
      nvswitch = add_nvswitch(cluster, node, graph.topology);
    }
    std::vector<VertexId> gpu;
    gpu.reserve(static_cast<size_t>(cluster.gpus_per_node()));
    for (int i = 0; i < cluster.gpus_per_node(); ++i) {
      gpu.push_back(graph.topology.add_vertex(VertexKind::gpu, node,
                                              numbered("node", node) + '/' + numbered("gpu", i)));
    }
    for (const VertexId each : gpu) {
      if (nvswitch < 0) break;
      graph.topology.add_duplex_link(each, nvswitch, spec.scale_up.bandwidth, spec.scale_up.latency / 2);
    }
    if (spec.scale_up.kind == ScaleUpKind::nvlink_mesh) add_mesh(cluster, gpu, graph.topology);
    const bool on_pcie = spec.scale_up.kind == ScaleUpKind::pcie || cluster.nics_per_node() > 0 ||
                         (host_bridges && spec.host_link.base() > 0.0);
    if (!on_pcie) continue;
    add_pcie(cluster, node, gpu, host_bridges, graph);
  }
}

void add_nic_cable(const ClusterSpec& cluster, FabricGraph& graph, VertexId nic, VertexId to,
                   BytesPerSecond bandwidth) {
  const FabricSpec& fabric = cluster.fabric;
  graph.topology.add_link(nic, to, bandwidth, fabric.link_latency + fabric.switch_latency);
  graph.topology.add_link(to, nic, bandwidth, fabric.link_latency + cluster.node.nics.latency);
}

void add_switch_cable(const ClusterSpec& cluster, FabricGraph& graph, VertexId a, VertexId b,
                      BytesPerSecond bandwidth) {
  graph.topology.add_duplex_link(a, b, bandwidth,
                                 cluster.fabric.link_latency + cluster.fabric.switch_latency);
}

}  // namespace orrery
