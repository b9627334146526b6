#pragma once

#include <array>
#include <string>
#include <vector>

#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// The ways in which a library may run a collective. `symmetric`: NCCL's kernels on symmetric memory windows.
enum class TunerAlgorithm { tree, ring, collnet_direct, collnet_chain, nvls, nvls_tree, pat, symmetric, p2p };
inline constexpr int kTunerAlgorithms = 9;
std::string_view name_of(TunerAlgorithm algorithm);

enum class CpuVendor { intel, amd };

/// Start of NCCL's symmetric-memory kernels on one architecture; peak 0: none.
struct SymmetricConstants {
  double ll_base = 0, base = 0;  ///< s
  double per_sm = 0;             ///< B/s
  double peak_reduce = 0;        ///< B/s, all-reduce through the switch's multicast
  double peak_gather = 0;        ///< B/s, the others
};

/// The table of one library, version and architecture: src/graph/tuning.cc of NCCL or RCCL as data. Library
/// constants, not measurements. SI units; three-element lists are LL, LL128, Simple or one node, two nodes,
/// more. Lists of speeds fall.
struct TunerConstants {
  std::string library;  ///< "nccl" or "rccl"
  std::string version;  ///< the entry in use: "2.27"
  std::string architecture;
  std::string source;

  PerProtocol tree_base{}, ring_base{};
  double pat_base = 0;
  using Hops = std::array<PerProtocol, kTunerAlgorithms>;  ///< s, by algorithm
  Hops nvlink_hop{}, pci_hop{}, network_hop{};
  std::array<double, 2> network_overhead{};  ///< s, by CPU vendor: posting a message, tripled for Simple
  double long_ring_latency_factor = 1;       ///< on Simple rings across nodes
  double ring_ll_share = 0;                  ///< of the bus bandwidth
  double ring_ll_share_one_node = 0;         ///< the same of all_gather and reduce_scatter on one node
  double ll_limit = 0;                       ///< B/s on one node
  std::array<std::array<double, 2>, 2> ll_limit_across{};  ///< by CPU vendor, two nodes and more
  double ring_ll128_per_channel = 0;
  std::array<double, 3> tree_ll128_per_channel{}, tree_per_channel{};
  std::array<double, 2> nvls_tree_per_channel{};                    ///< two nodes and more; 0: no limit
  std::array<std::array<double, 23>, kWireProtocols> tree_share{};  ///< by doublings from 64 bytes on

  double usable_link_share = 0;                    ///< the library's GB/s a link over the vendor's
  int graph_channels = 0;                          ///< rings that the search finds inside a node
  std::vector<double> intra_speeds, inter_speeds;  ///< B/s a channel that the search tries
  int duplication = 1;                             ///< channels of the communicator over those of the graph
  int most_channels = 64;
  int nvls_channels = 0, nvls_channels_across = 0;
  bool nvls_by_efficiency = false;  ///< the reckoning of 2.30
  double nvls_efficiency = 1;
  bool offers_nvls = false, offers_pat = false, offers_collnet = false, offers_symmetric = false;
  bool offers_ll128 = true;
  double pat_share = 0;
  SymmetricConstants symmetric;
  std::array<int, kWireProtocols> threads{};
  std::array<double, kWireProtocols>
      bytes_per_thread{};                ///< below which a channel is dropped; LL rings: times n
  double pair_ll_bytes_per_channel = 0;  ///< sends up to this use LL
  int pair_channels = 0;

  /// RCCL reckons bandwidth by fixed shares of the rings' instead; used where fixed_shares is true.
  bool fixed_shares = false;
  PerProtocol ring_share{}, tree_share_two_nodes{}, tree_share_beyond{};

  /// Regions of the AWS OFI tuner for all-reduces across nodes: it overrides the table there.
  struct Corner {
    double ranks, bytes;
  };
  double region_tree_ll_up_to = 0;  ///< 0: no plugin known
  std::vector<Corner> region_tree_ll128_up_to, region_nvls_tree_from;
};

}  // namespace orrery
