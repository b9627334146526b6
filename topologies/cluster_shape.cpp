#include "topologies/cluster_shape.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "sim/network/cuts.hpp"
#include "topologies/build_topology.hpp"
#include "topologies/fabric_layout.hpp"

namespace orrery {
namespace {

Seconds switch_hop(const FabricSpec& fabric) { return fabric.link_latency + fabric.switch_latency; }

/// GPU to GPU through one switch.
Seconds one_switch_latency(const ClusterSpec& cluster) {
  const NodeSpec& node = cluster.node;
  const Seconds gpu_link =
      node.scale_up.kind == ScaleUpKind::pcie ? node.scale_up.latency / 2 : node.host_link_latency;
  return 2 * (gpu_link + node.host_link_latency + node.nics.latency) + switch_hop(cluster.fabric) +
         cluster.fabric.link_latency;
}

/// Latencies by the number of switches passed beyond the first.
void set_latencies(const ClusterSpec& cluster, int pod_hops, int far_hops, ClusterShape& shape) {
  const Seconds hop = switch_hop(cluster.fabric);
  shape.network_latency = one_switch_latency(cluster);
  shape.network_latency_pod = shape.network_latency + pod_hops * hop;
  shape.network_latency_far = shape.network_latency + far_hops * hop;
}

void shape_tree(const ClusterSpec& cluster, const FabricLayout& layout, ClusterShape& shape) {
  const FabricSpec& fabric = cluster.fabric;
  set_latencies(cluster, layout.tiers == 1 ? 0 : 2, 2 * (layout.tiers - 1), shape);
  shape.nodes_per_leaf = layout.nodes_per_leaf;
  shape.nodes_per_pod = layout.tiers == 3 ? layout.nodes_per_pod : 0;
  shape.rail_optimized = fabric.railed() && layout.rails > 1;
  shape.pxn = fabric.pxn;
  if (layout.tiers >= 2) shape.oversubscription_leaf = fabric.oversubscription_of(0);
  shape.oversubscription =
      shape.oversubscription_leaf * (layout.tiers == 3 ? fabric.oversubscription_of(1) : 1.0);
}

/// Longest minimal paths: one more switch inside a group of a dragonfly (two over a spine of a dragonfly+),
/// and local, global, local (leaf, spine, spine, leaf) between groups.
void shape_dragonfly(const ClusterSpec& cluster, const DragonflyLayout& layout, ClusterShape& shape) {
  const bool one_group = cluster.nodes <= layout.nodes_per_group;
  set_latencies(cluster, layout.plus ? 2 : 1, one_group ? (layout.plus ? 2 : 1) : 3, shape);
  shape.nodes_per_leaf = layout.nodes_per_leaf;
  shape.nodes_per_pod = one_group ? 0 : layout.nodes_per_group;
  shape.rail_optimized = layout.rails > 1;
  shape.oversubscription = one_group ? 1.0 : layout.global_oversubscription;
  const FabricSpec& fabric = cluster.fabric;
  const BytesPerSecond port = min(cluster.node.nics.bandwidth, fabric.link_bandwidth);
  const int nics = cluster.nics_per_node();
  if (!layout.plus && layout.switches_per_group > 1) {
    const int ports = layout.nodes_per_leaf * (layout.rails > 1 ? 1 : nics);
    shape.pair_oversubscription_leaf = port * ports / fabric.link_bandwidth;
    if (fabric.routing == Routing::adaptive) shape.detour_leaves = layout.switches_per_group;
  }
  if (!one_group) {
    shape.pair_oversubscription =
        port * (nics * layout.nodes_per_group) / (fabric.link_bandwidth * layout.global_links);
    if (fabric.routing == Routing::adaptive) shape.detour_groups = layout.groups;
  }
}

/// Of what every node spreads evenly over a ring of `size` nodes (itself included), what passes the fuller of
/// its directions: half of n^2/4 / n hops, unless all pairs half a ring apart take the same direction.
double ring_load(int size, bool one_way) {
  const int half = size / 2;
  if (size == 2) return 0.5;
  if (one_way || size % 2 == 1) return half * (half + 1) / 2.0 / size;
  return half * half / 2.0 / size;
}

/// Nodes of one row are within half a ring of each other, all others within half of every ring.
void shape_torus(const ClusterSpec& cluster, const std::vector<int>& sizes, ClusterShape& shape) {
  int diameter = 0;
  for (const int size : sizes) diameter += size / 2;
  shape.nodes_per_leaf = 1;
  shape.nodes_per_pod = sizes.front() > 1 && sizes.front() < cluster.nodes ? sizes.front() : 0;
  set_latencies(cluster, shape.nodes_per_pod > 0 ? sizes.front() / 2 : diameter, diameter, shape);
  shape.nic_bandwidth = cluster.node.nics.bandwidth;
  // Channel load under uniform traffic (Dally and Towles, Principles and Practices of Interconnection
  // Networks, 2004, section 3.2). Blocks: a ring, a plane of rings, ...
  const double injected = shape.nic_bandwidth * cluster.nics_per_node() / cluster.fabric.link_bandwidth;
  // A ring of nodes goes over one link to the next.
  shape.oversubscription = shape.oversubscription_leaf = std::max(1.0, injected);
  shape.torus = sizes;
  shape.torus_demand = injected;
  shape.lowest_first = cluster.fabric.routing == Routing::fixed;
  int nodes = 1;
  double most = 0.0;
  for (const int size : sizes) {
    if (size < 2) continue;
    nodes *= size;
    most = std::max(most, injected * ring_load(size, cluster.fabric.routing == Routing::fixed));
    shape.exchange_blocks.push_back({nodes, most});
  }
}

VertexKind kind_of(const Topology& topology, VertexId v) {
  return topology.vertices()[static_cast<size_t>(v)].kind;
}
const Link& link_of(const Topology& topology, LinkId l) { return topology.links()[static_cast<size_t>(l)]; }

/// What a graph of equal nodes looks like from its first node: routes are asked, the cut is a max-flow.
void shape_graph(const ClusterSpec& cluster, ClusterShape& shape) {
  const Topology topology = build_healthy_topology(cluster);
  const int per_node = cluster.node.gpus;
  const BytesPerSecond infinite(std::numeric_limits<double>::infinity());
  shape.scale_up_latency = Seconds();
  BytesPerSecond inside = infinite;
  for (int gpu = 1; gpu < per_node; ++gpu) {
    const std::vector<LinkId> route = topology.route(0, gpu);
    shape.scale_up_latency = max(shape.scale_up_latency, route_latency(topology, route));
    inside = min(inside, route_bandwidth(topology, route));
  }
  if (per_node > 1) {
    const bool mesh = cluster.node.scale_up.kind == ScaleUpKind::nvlink_mesh;
    shape.scale_up_bandwidth = inside * (mesh ? per_node - 1 : 1);
  }
  if (cluster.nodes == 1) return;

  // Ports are the NICs, or the GPUs themselves where they are cabled to switches.
  BytesPerSecond of_node;
  std::set<VertexId> ports;
  shape.host_link = infinite;
  for (int gpu = 0; gpu < per_node; ++gpu) {
    const std::vector<LinkId> route = topology.route(gpu, gpu + per_node);
    for (const LinkId l : route) {
      const Link& link = link_of(topology, l);
      if (is_network_switch(kind_of(topology, link.to))) break;
      shape.host_link = min(shape.host_link, link.bandwidth);
    }
    const std::vector<VertexId> nics = topology.nics_of_gpu(gpu);
    ports.insert(nics.begin(), nics.end());
    if (nics.empty()) ports.insert(topology.gpu(gpu));
  }
  BytesPerSecond narrowest_slot = infinite;
  for (const VertexId port : ports) {
    BytesPerSecond slot;
    for (const LinkId l : topology.links_from(port)) {
      const Link& link = link_of(topology, l);
      (is_network_switch(kind_of(topology, link.to)) ? of_node : slot) += link.bandwidth;
    }
    if (kind_of(topology, port) == VertexKind::nic) narrowest_slot = min(narrowest_slot, slot);
  }
  if (narrowest_slot < infinite) shape.nic_slot = narrowest_slot;
  shape.nics_per_node = static_cast<int>(ports.size());
  shape.nic_bandwidth = of_node / shape.nics_per_node;
  if (shape.host_link == infinite) shape.host_link = of_node / per_node;
  shape.nodes_per_leaf = 1;
  constexpr int kMostNodesAsked = 64;
  const int asked = std::min(cluster.nodes, kMostNodesAsked);
  for (int a = 0; a < asked; ++a) {
    for (int b = 0; b < cluster.nodes; ++b) {
      if (a == b) continue;
      const Seconds latency = route_latency(topology, topology.route(a * per_node, b * per_node));
      shape.network_latency = max(shape.network_latency, latency);
    }
  }
  shape.network_latency_pod = shape.network_latency_far = shape.network_latency;
  // What the nodes of the smaller part could send, over what the cut carries.
  const int split = bisection_split(topology);
  const BytesPerSecond half =
      of_node * (static_cast<double>(std::min(split, topology.gpu_count() - split)) / per_node);
  shape.oversubscription = shape.oversubscription_leaf = std::max(1.0, half / bisection_bandwidth(topology));
}

/// Rates of a custom graph's own storage: what its links carry out and in.
StorageShape storage_of_graph(const ClusterSpec& cluster) {
  const Topology topology = build_healthy_topology(cluster);
  StorageShape shape;
  const VertexId endpoint = storage_endpoint(topology, 0);
  if (endpoint < 0) return shape;
  shape.exists = true;
  shape.local = topology.vertices()[static_cast<size_t>(endpoint)].node >= 0;
  for (const LinkId l : topology.links_from(endpoint)) {
    shape.read += link_of(topology, l).bandwidth;
    shape.latency = max(shape.latency, link_of(topology, l).latency);
  }
  for (const LinkId l : topology.links_to(endpoint)) shape.write += link_of(topology, l).bandwidth;
  return shape;
}

StorageShape storage_shape(const ClusterSpec& cluster) {
  if (!cluster.storage) {
    return cluster.fabric.kind == FabricKind::graph ? storage_of_graph(cluster) : StorageShape();
  }
  StorageShape shape;
  shape.exists = true;
  shape.local = cluster.storage->kind == StorageSpec::Kind::local;
  shape.read = cluster.storage->read_rate();
  shape.write = cluster.storage->client_write_rate();
  shape.per_client = cluster.storage->per_client_bandwidth;
  shape.latency = cluster.storage->access_latency;
  const FabricKind kind = cluster.fabric.kind;
  if (kind == FabricKind::dragonfly || kind == FabricKind::torus) {
    shape.behind = StorageShape::Behind::no_uplinks;
  } else if (kind == FabricKind::dragonfly_plus) {
    shape.behind = StorageShape::Behind::leaf_uplinks;
  }
  return shape;
}

/// The worst member's share of what it had. One that has lost everything counts nowhere: its traffic goes
/// another way, and the tier below has lost it.
class WorstShare {
 public:
  explicit WorstShare(size_t members) : healthy_(members), left_(members) {}
  void add(size_t member, BytesPerSecond healthy, BytesPerSecond left) {
    healthy_[member] += healthy;
    left_[member] += left;
  }
  bool lost(size_t member) const { return healthy_[member].base() > 0.0 && left_[member].base() <= 0.0; }
  double worst(bool count_lost) const {
    double share = 1.0;
    for (size_t i = 0; i < healthy_.size(); ++i) {
      if (healthy_[i].base() <= 0.0 || (!count_lost && left_[i].base() <= 0.0)) continue;
      share = std::min(share, left_[i] / healthy_[i]);
    }
    return share;
  }

