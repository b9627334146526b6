#include "sim/network/group_shape.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sim/network/torus_load.hpp"

namespace orrery {
namespace {

constexpr std::array<std::string_view, 4> kScaleUpNames = {"nvswitch", "nvlink_mesh", "pcie", "none"};
constexpr std::array<std::string_view, 6> kProtocolNames = {"infiniband", "roce", "ethernet",
                                                            "slingshot",  "efa",  "omni_path"};

/// How far up two nodes' NICs meet: at a leaf, a spine, or a core switch.
enum class Tier { leaf, spine, core };

bool same_block(int a, int b, int size) { return size <= 0 || a / size == b / size; }

Tier meeting_tier(const ClusterShape& cluster, int node_a, int node_b, bool same_rail) {
  if (!same_block(node_a, node_b, cluster.nodes_per_pod)) return Tier::core;
  if (!same_block(node_a, node_b, cluster.nodes_per_leaf)) return Tier::spine;
  return cluster.rail_optimized && !same_rail ? Tier::spine : Tier::leaf;
}

/// Distinct blocks of `size` that the GPUs fall into, and the largest and the smallest number in one.
struct Blocks {
  int count = 0;
  int largest = 0, smallest = 0;
  std::vector<int> members;  ///< by block, from the first one touched
  int first = 0;
};

Blocks blocks_of(std::span<const int> gpus, int size) {
  const auto [low, high] = std::minmax_element(gpus.begin(), gpus.end());
  Blocks blocks;
  blocks.first = *low / size;
  const int spanned = *high / size - blocks.first + 1;
  blocks.members.assign(static_cast<std::size_t>(spanned), 0);
  for (const int gpu : gpus) {
    int& members = blocks.members[static_cast<std::size_t>(gpu / size - blocks.first)];
    if (members++ == 0) ++blocks.count;
    blocks.largest = std::max(blocks.largest, members);
  }
  blocks.smallest = blocks.largest;
  for (const int members : blocks.members) {
    if (members > 0) blocks.smallest = std::min(blocks.smallest, members);
  }
  return blocks;
}

/// NIC number of its node that a GPU of the cluster uses.
int rail_of(const ClusterShape& cluster, int gpu) {
  return nic_of_gpu(gpu % cluster.gpus_per_node, cluster.gpus_per_node, cluster.nics_per_node);
}

/// What the ranks of a group ask of the uplinks of a kind of switch, over what these have: 1 where they
/// suffice.
struct UplinkDemand {
  double ring = 1.0, exchange = 1.0;
};

/// Where a ring hop starts, and how far up it goes.
struct Hop {
  int node;
  Tier tier;
};

/// Rings are as fast as the narrowest domain sends. Of each block of `size` nodes, how many more of the
/// group's ranks than that its domains have on average, whose part of the uplinks the rings use as well.
std::vector<double> spare_senders(const ClusterShape& cluster, std::span<const int> gpus,
                                  const GroupShape& shape, int size) {
  const int nodes = cluster.gpus / cluster.gpus_per_node;
  std::vector<double> spare(static_cast<std::size_t>((nodes + size - 1) / size), 1.0);
  const int nodes_of_domain = cluster.gpus_per_domain / cluster.gpus_per_node;
  if (shape.fewest_ranks_per_domain == 0 || size % nodes_of_domain != 0) return spare;
  const Blocks domains = blocks_of(gpus, cluster.gpus_per_domain);
  std::vector<int> ranks(spare.size()), touched(spare.size());
  for (std::size_t i = 0; i < domains.members.size(); ++i) {
    if (domains.members[i] == 0) continue;
    const auto block = (static_cast<std::size_t>(domains.first) + i) *
                       static_cast<std::size_t>(nodes_of_domain) / static_cast<std::size_t>(size);
    ranks[block] += domains.members[i];
    ++touched[block];
  }
  for (std::size_t block = 0; block < spare.size(); ++block) {
    if (touched[block] > 0)
      spare[block] = static_cast<double>(ranks[block]) / (touched[block] * shape.narrowest_domain());
  }
  return spare;
}

/// @param size   nodes that meet below the uplinks; 0: all
/// @param tier   least tier of a hop that uses them
/// @param ratio  oversubscription with all `size` nodes present: the last block may have fewer, and as many
///               uplinks
UplinkDemand uplink_demand(const ClusterShape& cluster, std::span<const int> gpus, std::span<const Hop> hops,
                           const GroupShape& shape, int size, Tier tier, double ratio) {
  UplinkDemand demand;
  if (ratio <= 1.0 || size <= 0) return demand;
  const int nodes = cluster.gpus / cluster.gpus_per_node;
  const auto ratio_of = [&](int block) {
    return ratio * std::min(size, nodes - block * size) / static_cast<double>(size);
  };
  const auto blocks = static_cast<std::size_t>((nodes + size - 1) / size);
  std::vector<int> started(blocks), left(blocks);
  for (const Hop& hop : hops) {
    const auto block = static_cast<std::size_t>(hop.node / size);
    ++started[block];
    if (hop.tier >= tier) ++left[block];
  }
  const Blocks members = blocks_of(gpus, size * cluster.gpus_per_node);
  const std::vector<double> spare = spare_senders(cluster, gpus, shape, size);
  for (std::size_t block = 0; block < blocks; ++block) {
    if (left[block] == 0) continue;
    demand.ring = std::max(demand.ring,
                           ratio_of(static_cast<int>(block)) * left[block] / started[block] / spare[block]);
  }

  const int outside_domain = shape.ranks - shape.narrowest_domain();
  // Without PXN, what goes to another rail passes a spine, wherever its node is.
  const int ranks_per_node = std::max(1, shape.ranks / shape.nodes);
  const int rails = tier == Tier::spine && cluster.rail_optimized && !cluster.pxn
                        ? std::min(cluster.nics_per_node, ranks_per_node)
                        : 1;
  for (std::size_t block = 0; block < members.members.size(); ++block) {
    if (members.members[block] == 0) continue;
    const int near = std::max(members.members[block] / rails, shape.narrowest_domain());
    demand.exchange =
        std::max(demand.exchange, ratio_of(members.first + static_cast<int>(block)) * (shape.ranks - near) /
                                      static_cast<double>(outside_domain));
  }
  return demand;
}

/// Nodes of a group, in the order in which it first meets their domains.
std::vector<int> nodes_in_order(const ClusterShape& cluster, std::span<const int> gpus) {
  std::vector<int> nodes;
  std::vector<bool> met(static_cast<std::size_t>(cluster.gpus / cluster.gpus_per_domain) + 1, false);
  for (const int gpu : gpus) {
    const auto domain = static_cast<std::size_t>(gpu / cluster.gpus_per_domain);
    if (met[domain]) continue;
    met[domain] = true;
    nodes.push_back(gpu / cluster.gpus_per_node);
  }
  return nodes;
}

/// What is left on the cables to a block's destinations where adaptive switches detour over others of n
/// blocks: with a share f that takes the direct cable, all cables out carry alike when f/d = (2-f)/(n-1), as
/// each detour uses two (UGAL; Kim et al., ISCA 2008, section 4). What goes everywhere has no use for them.
double share_without_detours(int blocks, int destinations) {
  if (blocks < 2) return 1.0;
  return std::min(1.0, 2.0 * destinations / (blocks - 1 + destinations));
}

/// The same where cables lead from one block to one other each (dragonflies), so that what goes to the same
/// other block counts. Hops of a higher tier are counted there.
UplinkDemand pair_demand(const ClusterShape& cluster, std::span<const int> gpus, const GroupShape& shape,
                         int siblings, Tier tier) {
  const bool leaves = tier == Tier::spine;
  const int size = leaves ? cluster.nodes_per_leaf : cluster.nodes_per_pod;
  const double ratio = leaves ? cluster.pair_oversubscription_leaf : cluster.pair_oversubscription;
  const int detours = leaves ? cluster.detour_leaves : cluster.detour_groups;
  UplinkDemand demand;
  if (ratio <= 1.0 || size <= 0) return demand;
  const int nodes = cluster.gpus / cluster.gpus_per_node;
  const auto ratio_of = [&](int block) { return ratio * std::min(size, nodes - block * size) / size; };
  const std::vector<int> ring = nodes_in_order(cluster, gpus);
  const std::vector<int> shifts = sibling_shifts(ring, nodes, siblings);
  std::map<int, int> started;
  std::map<std::pair<int, int>, int> sent;  // hops, each of all that a node sends
  std::map<int, int> destinations;
  for (std::size_t sibling = 0; sibling < std::max<std::size_t>(1, shifts.size()); ++sibling) {
    const int shift = shifts.empty() ? 0 : shifts[sibling];
    for (std::size_t i = 0; i < ring.size(); ++i) {
      const int from = ring[i] + shift;
      const int to = ring[(i + 1) % ring.size()] + shift;
      ++started[from / size];
      if (meeting_tier(cluster, from, to, true) != tier) continue;
      if (sent[{from / size, to / size}]++ == 0) ++destinations[from / size];
    }
  }
  for (const auto& [pair, count] : sent) {
    // Where the siblings are not known, all nodes of the block send as the ring's do.
    const double share = shifts.empty() ? ratio_of(pair.first) / started[pair.first] : ratio / size;
    demand.ring =
        std::max(demand.ring, share * count * share_without_detours(detours, destinations[pair.first]));
  }
  const Blocks members = blocks_of(gpus, size * cluster.gpus_per_node);
  const int outside_domain = shape.ranks - shape.narrowest_domain();
  // A rank sends to each rail's leaf over another cable, and PXN shortens no path to another chassis.
  const int rails = leaves && cluster.rail_optimized
                        ? std::min(cluster.nics_per_node, std::max(1, shape.ranks / shape.nodes))
                        : 1;
  const auto joined = [&](std::size_t a, std::size_t b) {
    return !leaves || same_block((members.first + static_cast<int>(a)) * size,
                                 (members.first + static_cast<int>(b)) * size, cluster.nodes_per_pod);
  };
  int largest = -1;  // among those that this tier joins: of all groups, or of leaves that meet in one
  for (std::size_t block = 0; block < members.members.size(); ++block) {
    if (members.members[block] == 0) continue;
    if (largest < 0 || members.members[block] > members.members[static_cast<std::size_t>(largest)])
      largest = static_cast<int>(block);
  }
  const auto most = static_cast<std::size_t>(std::max(0, largest));
  int others = -1;  // that each of those sends to
  for (std::size_t block = 0; block < members.members.size(); ++block) {
    if (members.members[block] > 0 && joined(block, most)) ++others;
  }
  const double direct = share_without_detours(detours, others * rails + rails - 1);
  for (std::size_t block = 0; block < members.members.size(); ++block) {
    if (members.members[block] == 0 || block == most || !joined(block, most)) continue;
    demand.exchange = std::max(demand.exchange, direct * ratio_of(members.first + static_cast<int>(block)) *
                                                    members.members[most] / rails / outside_domain);
  }
  return demand;
}

/// NICs that each rank has to itself where all GPUs of a node send: of the GPUs that have fewest, or share
/// one with most. Rings through whole nodes start at NICs, so that all of them are used alike where GPUs
/// share them.
double nics_of_each(const ClusterShape& cluster, bool rings_through_whole_nodes) {
  const int gpus = cluster.gpus_per_node;
  const int nics = cluster.nics_per_node;
  const int each = nics / gpus;
  if (each > 0) return each;
  if (rings_through_whole_nodes || nics == 0) return static_cast<double>(nics) / gpus;
  const int sharing = (gpus + nics - 1) / nics;
  return 1.0 / sharing;
}

}  // namespace

std::string_view name_of(ScaleUpKind kind) { return kScaleUpNames[static_cast<std::size_t>(kind)]; }
std::string_view name_of(NicProtocol protocol) { return kProtocolNames[static_cast<std::size_t>(protocol)]; }

int nic_of_gpu(int local_gpu, int gpus_per_node, int nics_per_node) {
  return gpus_per_node > 0 ? local_gpu * nics_per_node / gpus_per_node : 0;
}

GroupShape group_shape(const ClusterShape& cluster, std::span<const int> gpus, int siblings) {
  if (gpus.empty()) throw std::invalid_argument("a group needs at least one GPU");
  if (cluster.gpus_per_node < 1 || cluster.gpus_per_domain < 1) {
    throw std::invalid_argument("a cluster needs GPUs in its nodes and domains");
  }
  for (const int gpu : gpus) {
    if (gpu < 0 || gpu >= cluster.gpus) {
      throw std::invalid_argument("GPU " + std::to_string(gpu) + " is not one of the cluster's " +
                                  std::to_string(cluster.gpus));
    }
  }
  const Blocks domains = blocks_of(gpus, cluster.gpus_per_domain);
  const auto ranks_in_domain_of = [&](int gpu) {
    return domains.members[static_cast<std::size_t>(gpu / cluster.gpus_per_domain - domains.first)];
  };

  GroupShape shape;
  shape.ranks = static_cast<int>(gpus.size());
  shape.domains = domains.count;
  shape.ranks_per_domain = domains.largest;
  if (domains.smallest < domains.largest) shape.fewest_ranks_per_domain = domains.smallest;
  shape.nodes = blocks_of(gpus, cluster.gpus_per_node).count;
  shape.scale_up = cluster.scale_up;
  shape.scale_up_bandwidth = cluster.scale_up_bandwidth;
  if (cluster.scale_up == ScaleUpKind::nvlink_mesh && cluster.gpus_per_domain > 1 &&
      shape.ranks_per_domain > 1) {
    shape.scale_up_bandwidth *=
        static_cast<double>(shape.ranks_per_domain - 1) / (cluster.gpus_per_domain - 1);
  }
  shape.scale_up_latency = cluster.scale_up_latency;
  shape.in_network_reduction = cluster.in_network_reduction;
  shape.nic_bandwidth = cluster.nic_bandwidth;
  shape.protocol = cluster.protocol;

  const Tier highest = cluster.nodes_per_pod > 0                              ? Tier::core
                       : cluster.nodes_per_leaf > 0 || cluster.rail_optimized ? Tier::spine
                                                                              : Tier::leaf;
  Tier farthest = Tier::leaf;
  const bool narrow = cluster.torus.empty() &&
                      (cluster.oversubscription_leaf > 1.0 || cluster.oversubscription > 1.0 ||
                       cluster.pair_oversubscription_leaf > 1.0 || cluster.pair_oversubscription > 1.0);
  std::vector<Hop> hops;
  // The hop that closes the ring is the longest one in most groups: with it first, the loop ends at once.
  int here = gpus.back();
  for (size_t i = 0; i < gpus.size() && shape.domains > 1 && (narrow || farthest != highest); ++i) {
    const int next = gpus[i];
    if (here / cluster.gpus_per_domain != next / cluster.gpus_per_domain) {
      const bool same_rail = rail_of(cluster, here) == rail_of(cluster, next) ||
                             (ranks_in_domain_of(here) > 1 && ranks_in_domain_of(next) > 1);
      const Tier tier =
          meeting_tier(cluster, here / cluster.gpus_per_node, next / cluster.gpus_per_node, same_rail);
      if (narrow) hops.push_back({here / cluster.gpus_per_node, tier});
      farthest = std::max(farthest, tier);
    }
    here = next;
  }
  const std::array<Seconds, 3> latency = {cluster.network_latency, cluster.network_latency_pod,
                                          cluster.network_latency_far};
  shape.network_latency = latency[static_cast<std::size_t>(farthest)];
  const bool whole_nodes = shape.ranks == shape.nodes * cluster.gpus_per_node;
  const double nics_in_rings = nics_of_each(cluster, whole_nodes);
  const double nics_in_exchanges = nics_of_each(cluster, false);
  // Uplinks are sized for the NICs, whatever the host links let through. GPUs that share a NIC share its
  // slot. The GPUs of a node use its uplinks alike, however its NICs are dealt; those of a rail are its
  // NIC's.
  const double nics_per_gpu = static_cast<double>(cluster.nics_per_node) / cluster.gpus_per_node;
  const auto sent = [&](double nics, double demand) {
    const double uplinks = cluster.rail_optimized ? nics : nics_per_gpu;
    return min(cluster.nic_bandwidth * std::min(nics, uplinks / demand),
               min(cluster.host_link, cluster.slot_of_nic() * nics)) *
           cluster.payload_efficiency;
  };
  shape.scale_out_per_rank = sent(nics_in_rings, 1.0);
  if (nics_in_exchanges != nics_in_rings) shape.exchange_per_rank = sent(nics_in_exchanges, 1.0);
  if (narrow && shape.domains > 1) {
    const UplinkDemand leaf = uplink_demand(cluster, gpus, hops, shape, cluster.nodes_per_leaf, Tier::spine,
                                            cluster.oversubscription_leaf);
    const UplinkDemand pod = uplink_demand(cluster, gpus, hops, shape, cluster.nodes_per_pod, Tier::core,
                                           cluster.oversubscription);
    const UplinkDemand to_leaf = pair_demand(cluster, gpus, shape, siblings, Tier::spine);
    const UplinkDemand to_group = pair_demand(cluster, gpus, shape, siblings, Tier::core);
    shape.exchange_per_rank =
        sent(nics_in_exchanges, std::max({leaf.exchange, pod.exchange, to_leaf.exchange, to_group.exchange}));
    shape.scale_out_per_rank =
        sent(nics_in_rings, std::max({leaf.ring, pod.ring, to_leaf.ring, to_group.ring}));
  }
  if (shape.domains > 1 && !cluster.torus.empty()) {
    const double load =
        fullest_cable(cluster.torus, nodes_in_order(cluster, gpus), cluster.lowest_first, siblings);
    shape.scale_out_per_rank = sent(nics_in_rings, std::max(1.0, cluster.torus_demand * load));
  }
  if (shape.domains > 1 && !cluster.exchange_blocks.empty()) {
    const auto [low, high] = std::minmax_element(gpus.begin(), gpus.end());
    const auto block = std::find_if(
        cluster.exchange_blocks.begin(), cluster.exchange_blocks.end(),
        [&, low = *low, high = *high](const ClusterShape::ExchangeBlock& candidate) {
          return same_block(low / cluster.gpus_per_node, high / cluster.gpus_per_node, candidate.nodes);
        });
    const double asked = block == cluster.exchange_blocks.end() ? 1.0 : block->oversubscription;
    const double off_node = static_cast<double>(shape.ranks - shape.narrowest_domain()) / shape.ranks;
    shape.exchange_per_rank = sent(nics_in_exchanges, std::max(1.0, asked / off_node));
  }
  return shape;
}

}  // namespace orrery
