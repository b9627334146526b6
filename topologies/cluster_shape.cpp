#include <algorithm>
#include <stdexcept>

#include "topologies/cluster_spec.hpp"
#include "topologies/fabric_layout.hpp"

namespace orrery {

ClusterShape cluster_shape(const ClusterSpec& cluster) {
  std::string problem;
  const FabricLayout layout = fabric_layout(cluster, problem);
  if (!problem.empty()) throw std::invalid_argument(problem);
  const NodeSpec& node = cluster.node;
  const FabricSpec& fabric = cluster.fabric;

  ClusterShape shape;
  shape.gpus = cluster.gpus;
  shape.gpus_per_node = cluster.gpus_per_node();
  shape.gpus_per_domain = shape.gpus_per_node * std::min(fabric.domain_nodes, cluster.nodes);
  shape.scale_up = node.scale_up.kind;
  shape.scale_up_bandwidth = node.scale_up.bandwidth;
  if (node.scale_up.kind == ScaleUpKind::nvlink_mesh && node.gpus > 1) {
    // The links to the GPUs that are not in use lead nowhere.
    shape.scale_up_bandwidth *= static_cast<double>(shape.gpus_per_node - 1) / (node.gpus - 1);
  }
  shape.scale_up_latency = node.scale_up.latency;
  shape.in_network_reduction = node.scale_up.in_network_reduction;
  shape.nics_per_node = cluster.nics_per_node();
  shape.nic_bandwidth = min(node.nics.bandwidth, fabric.link_bandwidth);
  shape.host_link = node.host_link;
  shape.protocol = node.nics.protocol;
  shape.payload_efficiency = fabric.payload_efficiency;
  if (layout.tiers == 0) return shape;

  const Seconds gpu_link =
      node.scale_up.kind == ScaleUpKind::pcie ? node.scale_up.latency / 2 : node.host_link_latency;
  const Seconds hop = fabric.link_latency + fabric.switch_latency;
  shape.network_latency =
      2 * (gpu_link + node.host_link_latency + node.nics.latency) + hop + fabric.link_latency;
  shape.network_latency_pod = shape.network_latency + 2 * hop;
  shape.network_latency_far = shape.network_latency + 2 * hop * (layout.tiers - 1);
  shape.nodes_per_leaf = layout.nodes_per_leaf;
  shape.nodes_per_pod = layout.tiers == 3 ? layout.nodes_per_pod : 0;
  shape.rail_optimized = layout.rails > 1;
  if (layout.tiers == 1) shape.network_latency_pod = shape.network_latency;
  if (layout.tiers >= 2) shape.oversubscription_leaf = fabric.oversubscription_of(0);
  shape.oversubscription =
      shape.oversubscription_leaf * (layout.tiers == 3 ? fabric.oversubscription_of(1) : 1.0);
  return shape;
}

}  // namespace orrery
