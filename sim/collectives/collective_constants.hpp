#pragma once

#include <array>
#include <string>
#include <vector>

#include "sim/base/evidence.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

inline constexpr int kCollectiveOps = 6;
/// NCCL's wire protocols, index of every three-element array below.
enum class WireProtocol { ll, ll128, simple };
inline constexpr int kWireProtocols = 3;
using PerProtocol = std::array<double, kWireProtocols>;

/// Measured time of one operation on one number of ranks inside one scale-up domain, smoothed over its
/// sources. SI units: bytes, seconds, bytes per second.
struct DomainCurve {
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 2;
  int first_octave = 10;        ///< seconds[i] is the time of a payload of 2^(first_octave + i) bytes
  std::vector<double> seconds;  ///< never falling
  double bandwidth = 0;         ///< payload over time for very large payloads
  double least_bytes = 0;       ///< smallest and largest payload that was measured
  double most_bytes = 0;
  bool stands_in = false;      ///< of another GPU, scaled by the scale-up bandwidth
  bool of_siblings = false;    ///< from GPUs of its generation, this one has no rows here
  double relative_spread = 0;  ///< of the rows around the curve (root mean square, log time)
};

/// Times inside a scale-up domain of one GPU model. Empty if nothing was measured: then the library's
/// formulas hold.
struct DomainConstants {
  std::string gpu;                ///< whose rows these are
  bool stands_in = false;         ///< true if another GPU of the same architecture was asked for
  double scale_up_bandwidth = 0;  ///< per GPU and direction, of the machines that were measured
  int mesh_gpus = 0;  ///< GPUs linked pair by pair: r of them reach (r-1)/(mesh_gpus-1) of it; 0: a switch
  std::vector<DomainCurve> curves;
};

/// NCCL's own cost model (src/graph/tuning.cc), one architecture. Library constants, not measurements.
struct LibraryConstants {
  std::string architecture;
  std::string fabric_library;            ///< whose fits across domains hold; empty: NCCL's
  double host_age = 0;                   ///< generations that hosts of this architecture lie behind Hopper's
  PerProtocol ring_base{}, tree_base{};  ///< s
  PerProtocol nvlink_ring_hop{}, nvlink_tree_hop{};  ///< s
  PerProtocol pci_ring_hop{}, pci_tree_hop{};        ///< s
  PerProtocol network_ring_hop{}, network_tree_hop{};
  double nvls_hop = 0;                ///< s; NVLink SHARP's start
  double usable_link_share = 0;       ///< NCCL's GB/s per NVLink over the vendor's
  PerProtocol ring_share{};           ///< wire share of each protocol: LL carries as many flags as data
  double ll_limit = 0;                ///< B/s, one node: the most the LL protocol carries
  double ring_ll128_per_channel = 0;  ///< B/s
  double tree_per_channel = 0;        ///< B/s
  double tree_ll128_per_channel = 0;  ///< B/s
  double tree_pattern_share = 0;      ///< 0.85
  double nvls_share = 0;              ///< share of the domain's usable bandwidth that NVLS reaches
  double pair_share = 0;              ///< share of the link rate that one send-receive pair reaches
  std::array<double, 23> tree_simple_share{}, tree_ll_share{}, tree_ll128_share{};  ///< by log2(bytes / 64)
  int ring_channels = 0;
  int nvls_channels = 0;
  int point_to_point_channels = 0;
  int nvls_from_ranks = 0;     ///< NVLS is chosen from this many ranks ...
  double nvls_from_bytes = 0;  ///< ... and this payload on
  double ll_up_to_bytes = 0;   ///< reported protocol inside a domain
  double ll128_up_to_bytes = 0;
  PerProtocol channel_buffer_bytes{};  ///< per channel, direction and peer connection
};

/// What was measured across domains: the range within which a time counts as interpolated, and how far off
/// predictions were.
struct FabricHull {
  CollectiveOp op = CollectiveOp::all_reduce;
  int least_ranks = 0, most_ranks = 0;
  int least_domains = 0, most_domains = 0;
  int least_ranks_per_domain = 0, most_ranks_per_domain = 0;
  double least_bytes = 0, most_bytes = 0;
  double least_rate = 0, most_rate = 0;    ///< B/s that one rank sends into the fabric
  std::vector<std::string> architectures;  ///< of the GPUs, sorted
  double relative_spread = 0;  ///< the larger of the fit's and the left-out root mean square (log time)
  double left_out_error = 0;   ///< geometric mean; 0 if nothing could be left out
};

/// How NCCL does across scale-up domains on one kind of network. Fitted; see calibration/collectives.
struct FabricConstants {
  NicProtocol protocol = NicProtocol::infiniband;
  bool stands_in = false;      ///< fitted on another protocol's rows
  double ring_efficiency = 1;  ///< share of the NICs' payload rate in long rings
  double tree_efficiency = 1;
  double all_to_all_efficiency = 1;
  double pair_efficiency = 1;             ///< send-receive between two domains
  double shift_efficiency = 1;            ///< send-receive round a ring of more than two domains
  double rack_all_to_all_efficiency = 1;  ///< further factor where the domains are racks (several nodes each)
  double domain_share = 1;     ///< share of the domain's all-reduce rate that trees across domains keep
  double start = 0;            ///< s, any collective
  double ring_hop_factor = 1;  ///< on the library's network hop latencies
  double tree_hop_factor = 1;
  double inner_hop_factor = 1;  ///< on the library's hop latencies inside a domain
  double peer_latency = 0;      ///< s for each rank in another domain that an all-to-all sends to
  double tree_fill = 0;  ///< weight of the geometric mean of latency and transfer: chunks fill the tree
  double ring_fill = 0;
  double tree_chunks =
      0;  ///< latencies that long payloads wait for more: chunks stop growing at the buffer's size
  double ring_chunks = 0;
  double simple_hop_factor = 1;      ///< further factor on network hops of the Simple protocol
  double ll_limit_share = 1;         ///< of the library's limit of the LL protocol on one node
  double ll128_share = 1;            ///< of the LL128 protocol's wire share
  double old_host_factor = 1;        ///< on the start, for each step of LibraryConstants::host_age
  double all_to_all_fill = 0;        ///< as ring_fill
  double all_to_all_node_power = 0;  ///< all-to-all rate falls with (domains / 2) to this power
  std::vector<FabricHull> hulls;
};

/// All that NcclModel knows. Plain data, read from calibration/profiles/collectives.
struct CollectiveConstants {
  DomainConstants domain;
  LibraryConstants library;
  FabricConstants fabric;
  double domain_error = 0;  ///< geometric-mean errors of the two profiles in use
  double fabric_error = 0;
  std::string profile_source;  ///< their names and data hashes
};

}  // namespace orrery