 private:
  std::vector<BytesPerSecond> healthy_, left_;
};

/// What the NICs of a node are good for together. Each carries an equal share of what the node sends, as NCCL
/// deals its channels to them, so the slowest one decides for all; what a lost one carried the others share.
class WorstNode {
 public:
  WorstNode(size_t nodes, size_t vertices) : ports_of_node_(nodes), fabric_(vertices), host_(vertices) {}
  void add_fabric(int node, VertexId port, BytesPerSecond healthy, BytesPerSecond left) {
    std::vector<VertexId>& ports = ports_of_node_[static_cast<size_t>(node)];
    if (std::find(ports.begin(), ports.end(), port) == ports.end()) ports.push_back(port);
    fabric_[static_cast<size_t>(port)].add(healthy, left);
  }
  void add_host(VertexId nic, BytesPerSecond healthy, BytesPerSecond left) {
    host_[static_cast<size_t>(nic)].add(healthy, left);
  }
  double worst() const {
    double worst = 1.0;
    for (const std::vector<VertexId>& ports : ports_of_node_) {
      double slowest = 1.0;
      size_t left = 0;
      for (const VertexId port : ports) {
        const double share = share_of(port);
        if (share <= 0.0) continue;
        ++left;
        slowest = std::min(slowest, share);
      }
      if (left == 0) continue;
      worst = std::min(worst, slowest * static_cast<double>(left) / static_cast<double>(ports.size()));
    }
    return worst;
  }

