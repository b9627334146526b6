#include "sim/collectives/nccl_model.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace orrery {
namespace {

/// Residual spread (log time) where nothing was measured: how far the library's formulas lie from measured
/// rows (median ratios .56 to 1.18 by size and GPU, calibration/collectives/README.md).
constexpr double kFormulaSpread = 0.25;

/// Beyond this left-out error nothing counts as interpolated.
constexpr double kMostInterpolatedError = 0.5;

/// Whether what was measured surrounds the group: its numbers, its machine's generation and its rates (within
/// 5 %, what payload efficiencies of one kind of NIC differ by).
bool surrounds(const FabricHull& hull, CollectiveOp op, const GroupShape& shape, double payload,
               const std::string& architecture) {
  const double rate =
      (op == CollectiveOp::all_to_all ? shape.exchange_rate() : shape.scale_out_per_rank).base();
  return shape.ranks >= hull.least_ranks && shape.ranks <= hull.most_ranks &&
         shape.domains >= hull.least_domains && shape.domains <= hull.most_domains &&
         shape.ranks_per_domain >= hull.least_ranks_per_domain &&
         shape.ranks_per_domain <= hull.most_ranks_per_domain && payload >= hull.least_bytes &&
         payload <= hull.most_bytes && rate >= 0.95 * hull.least_rate && rate <= 1.05 * hull.most_rate &&
         std::find(hull.architectures.begin(), hull.architectures.end(), architecture) !=
             hull.architectures.end();
}

DomainLinks links_of(const GroupShape& shape) {
  DomainLinks links;
  links.bandwidth = shape.scale_up_bandwidth.base() > 0.0 ? shape.scale_up_bandwidth.base()
                                                          : shape.scale_out_per_rank.base();
  links.pci = shape.scale_up == ScaleUpKind::pcie || shape.scale_up == ScaleUpKind::none;
  links.in_network_reduction = shape.in_network_reduction;
  return links;
}

bool is_ratio(double value) { return value > 0.0 && value <= 1.0; }

void check(const FabricConstants& fabric) {
  if (!is_ratio(fabric.ring_efficiency) || !is_ratio(fabric.tree_efficiency) ||
      !is_ratio(fabric.all_to_all_efficiency) || !is_ratio(fabric.pair_efficiency) ||
      !is_ratio(fabric.shift_efficiency) || !is_ratio(fabric.rack_all_to_all_efficiency) ||
      !is_ratio(fabric.domain_share) || !is_ratio(fabric.ll_limit_share) || !is_ratio(fabric.ll128_share)) {
    throw std::invalid_argument("collectives across domains: every efficiency must lie in (0, 1]");
  }
  if (fabric.start < 0.0 || fabric.peer_latency < 0.0 || fabric.ring_hop_factor < 0.0 ||
      fabric.tree_hop_factor < 0.0 || fabric.inner_hop_factor < 0.0 || fabric.ring_fill < 0.0 ||
      fabric.tree_fill < 0.0 || fabric.ring_chunks < 0.0 || fabric.tree_chunks < 0.0 ||
      fabric.simple_hop_factor < 0.0 || fabric.all_to_all_fill < 0.0 || fabric.all_to_all_node_power < 0.0 ||
      !(fabric.old_host_factor > 0.0)) {
    throw std::invalid_argument("collectives across domains: no latency may be negative");
  }
}

}  // namespace

NcclModel::NcclModel(CollectiveConstants constants)
    : constants_(std::move(constants)), domain_(constants_.domain) {
  check(constants_.fabric);
}

void NcclModel::name_choice(LibraryTime& time, CollectiveOp op, double payload, int ranks,
                            bool in_network_reduction) const {
  const LibraryConstants& library = constants_.library;
  const bool point_to_point = op == CollectiveOp::all_to_all || op == CollectiveOp::send_receive;
  const bool nvls = op == CollectiveOp::all_reduce && in_network_reduction && library.nvls_channels > 0 &&
                    ranks >= library.nvls_from_ranks && payload >= library.nvls_from_bytes;
  time.algorithm = point_to_point ? CollectiveAlgorithm::point_to_point
                   : nvls         ? CollectiveAlgorithm::nvls
                                  : CollectiveAlgorithm::ring;
  if (payload <= library.ll_up_to_bytes) {
    time.protocol = WireProtocol::ll;
  } else {
    time.protocol = !nvls && !point_to_point && payload <= library.ll128_up_to_bytes ? WireProtocol::ll128
                                                                                     : WireProtocol::simple;
  }
}

