#include "sim/collectives/tuner.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/library_formulas.hpp"
#include "sim/collectives/tree_shares.hpp"

namespace orrery {
namespace {

using enum TunerAlgorithm;

// src/graph/tuning.cc, as in tree_shares.hpp.
constexpr double kRingLl128Share = 0.92;
constexpr double kNvlsBusToPayload = 5.0 / 6.0;
constexpr double kNetworkShare = 0.9;  // of the network's speed in gathers over NVLink SHARP and CollNet
constexpr double kCollnetHopperShare = 0.85;
constexpr double kCollnetStepPerRank = 0.4e-6;  // s
constexpr double kPatStepsShare = 3.5, kPatPerRank = 2.8e-6;
constexpr double kChunkedRingBytes = 64.0;  // a rank and channel, from which Simple rings pay more latency
constexpr int kCollnetBytesPerThread = 512;
// A ring channel is worth having from about 22 GB/s of NIC on: 2 channels for one 400 Gb/s NIC, as NCCL's
// logs of one GPU a node show. Assumed for other rates.
constexpr double kNicRatePerChannel = 22e9;

bool gathers(CollectiveOp op) { return op == CollectiveOp::all_gather || op == CollectiveOp::reduce_scatter; }
bool is_pair(CollectiveOp op) { return op == CollectiveOp::all_to_all || op == CollectiveOp::send_receive; }

double largest_speed(const std::vector<double>& speeds, double available) {
  for (const double speed : speeds) {
    if (speed <= available) return speed;
  }
  return available;
}

/// What the NICs of one rank carry as the library sees them: whole NICs (or the halves and quarters that
/// ranks share), whatever headers and oversubscription take away.
double nic_rate_per_rank(const GroupShape& shape) {
  const double rate = shape.scale_out_per_rank.base();
  const double nic = shape.nic_bandwidth.base();
  if (!(nic > 0.0)) return rate;
  for (const double nics : {8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125}) {
    if (rate <= nics * nic * 1.001 && rate >= nics * nic * 0.85) return nics * nic;
  }
  return rate;
}

/// The call as the table's formulas see it.
struct Call {
  const TunerConstants& constants;
  const TunerOptions& options;
  CollectiveOp op;
  double payload;
  double ranks, nodes, per_node;
  int size_class;  ///< 0 one node, 1 two nodes, 2 more
  bool pci, nvswitch, multicast;
  const TunerConstants::Hops& inner_hop;
  double channels;                ///< of the ring graph
  double ring_intra, ring_inter;  ///< B/s a channel
  double nvls_channels;           ///< of the graph: one a rank of the node
  double nvls_intra, nvls_inter;
  double rank_intra, rank_inter;  ///< of CollNet's graph in gathers, which want a NIC a rank
  double steps;

  Call(const TunerConstants& c, CollectiveOp operation, double bytes, const GroupShape& shape,
       const TunerOptions& o)
      : constants(c),
        options(o),
        op(operation),
        payload(bytes),
        ranks(shape.ranks),
        nodes(shape.domains),
        per_node(shape.ranks_per_domain),
        size_class(shape.domains == 1   ? 0
                   : shape.domains == 2 ? 1
                                        : 2),
        pci(shape.scale_up == ScaleUpKind::pcie || shape.scale_up == ScaleUpKind::none),
        nvswitch(shape.scale_up == ScaleUpKind::nvswitch),
        multicast(shape.in_network_reduction),
        inner_hop(pci ? c.pci_hop : c.nvlink_hop) {
    const double link = shape.scale_up_bandwidth.base() > 0.0 ? shape.scale_up_bandwidth.base()
                                                              : shape.scale_out_per_rank.base();
    const double usable = link * c.usable_link_share;
    const double nic = nic_rate_per_rank(shape);
    const double node_nics = nic * per_node;
    channels = c.graph_channels;
    if (nodes > 1.0) channels = std::clamp(std::floor(node_nics / kNicRatePerChannel), 1.0, channels);
    ring_inter = node_nics / channels;
    ring_intra = per_node > 1.0 ? largest_speed(c.intra_speeds, usable / channels) : ring_inter;
    ring_inter = std::min(ring_intra, ring_inter);
    nvls_channels = std::min(per_node, static_cast<double>(most_nvls_channels()));
    nvls_intra = largest_speed(c.intra_speeds, usable / std::max(1.0, nvls_channels));
    nvls_inter = largest_speed(c.inter_speeds, node_nics / std::max(1.0, nvls_channels));
    rank_intra = largest_speed(c.intra_speeds, usable / per_node);
    rank_inter = largest_speed(c.inter_speeds, nic);
    steps = op == CollectiveOp::all_reduce ? 2.0 * (ranks - 1.0) : gathers(op) ? ranks - 1.0 : ranks;
  }

