#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/network/storage_shape.hpp"

namespace orrery {

enum class ScaleUpKind { nvswitch, nvlink_mesh, pcie, none };
enum class NicProtocol { infiniband, roce, ethernet, slingshot, efa, omni_path };
std::string_view name_of(ScaleUpKind kind);
std::string_view name_of(NicProtocol protocol);

/// What the closed forms see of a cluster instead of its graph: every node alike. Built by topologies beside
/// the graph (a test holds the two to each other).
struct ClusterShape {
  int gpus = 0;
  int gpus_per_node = 0;    ///< GPUs that share a host
  int gpus_per_domain = 0;  ///< GPUs that share an NVLink (scale-up) domain; >= gpus_per_node on NVL72
  ScaleUpKind scale_up = ScaleUpKind::none;
  BytesPerSecond scale_up_bandwidth;  ///< per GPU and direction
  Seconds scale_up_latency;           ///< GPU to GPU inside a domain
  bool in_network_reduction = false;  ///< NVLS on this generation's NVSwitch
  int nics_per_node = 0;
  BytesPerSecond nic_bandwidth;          ///< per NIC and direction
  BytesPerSecond host_link;              ///< PCIe of a GPU, one direction: caps what it can send
  BytesPerSecond nic_slot;               ///< of a NIC, likewise; zero: as host_link
  BytesPerSecond host_memory_link;       ///< between a GPU and its host's memory, one direction
  BytesPerSecond host_memory_bandwidth;  ///< of a node's host memory; zero: not known
  Seconds
      network_latency;  ///< GPU to GPU across the fabric within one leaf (NICs, links and switches added up)
  Seconds network_latency_far;  ///< the same across the top tier
  NicProtocol protocol = NicProtocol::infiniband;
  double oversubscription = 1.0;  ///< product over tiers; 1 = non-blocking
  /// Where the tiers end. Nodes [k n, (k+1) n) meet at one leaf (under rail_optimized: at one leaf for each
  /// NIC number); 0: all nodes do.
  int nodes_per_leaf = 0;
  int nodes_per_pod = 0;        ///< nodes that meet below the core switches; 0: all
  bool rail_optimized = false;  ///< a leaf takes the NICs of one number only: other pairs cross a spine
  bool pxn = false;  ///< or the sender's traffic leaves over the neighbour that has a NIC with that number
  Seconds network_latency_pod;         ///< across leaf, spine, leaf; as the far one where there are no cores
  double oversubscription_leaf = 1.0;  ///< of the leaves' uplinks alone
  double payload_efficiency = 1.0;     ///< share of line rate left for payload (headers, framing)
  /// On a torus, of blocks of so many consecutive nodes from one ring to all of them: what an exchange of
  /// each rank with every other asks of the ring links, over what they carry.
  struct ExchangeBlock {
    int nodes;
    double oversubscription;
  };
  std::vector<ExchangeBlock> exchange_blocks;
  std::vector<int> torus;     ///< sizes of its rings, the first node by node; empty: no torus
  double torus_demand = 0.0;  ///< what a node's NICs send over what a cable between routers carries
  bool lowest_first = false;  ///< of a torus: routes take the lowest dimension first, and one of two ways
  BytesPerSecond slot_of_nic() const { return nic_slot > BytesPerSecond() ? nic_slot : host_link; }
  /// Of a dragonfly, whose cables join two switches, or two groups, each: what all nodes below a leaf, or in
  /// a group, send over what the cables to one other carry. Zero: uplinks lead to all others (at
  /// oversubscription).
  double pair_oversubscription_leaf = 0.0, pair_oversubscription = 0.0;
  /// Switches of a group, and groups, that adaptive switches detour over; 0: minimal paths alone.
  int detour_leaves = 0, detour_groups = 0;
  StorageShape storage;
};

/// How one communication group lies on the cluster.
struct GroupShape {
  int ranks = 1;
  int domains = 1;           ///< scale-up domains it touches
  int ranks_per_domain = 1;  ///< largest number of its ranks in one domain
  /// Smallest number of its ranks in a domain that it touches; 0: all hold ranks_per_domain. What crosses
  /// domains is held up where the group has the fewest NICs.
  int fewest_ranks_per_domain = 0;
  int nodes = 1;  ///< hosts it touches
  ScaleUpKind scale_up = ScaleUpKind::none;
  BytesPerSecond scale_up_bandwidth;
  Seconds scale_up_latency;
  bool in_network_reduction = false;
  /// What one rank can send into the fabric while its sibling groups (the other GPUs of its node and of its
  /// leaf) do the same: min(NICs x rate / GPUs of the node, host link; of a NIC that GPUs share, its
  /// own), times payload efficiency; less where
  /// more of a ring's hops leave a leaf or pod than its uplinks have room for. Where NICs and GPUs do not
  /// divide, of the GPU with the smallest share, but for rings through whole nodes, which start at NICs.
  BytesPerSecond scale_out_per_rank;
  /// The same of an exchange in which every rank sends to every other: what leaves a leaf then is the share
  /// of the ranks outside. Zero: as scale_out_per_rank.
  BytesPerSecond exchange_per_rank;
  BytesPerSecond nic_bandwidth;  ///< one NIC's line rate
  Seconds network_latency;       ///< one way, GPU to GPU of two neighbouring domains of the group
  NicProtocol protocol = NicProtocol::infiniband;

  bool crosses_domains() const { return domains > 1; }
  BytesPerSecond exchange_rate() const {
    return exchange_per_rank > BytesPerSecond() ? exchange_per_rank : scale_out_per_rank;
  }
  int narrowest_domain() const {
    return fewest_ranks_per_domain > 0 ? fewest_ranks_per_domain : ranks_per_domain;
  }
  auto operator<=>(const GroupShape&) const = default;
};

/// NIC of its node (0, 1, ...) that a GPU uses first: consecutive GPUs share one where there are fewer NICs
/// than GPUs.
int nic_of_gpu(int local_gpu, int gpus_per_node, int nics_per_node);

/// Shape of the group with these members (cluster GPU numbers, ring order). O(ranks + domains spanned); on a
/// dragonfly or torus also the domains touched x siblings, on a torus x hops.
///
/// The network latency is that of the longest hop between neighbours of the ring. Where a domain holds
/// several of the ranks, the ring enters and leaves it on the same rail, as NCCL's rings do. Uplinks of a
/// leaf carry 1/o of what its NICs send (o: oversubscription); a ring through k nodes of a leaf leaves it
/// once, and its siblings on the leaf's other nodes do likewise: it is slowed by max(1, o/k), a pair by o. An
/// exchange of n ranks, m of them under the leaf and r in the domain, by max(1, o (n-m)/(n-r)); pods as
/// leaves. On a dragonfly all that goes to one other leaf or group counts, over the cables between the two
/// and, with adaptive routing, detours; on a torus a ring is slowed by the fullest cable between routers,
/// siblings that meet there included. On an NVLink mesh a group of r in a domain of n reaches (r-1)/(n-1) of
/// a GPU's links.
/// @param siblings  of a torus or dragonfly: nodes side by side on which groups like this begin, at a
///                  multiple of their number; 0: those of one stride between the group's nodes
/// @throws std::invalid_argument for an empty group or a GPU that the cluster lacks
GroupShape group_shape(const ClusterShape& cluster, std::span<const int> gpus, int siblings = 0);

}  // namespace orrery