NcclModel::Inside NcclModel::inside_domain(CollectiveOp op, double payload, int ranks,
                                           const GroupShape& shape) const {
  const DomainLinks links = links_of(shape);
  if (links.pci || !domain_.covers(op)) {
    return {library_time(constants_.library, op, payload, ranks, links), kFormulaSpread, Evidence::assumed};
  }
  const double speed = links.bandwidth / domain_.reference_bandwidth(ranks);
  const DomainTime measured = domain_.time(op, payload, ranks, speed);
  Inside inside{{measured.total, measured.transfer, {}, {}}, measured.relative_spread, measured.evidence};
  name_choice(inside.time, op, payload, ranks, links.in_network_reduction);
  const bool needs_ring = op == CollectiveOp::all_reduce && !links.in_network_reduction &&
                          constants_.library.nvls_channels > 0 && domain_.covers(CollectiveOp::all_gather);
  if (needs_ring) {
    // The curve was measured with NVLink SHARP. Without it no all-reduce is faster than two ring all-gathers'
    // transfer.
    const double ring = 2.0 * payload / domain_.bandwidth(CollectiveOp::all_gather, ranks, speed);
    if (ring > inside.time.transfer) {
      inside.time.total += ring - inside.time.transfer;
      inside.time.transfer = ring;
      inside.evidence = weaker(inside.evidence, Evidence::extrapolated);
    }
  }
  return inside;
}

bool NcclModel::has_curve(CollectiveOp op, const GroupShape& shape) const {
  return !shape.crosses_domains() && !links_of(shape).pci && domain_.covers(op);
}

InnerRates NcclModel::inner_rates(CollectiveOp op, const GroupShape& shape) const {
  InnerRates rates;
  const int ranks = shape.ranks_per_domain;
  if (ranks < 2) return rates;
  const DomainLinks links = links_of(shape);
  const double ring = library_ring_bandwidth(constants_.library, links);
  const double speed = links.bandwidth / domain_.reference_bandwidth(ranks);
  const bool measured = !links.pci;
  const auto bus = [&](CollectiveOp which, double formula) {
    return measured && domain_.covers(which)
               ? domain_.bandwidth(which, ranks, speed) * bus_factor(which, ranks)
               : formula;
  };
  if (op == CollectiveOp::all_to_all) {
    rates.all_to_all_bus = bus(CollectiveOp::all_to_all, links.bandwidth * constants_.library.pair_share);
    return rates;
  }
  rates.ring_bus = bus(CollectiveOp::all_gather, ring);
  if (op == CollectiveOp::all_reduce) {
    double all_reduce = bus(CollectiveOp::all_reduce, ring);
    if (!links.in_network_reduction && constants_.library.nvls_channels > 0)
      all_reduce = std::min(all_reduce, rates.ring_bus);
    rates.all_reduce = all_reduce / bus_factor(CollectiveOp::all_reduce, ranks);
  }
  return rates;
}

int NcclModel::channels(const LibraryTime& time) const {
  switch (time.algorithm) {
    case CollectiveAlgorithm::nvls:
      return constants_.library.nvls_channels;
    case CollectiveAlgorithm::point_to_point:
      return constants_.library.point_to_point_channels;
    default:
      return constants_.library.ring_channels;
  }
}

CollectiveTime NcclModel::time(CollectiveOp op, Bytes payload, const GroupShape& shape) const {
  CollectiveTime result;
  result.evidence = Evidence::measured;  // nothing to send takes no time: no estimate is involved
  if (shape.ranks <= 1 || !(payload.base() > 0.0)) return result;
  Inside inside{};
  if (!shape.crosses_domains()) {
    inside = inside_domain(op, payload.base(), shape.ranks, shape);
  } else {
    inside.time =
        fabric_time(constants_.fabric, constants_.library, op, payload.base(), shape, inner_rates(op, shape));
    inside.evidence = Evidence::extrapolated;
    inside.relative_spread = kFormulaSpread;
    for (const FabricHull& hull : constants_.fabric.hulls) {
      if (hull.op != op) continue;
      inside.relative_spread = hull.relative_spread;
      if (!surrounds(hull, op, shape, payload.base(), constants_.library.architecture)) {
        inside.relative_spread = std::max(hull.relative_spread, kFormulaSpread);
      } else if (hull.left_out_error <= kMostInterpolatedError) {
        inside.evidence = Evidence::interpolated;
      }
    }
    if (constants_.fabric.stands_in) inside.evidence = Evidence::assumed;
  }
  result.transfer = seconds(inside.time.transfer);
  result.latency = seconds(inside.time.total - inside.time.transfer);
  result.algorithm = name_of(inside.time.algorithm);
  result.protocol = name_of(inside.time.protocol);
  result.channels = channels(inside.time);
  result.bus_bandwidth = payload.base() * bus_factor(op, shape.ranks) / inside.time.total;
  result.relative_spread = inside.relative_spread;
  result.evidence = inside.evidence;
  return result;
}

double NcclModel::error_on(const GroupShape& shape) const {
  return shape.crosses_domains() ? constants_.fabric_error : constants_.domain_error;
}

Bytes NcclModel::buffer_bytes(const GroupShape& shape) const {
  if (shape.ranks <= 1) return Bytes();
  const LibraryConstants& library = constants_.library;
  const PerProtocol& buffer = library.channel_buffer_bytes;
  return Bytes(library.ring_channels * (buffer[0] + buffer[1] + buffer[2]) +
               library.point_to_point_channels * buffer[2]);
}

}  // namespace orrery