  int most_nvls_channels() const {
    return nodes > 1.0 ? constants.nvls_channels_across : constants.nvls_channels;
  }
  double hop(TunerAlgorithm algorithm, size_t protocol) const {
    return inner_hop[static_cast<size_t>(algorithm)][protocol];
  }
  double network_hop(TunerAlgorithm algorithm, size_t protocol) const {
    return constants.network_hop[static_cast<size_t>(algorithm)][protocol];
  }
  double levels() const { return std::floor(std::log2(nodes)); }
  double ring_bus() const { return channels * (size_class <= 1 ? ring_intra : ring_inter); }
  double ring_payload_share() const { return ranks / steps; }
};

TunerRefusal refusal_of(const Call& call, TunerAlgorithm algorithm, size_t protocol) {
  const TunerConstants& constants = call.constants;
  const TunerOptions& options = call.options;
  const bool simple = protocol == static_cast<size_t>(WireProtocol::simple);
  const bool ll128 = protocol == static_cast<size_t>(WireProtocol::ll128);
  const bool all_reduce = call.op == CollectiveOp::all_reduce;
  if (is_pair(call.op)) {
    if (algorithm != p2p) return TunerRefusal::operation;
    if (ll128) return TunerRefusal::protocol;
  } else if (algorithm == p2p) {
    return TunerRefusal::operation;
  }
  switch (algorithm) {
    case p2p:
    case ring:
      break;
    case tree:
      if (!all_reduce) return TunerRefusal::operation;
      break;
    case collnet_direct:
    case collnet_chain:
      if (!constants.offers_collnet) return TunerRefusal::version;
      if (!all_reduce && !(algorithm == collnet_direct && gathers(call.op))) return TunerRefusal::operation;
      if (!simple) return TunerRefusal::protocol;
      if (call.nodes < 2.0) return TunerRefusal::several_nodes;
      if (!options.network_reduction) return TunerRefusal::network_reduction;
      if (algorithm == collnet_direct && call.per_node > 1.0 && !call.nvswitch) return TunerRefusal::nvswitch;
      break;
    case nvls:
    case nvls_tree:
      if (!constants.offers_nvls || call.most_nvls_channels() == 0) return TunerRefusal::version;
      if (!all_reduce && !(algorithm == nvls && gathers(call.op))) return TunerRefusal::operation;
      if (!simple) return TunerRefusal::protocol;
      if (!call.multicast) return TunerRefusal::switch_multicast;
      if (algorithm == nvls_tree && call.nodes < 2.0) return TunerRefusal::several_nodes;
      if (call.per_node <= 2.0) return TunerRefusal::group_too_small;
      if (algorithm == nvls && call.nodes > 1.0 && !options.network_reduction) {
        return TunerRefusal::network_reduction;
      }
      if (!options.nvls) return TunerRefusal::switched_off;
      break;
    case pat:
      if (!constants.offers_pat) return TunerRefusal::version;
      if (!gathers(call.op)) return TunerRefusal::operation;
      if (!simple) return TunerRefusal::protocol;
      if (call.nodes < 2.0) return TunerRefusal::several_nodes;
      if (call.per_node > 1.0) return TunerRefusal::one_gpu_a_node;
      break;
    case symmetric:
      if (!constants.offers_symmetric || !(constants.symmetric.peak_gather > 0.0))
        return TunerRefusal::version;
      if (!all_reduce && !gathers(call.op)) return TunerRefusal::operation;
      if (ll128) return TunerRefusal::protocol;
      if (call.nodes > 1.0) return TunerRefusal::one_node;
      if (call.pci) return TunerRefusal::nvswitch;
      if (!options.symmetric) return TunerRefusal::not_asked;
      break;
  }
  if (ll128 && !constants.offers_ll128) return TunerRefusal::protocol;
  if (options.algorithm && *options.algorithm != algorithm) return TunerRefusal::switched_off;
  if (options.protocol && static_cast<size_t>(*options.protocol) != protocol)
    return TunerRefusal::switched_off;
  return TunerRefusal::none;
}

double ring_latency(const Call& call, size_t protocol) {
  const bool simple = protocol == static_cast<size_t>(WireProtocol::simple);
  const double intra = call.hop(ring, protocol);
  if (call.op == CollectiveOp::broadcast) {
    return call.constants.ring_base[protocol] + call.steps * (simple ? call.hop(tree, protocol) : intra);
  }
  double between = 0.0;
  double overhead = 0.0;
  double inter = 0.0;
  if (call.nodes > 1.0) {
    between = (call.op == CollectiveOp::all_reduce ? 2.0 : 1.0) * (call.nodes - 1.0);
    overhead = call.constants.network_overhead[static_cast<size_t>(call.options.cpu)] * (simple ? 3.0 : 1.0);
    inter = call.network_hop(call.per_node > 1.0 ? ring : tree, protocol);
  }
  double latency = call.constants.ring_base[protocol] + (call.steps - between) * std::max(intra, overhead) +
                   between * inter;
  const double channels = call.channels * call.constants.duplication;
  if (simple && call.op == CollectiveOp::all_reduce && call.nodes > 1.0 &&
      call.payload / (channels * call.ranks) >= kChunkedRingBytes) {
    latency *= call.constants.long_ring_latency_factor;
  }
  return latency;
}

double latency_of(const Call& call, TunerAlgorithm algorithm, size_t protocol) {
  const double inner = call.hop(algorithm, protocol);
  const double across = call.nodes > 1.0 ? call.network_hop(algorithm, protocol) : 0.0;
  switch (algorithm) {
    case ring:
      return ring_latency(call, protocol);
    case tree:
      return call.constants.tree_base[protocol] +
             2.0 * ((call.per_node - 1.0) * inner + call.levels() * call.network_hop(tree, protocol));
    case collnet_direct:
      return 2.0 *
                 (std::min(1.0, call.per_node - 1.0) * inner + kCollnetStepPerRank * (call.per_node - 1.0)) +
             across;
    case collnet_chain:
      return 2.0 * (call.per_node - 1.0) * inner + across;
    case nvls:
      return inner + across;
    case nvls_tree:
      return inner + 2.0 * call.levels() * across;
    case pat:
      return call.constants.pat_base +
             std::log2(call.nodes) * call.network_hop(tree, protocol) / kPatStepsShare +
             kPatPerRank * call.ranks;
    case symmetric:
      return protocol == 0 ? call.constants.symmetric.ll_base : call.constants.symmetric.base;
    case p2p:
      return call.constants.ring_base[protocol] + (call.nodes > 1.0 ? call.network_hop(ring, protocol) : 0.0);
  }
  return 0.0;
}

double ll_limit(const Call& call) {
  if (call.size_class == 0) return call.constants.ll_limit;
  return call.constants
      .ll_limit_across[static_cast<size_t>(call.options.cpu)][static_cast<size_t>(call.size_class - 1)];
}

double ring_bandwidth(const Call& call, size_t protocol) {
  const TunerConstants& constants = call.constants;
  double bus = call.ring_bus();
  if (constants.fixed_shares) {
    bus *= constants.ring_share[protocol];
  } else if (protocol == 0) {
    const bool one_node = call.size_class == 0 && gathers(call.op);
    bus = std::min(ll_limit(call),
                   bus * (one_node ? constants.ring_ll_share_one_node : constants.ring_ll_share));
  } else if (protocol == 1) {
    bus = std::min(kRingLl128Share * bus, call.channels * constants.ring_ll128_per_channel);
  }
  return bus * call.ring_payload_share();
}

double tree_bandwidth(const Call& call, size_t protocol) {
  const TunerConstants& constants = call.constants;
  const auto size_class = static_cast<size_t>(call.size_class);
  double bus = call.ring_bus();
  if (constants.fixed_shares) {
    return 0.5 * bus *
           (call.size_class <= 1 ? constants.tree_share_two_nodes : constants.tree_share_beyond)[protocol];
  }
  bus = std::min(kTreeShare * bus, call.channels * constants.tree_per_channel[size_class]);
  if (protocol == 0) bus = std::min(bus * kTreeLlShare, ll_limit(call));
  if (protocol == 1) {
    bus = std::min(bus * (call.size_class == 0 ? kTreeLl128ShareOneNode : kTreeLl128Share),
                   call.channels * constants.tree_ll128_per_channel[size_class]);
  }
  return 0.5 * bus * tree_size_share(constants.tree_share[protocol], call.payload);
}

double nvls_bandwidth(const Call& call, TunerAlgorithm algorithm) {
  const TunerConstants& constants = call.constants;
  const bool all_reduce = call.op == CollectiveOp::all_reduce;
  const double inner_share = (call.per_node - 1.0) / call.per_node;
  if (constants.nvls_by_efficiency) {
    double speed = call.nvls_intra * constants.nvls_efficiency * (call.nvls_channels - 1.0) /
                   call.nvls_channels * (all_reduce ? 2.0 : inner_share);
    if (call.nodes > 1.0) {
      speed = std::min(speed, call.nvls_inter * (algorithm == nvls_tree && call.size_class == 1 ? 2.0 : 1.0));
      const double limit = constants.nvls_tree_per_channel[static_cast<size_t>(call.size_class - 1)];
      if (algorithm == nvls_tree && limit > 0.0) speed = std::min(speed, limit);
    }
    return speed * call.nvls_channels * call.ring_payload_share();
  }
  double speed = call.nvls_intra;
  if (algorithm == nvls_tree) {
    speed = std::min(speed, call.size_class <= 1 ? call.nvls_inter : call.nvls_inter / 2.0);
  } else if (all_reduce) {
    if (call.nodes > 1.0) speed = std::min(speed, call.nvls_inter);
  } else {
    speed *= inner_share;
    if (call.nodes > 1.0) speed = std::min(speed, kNetworkShare * call.nvls_inter);
  }
  return speed * call.nvls_channels * (all_reduce ? kNvlsBusToPayload : 1.0);
}

double bandwidth_of(const Call& call, TunerAlgorithm algorithm, size_t protocol) {
  const TunerConstants& constants = call.constants;
  const double bus = call.channels * call.ring_intra;
  switch (algorithm) {
    case ring:
      return ring_bandwidth(call, protocol);
    case tree:
      return tree_bandwidth(call, protocol);
    case collnet_chain:
      return 0.5 * bus;
    case collnet_direct: {
      if (gathers(call.op)) {
        return call.per_node * std::min(call.rank_intra, kNetworkShare * call.rank_inter);
      }
      const double heads = call.per_node / call.channels;
      const double share = constants.nvls_channels > 0 ? kCollnetHopperShare : 1.0;
      return 0.5 * share * bus / (heads - (heads - 1.0) / 2.0);
    }
    case nvls:
    case nvls_tree:
      return nvls_bandwidth(call, algorithm);
    case pat:
      return constants.pat_share * call.channels * (call.size_class <= 1 ? call.ring_intra : call.ring_inter);
    case symmetric: {
      const SymmetricConstants& kernels = constants.symmetric;
      const bool all_reduce = call.op == CollectiveOp::all_reduce;
      const double peak = all_reduce && call.multicast ? kernels.peak_reduce : kernels.peak_gather;
      const double bandwidth = std::min(peak, kernels.per_sm * std::max(1, constants.nvls_channels));
      // LL sends every rank's payload (n-1 times a rank's share) with a flag beside each word.
      if (protocol == 0)
        return bandwidth / (2.0 * (call.ranks - 1.0) * (all_reduce ? 1.0 : 1.0 / call.ranks));
      return bandwidth / bus_factor(call.op, static_cast<int>(call.ranks));
    }
    case p2p: {
      double rate = call.size_class == 0 ? call.channels * call.ring_intra : call.channels * call.ring_inter;
      if (call.op == CollectiveOp::all_to_all && call.size_class > 0) {
        rate = call.channels * call.ring_inter / call.per_node * call.ranks / (call.ranks - call.per_node);
      } else if (call.op == CollectiveOp::all_to_all) {
        rate *= call.ranks / (call.ranks - 1.0);
      } else if (call.size_class > 0) {
        rate /= call.per_node;
      }
      return protocol == 0 ? std::min(0.5 * rate, ll_limit(call)) : rate;
    }
  }
  return 0.0;
}

int channels_of(const Call& call, TunerAlgorithm algorithm, size_t protocol) {
  const TunerConstants& constants = call.constants;
  double most = call.channels * constants.duplication;
  if (algorithm == nvls || algorithm == nvls_tree || algorithm == symmetric) most = call.most_nvls_channels();
  if (algorithm == p2p) most = constants.pair_channels;
  most = std::clamp(std::max(most, static_cast<double>(call.options.least_channels)), 1.0,
                    static_cast<double>(constants.most_channels));
  double per_channel = constants.threads[protocol] * constants.bytes_per_thread[protocol];
  if (algorithm == ring && protocol == 0) per_channel *= call.ranks;
  if (algorithm == collnet_direct || algorithm == collnet_chain) {
    per_channel = static_cast<double>(constants.threads[protocol]) * kCollnetBytesPerThread;
  }
  if (algorithm == nvls || algorithm == nvls_tree || algorithm == symmetric) return static_cast<int>(most);
  const double least = std::clamp(static_cast<double>(call.options.least_channels), 1.0, most);
  return static_cast<int>(std::clamp(std::floor(call.payload / per_channel), least, most));
}

/// The plugin's boundary at this number of ranks: straight between its corners in log-log, level outside.
double boundary(const std::vector<TunerConstants::Corner>& corners, double ranks) {
  if (ranks <= corners.front().ranks) return corners.front().bytes;
  for (size_t i = 1; i < corners.size(); ++i) {
    const auto& low = corners[i - 1];
    const auto& high = corners[i];
    if (ranks > high.ranks) continue;
    const double share = std::log(ranks / low.ranks) / std::log(high.ranks / low.ranks);
    return low.bytes * std::pow(high.bytes / low.bytes, share);
  }
  return corners.back().bytes;
}

const TunerCandidate& at(const TunerTable& table, TunerAlgorithm algorithm, WireProtocol protocol) {
  return table[static_cast<size_t>(algorithm) * kWireProtocols + static_cast<size_t>(protocol)];
}

TunerChoice choice_of(const TunerCandidate& candidate, bool by_plugin) {
  return {candidate.algorithm, candidate.protocol, candidate.channels, candidate.time, by_plugin, true};
}

const TunerCandidate* fastest(const TunerTable& table, std::optional<TunerAlgorithm> only = {}) {
  const TunerCandidate* best = nullptr;
  for (const TunerCandidate& candidate : table) {
    if (!candidate.enabled() || (only && candidate.algorithm != *only)) continue;
    if (best == nullptr || candidate.time < best->time) best = &candidate;
  }
  return best;
}

/// What the plugin's regions say, or nothing if what they name cannot run.
const TunerCandidate* by_regions(const TunerTable& table, const TunerConstants& constants, double payload,
                                 const GroupShape& shape) {
  const double ranks = shape.ranks;
  const auto enabled = [](const TunerCandidate& candidate) {
    return candidate.enabled() ? &candidate : nullptr;
  };
  if (payload <= constants.region_tree_ll_up_to) return enabled(at(table, tree, WireProtocol::ll));
  if (payload <= boundary(constants.region_tree_ll128_up_to, ranks)) {
    return enabled(at(table, tree, WireProtocol::ll128));
  }
  if (payload >= boundary(constants.region_nvls_tree_from, ranks) &&
      ranks >= constants.region_nvls_tree_from.front().ranks) {
    return enabled(at(table, nvls_tree, WireProtocol::simple));
  }
  return fastest(table, ring);
}

}  // namespace

std::string_view name_of(TunerAlgorithm algorithm) {
  constexpr std::array<std::string_view, kTunerAlgorithms> kNames = {
      "tree", "ring", "collnet_direct", "collnet_chain", "nvls", "nvls_tree", "pat", "symmetric", "p2p"};
  return kNames[static_cast<size_t>(algorithm)];
}

std::string_view reason_of(TunerRefusal refusal) {
  switch (refusal) {
    case TunerRefusal::none:
      return "";
    case TunerRefusal::operation:
      return "not for this operation";
    case TunerRefusal::protocol:
      return "not in this protocol";
    case TunerRefusal::version:
      return "not in this version or on this architecture";
    case TunerRefusal::several_nodes:
      return "several nodes only";
    case TunerRefusal::one_node:
      return "one node only";
    case TunerRefusal::one_gpu_a_node:
      return "one GPU a node only";
    case TunerRefusal::switch_multicast:
      return "needs NVSwitches that reduce";
    case TunerRefusal::nvswitch:
      return "needs NVSwitches";
    case TunerRefusal::network_reduction:
      return "needs a CollNet (SHARP) plugin";
    case TunerRefusal::group_too_small:
      return "more than two ranks a node only";
    case TunerRefusal::not_asked:
      return "needs symmetric memory windows";
    case TunerRefusal::switched_off:
      return "switched off";
  }
  return "";
}

TunerTable tuner_table(const TunerConstants& constants, CollectiveOp op, double payload,
                       const GroupShape& shape, const TunerOptions& options) {
  const Call call(constants, op, payload, shape, options);
  TunerTable table{};
  for (int a = 0; a < kTunerAlgorithms; ++a) {
    for (size_t p = 0; p < kWireProtocols; ++p) {
      TunerCandidate& candidate = table[static_cast<size_t>(a) * kWireProtocols + p];
      candidate.algorithm = static_cast<TunerAlgorithm>(a);
      candidate.protocol = static_cast<WireProtocol>(p);
      candidate.refusal = refusal_of(call, candidate.algorithm, p);
      if (!candidate.enabled()) continue;
      candidate.latency = latency_of(call, candidate.algorithm, p);
      candidate.bandwidth = bandwidth_of(call, candidate.algorithm, p);
      candidate.time = candidate.latency + payload / candidate.bandwidth;
      candidate.channels = channels_of(call, candidate.algorithm, p);
    }
  }
  return table;
}

TunerChoice choose_from(const TunerTable& table, const TunerConstants& constants, CollectiveOp op,
                        double payload, const GroupShape& shape, const TunerOptions& options) {
  const bool regions = options.plugin_regions && constants.region_tree_ll_up_to > 0.0 &&
                       shape.protocol == NicProtocol::efa && shape.domains > 1 &&
                       shape.ranks_per_domain > 1 && op == CollectiveOp::all_reduce && !options.algorithm &&
                       !options.protocol;
  if (regions) {
    if (const TunerCandidate* named = by_regions(table, constants, payload, shape))
      return choice_of(*named, true);
  }
  if (is_pair(op)) {
    const TunerCandidate& ll = at(table, p2p, WireProtocol::ll);
    const double peers = op == CollectiveOp::all_to_all ? shape.ranks : 1.0;
    const bool is_short = payload / peers <= constants.pair_ll_bytes_per_channel;
    const TunerCandidate& simple = at(table, p2p, WireProtocol::simple);
    if (ll.enabled() && (is_short || !simple.enabled())) return choice_of(ll, false);
    if (simple.enabled()) return choice_of(simple, false);
  } else if (const TunerCandidate* best = fastest(table)) {
    return choice_of(*best, false);
  }
  TunerChoice nothing;
  nothing.possible = false;
  return nothing;
}

TunerChoice choose(const TunerConstants& constants, CollectiveOp op, double payload, const GroupShape& shape,
                   const TunerOptions& options) {
  return choose_from(tuner_table(constants, op, payload, shape, options), constants, op, payload, shape,
                     options);
}

}  // namespace orrery