 private:
  struct Rate {
    BytesPerSecond healthy, left;
    void add(BytesPerSecond of_link, BytesPerSecond now) {
      healthy += of_link;
      left += now;
    }
  };
  double share_of(VertexId port) const {
    const Rate& fabric = fabric_[static_cast<size_t>(port)];
    const Rate& host = host_[static_cast<size_t>(port)];
    if (host.healthy.base() <= 0.0) return fabric.left / fabric.healthy;
    // PCIe carries more than a NIC: one that it slows a little is as fast as before.
    return min(fabric.left, host.left) / min(fabric.healthy, host.healthy);
  }

  std::vector<std::vector<VertexId>> ports_of_node_;
  std::vector<Rate> fabric_, host_;  ///< of each port
};

/// Of what is left below a tier towards its switches, the least share that a leaf, or the NICs of a node
/// together, have towards those which still lead further up: a spine that has lost all its cores is none to
/// another pod, nor a leaf without spines to another leaf.
/// @param below  kind of what lies below switches of kind `tier`
double least_share_upwards(const Topology& damaged, VertexKind below, VertexKind tier,
                           const WorstShare& above) {
  std::map<int, std::pair<BytesPerSecond, BytesPerSecond>> all_and_further;
  for (size_t l = 0; l < damaged.links().size(); ++l) {
    const Link& link = damaged.links()[l];
    if (kind_of(damaged, link.from) != below || kind_of(damaged, link.to) != tier ||
        !damaged.usable(static_cast<LinkId>(l)))
      continue;
    const int node = damaged.vertices()[static_cast<size_t>(link.from)].node;
    if (below == VertexKind::nic && node < 0) continue;
    auto& [all, further] = all_and_further[below == VertexKind::nic ? node : static_cast<int>(link.from)];
    all += link.bandwidth;
    if (!above.lost(static_cast<size_t>(link.to))) further += link.bandwidth;
  }
  double least = 1.0;
  for (const auto& [member, rates] : all_and_further) {
    if (rates.second.base() > 0.0) least = std::min(least, rates.second / rates.first);
  }
  return least;
}

/// Closed form of a damaged cluster: everyone waits for the worst node, and each tier is as narrow for all as
/// at its worst switch.
void narrow(const ClusterSpec& cluster, const RemainingCapacity& left, ClusterShape& shape) {
  if (left.scale_up > 0.0) {
    shape.scale_up_bandwidth *= left.scale_up;
  } else {
    // Without NVLink the GPUs of a node talk over its PCIe switches and its host, and only they.
    constexpr int kLinksOverHost = 4;
    shape.scale_up = ScaleUpKind::pcie;
    shape.scale_up_bandwidth = min(shape.scale_up_bandwidth, shape.host_link);
    shape.scale_up_latency = max(shape.scale_up_latency, kLinksOverHost * cluster.node.host_link_latency);
    shape.in_network_reduction = false;
    shape.gpus_per_domain = shape.gpus_per_node;
  }
  // What is left of NICs is of what their PCIe slots let through. Slower NICs ask less of uplinks that are as
  // wide as before.
  const bool behind_slot = left.nics < 1.0 && shape.slot_of_nic() > BytesPerSecond(0);
  const double slot = behind_slot ? std::min(1.0, shape.slot_of_nic() / shape.nic_bandwidth) : 1.0;
  const double leaf = left.nics * slot / left.leaf_uplinks;
  shape.nic_bandwidth *= left.nics * slot;
  shape.oversubscription_leaf = std::max(1.0, shape.oversubscription_leaf * leaf);
  shape.oversubscription = std::max(1.0, shape.oversubscription * leaf / left.spine_uplinks);
  for (ClusterShape::ExchangeBlock& block : shape.exchange_blocks) block.oversubscription *= leaf;
  shape.torus_demand *= leaf;
  shape.pair_oversubscription_leaf *= leaf;
  shape.pair_oversubscription *= leaf / left.spine_uplinks;
}

}  // namespace

RemainingCapacity remaining_capacity(const ClusterSpec& cluster) {
  RemainingCapacity left;
  if (!cluster.fabric.what_if.any()) return left;
  const Topology healthy = build_healthy_topology(cluster);
  const Topology damaged = build_topology(cluster);
  const size_t vertices = healthy.vertices().size();
  WorstShare scale_up(vertices), up(vertices), above(vertices);
  WorstNode nics(static_cast<size_t>(cluster.nodes), vertices);
  for (size_t l = 0; l < healthy.links().size(); ++l) {
    const Link& link = healthy.links()[l];
    const VertexKind from = kind_of(healthy, link.from);
    const VertexKind to = kind_of(healthy, link.to);
    const int node = healthy.vertices()[static_cast<size_t>(link.from)].node;
    const BytesPerSecond now = damaged.usable(static_cast<LinkId>(l))
                                   ? link_of(damaged, static_cast<LinkId>(l)).bandwidth
                                   : BytesPerSecond();
    const auto member = static_cast<size_t>(link.from);
    if (from == VertexKind::gpu && (to == VertexKind::nvswitch || to == VertexKind::gpu)) {
      scale_up.add(member, link.bandwidth, now);
    } else if (from == VertexKind::pcie_switch && to == VertexKind::nic && node >= 0) {
      nics.add_host(link.to, link.bandwidth, now);
    } else if ((from == VertexKind::nic || from == VertexKind::gpu) && is_network_switch(to) && node >= 0) {
      nics.add_fabric(node, link.from, link.bandwidth, now);
    } else if (from == VertexKind::leaf && is_network_switch(to)) {
      up.add(member, link.bandwidth, now);
    } else if (from == VertexKind::spine && (to == VertexKind::core || to == VertexKind::spine)) {
      above.add(member, link.bandwidth, now);
    }
  }
  left.scale_up = scale_up.worst(true);
  left.nics = nics.worst();
  left.leaf_uplinks = up.worst(false) * least_share_upwards(damaged, VertexKind::nic, VertexKind::leaf, up);
  left.spine_uplinks =
      above.worst(false) * least_share_upwards(damaged, VertexKind::leaf, VertexKind::spine, above);
  return left;
}

namespace {

/// Nothing broken.
ClusterShape healthy_shape(const ClusterSpec& cluster) {
  if (const std::string problem = layout_problem(cluster); !problem.empty()) {
    throw std::invalid_argument(problem);
  }
  const NodeSpec& node = cluster.node;
  const FabricSpec& fabric = cluster.fabric;
  std::string problem;

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
  shape.host_memory_link = node.host_memory_link;
  shape.host_memory_bandwidth = node.host_memory_bandwidth;
  shape.protocol = node.nics.protocol;
  shape.payload_efficiency = fabric.payload_efficiency;
  shape.storage = storage_shape(cluster);
  if (fabric.kind == FabricKind::graph) {
    shape_graph(cluster, shape);
  } else if (cluster.nodes > 1) {
    if (fabric.is_dragonfly()) {
      shape_dragonfly(cluster, dragonfly_layout(cluster, problem), shape);
    } else if (fabric.kind == FabricKind::torus) {
      shape_torus(cluster, torus_dimensions(cluster, problem), shape);
    } else {
      shape_tree(cluster, fabric_layout(cluster, problem), shape);
    }
  }
  return shape;
}

}  // namespace

ClusterShape cluster_shape(const ClusterSpec& cluster) {
  ClusterShape shape = healthy_shape(cluster);
  if (cluster.fabric.what_if.any()) narrow(cluster, remaining_capacity(cluster), shape);
  return shape;
}

ClusterShape uncontended_shape(const ClusterSpec& cluster) {
  ClusterShape shape = healthy_shape(cluster);
  shape.oversubscription = shape.oversubscription_leaf = 1.0;
  shape.exchange_blocks.clear();
  shape.torus.clear();
  shape.pair_oversubscription_leaf = shape.pair_oversubscription = 0.0;
  if (cluster.fabric.what_if.any()) {
    RemainingCapacity left;
    left.scale_up = remaining_capacity(cluster).scale_up;
    narrow(cluster, left, shape);
  }
  return shape;
}

Seconds transport_ramp(const ClusterSpec& cluster, const Topology& healthy) {
  const FabricSpec& fabric = cluster.fabric;
  if (fabric.ramp) return *fabric.ramp;
  if (cluster.nodes == 1) return {};
  if (fabric.kind != FabricKind::graph) {
    ClusterSpec whole = cluster;
    whole.fabric.what_if = {};
    return 2 * fabric.ramp_round_trips * cluster_shape(whole).network_latency_far;
  }
  Seconds longest;
  for (int node = 1; node < cluster.nodes; ++node) {
    longest = max(longest, route_latency(healthy, healthy.route(0, node * cluster.node.gpus)));
  }
  return 2 * fabric.ramp_round_trips * longest;
}

}  // namespace orrery
