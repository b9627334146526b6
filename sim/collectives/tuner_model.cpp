#include "sim/collectives/tuner_model.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "sim/base/quantile.hpp"
#include "sim/collectives/library_formulas.hpp"

namespace orrery {
namespace {

// How far the library's table lies from measured rows (data/nccl_model.md section 7: median ratios of .4
// to 1.2).
constexpr double kTableSpread = 0.4;
// nccl src/include/devcomm.h: buffers of one channel.
constexpr double kChannelBuffers = 524288.0 + 4915200.0 + 4194304.0;

/// Of an all-reduce's payload, what each domain sends into the fabric at least. Switches that add up
/// (CollNet) want it once; end points alone (N-1)/N of it twice.
double domain_share_of_all_reduce(TunerAlgorithm algorithm, int domains) {
  const bool network_adds = algorithm == TunerAlgorithm::collnet_direct ||
                            algorithm == TunerAlgorithm::collnet_chain || algorithm == TunerAlgorithm::nvls;
  return network_adds ? 1.0 : 2.0 * (domains - 1.0) / domains;
}

/// Bytes over the links inside a domain: a ring's rank sends what nccl-tests' factor says, in any other
/// all-reduce at least its contribution.
double least_domain_time(TunerAlgorithm algorithm, CollectiveOp op, double payload, const GroupShape& shape) {
  const double rate = shape.scale_up_bandwidth.base();
  if (shape.ranks_per_domain < 2 || !(rate > 0.0)) return 0.0;
  if (shape.crosses_domains() && algorithm != TunerAlgorithm::ring) return 0.0;
  const bool in_ring = algorithm == TunerAlgorithm::ring || op != CollectiveOp::all_reduce;
  return payload * (in_ring ? bus_factor(op, shape.ranks) : 1.0) / rate;
}

}  // namespace

double least_network_time(CollectiveOp op, double payload, const GroupShape& shape) {
  if (shape.domains < 2) return 0.0;
  const double rate = shape.scale_out_per_rank.base();
  const double domain_rate = rate * shape.narrowest_domain();
  const double others = (shape.domains - 1.0) / shape.domains;
  switch (op) {
    case CollectiveOp::all_reduce:
      return 2.0 * others * payload / domain_rate;
    case CollectiveOp::all_gather:
    case CollectiveOp::reduce_scatter:
      return others * payload / domain_rate;
    case CollectiveOp::broadcast:
      return payload / domain_rate;
    case CollectiveOp::all_to_all:
      return payload * (shape.ranks - shape.narrowest_domain()) / shape.ranks / shape.exchange_rate().base();
    case CollectiveOp::send_receive:
      return payload / rate;
  }
  return 0.0;
}

double least_time(TunerAlgorithm algorithm, CollectiveOp op, double payload, const GroupShape& shape) {
  const double inside = least_domain_time(algorithm, op, payload, shape);
  if (!shape.crosses_domains()) return inside;
  const double domain_rate = shape.scale_out_per_rank.base() * shape.narrowest_domain();
  if (algorithm == TunerAlgorithm::ring)
    return std::max(inside, payload * bus_factor(op, shape.ranks) / domain_rate);
  if (op == CollectiveOp::all_reduce)
    return std::max(inside, payload * domain_share_of_all_reduce(algorithm, shape.domains) / domain_rate);
  return std::max(inside, least_network_time(op, payload, shape));
}

TunerModel::TunerModel(TunerConstants constants, TunerOptions options)
    : constants_(std::move(constants)), options_(options) {}

double TunerModel::profile_error() const { return kMedianDeviation * kTableSpread; }

CollectiveTime TunerModel::time(CollectiveOp op, Bytes payload, const GroupShape& shape) const {
  CollectiveTime result;
  result.evidence = Evidence::measured;  // nothing to send takes no time
  if (shape.ranks <= 1 || !(payload.base() > 0.0)) return result;
  // The fastest of the floored estimates, not the table's own choice: sends that change from LL to Simple at
  // a fixed size and rings that the network slows would make some longer payloads faster.
  const TunerTable table = tuner_table(constants_, op, payload.base(), shape, options_);
  const TunerCandidate* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const TunerCandidate& each : table) {
    if (!each.enabled()) continue;
    const double total = each.latency + std::max(payload.base() / each.bandwidth,
                                                 least_time(each.algorithm, op, payload.base(), shape));
    if (total >= least) continue;
    best = &each;
    least = total;
  }
  if (best == nullptr) throw std::invalid_argument("the options leave no algorithm that can run");
  const TunerCandidate& candidate = *best;
  const double transfer = least - candidate.latency;
  result.latency = seconds(candidate.latency);
  result.transfer = seconds(transfer);
  result.algorithm = name_of(candidate.algorithm);
  result.protocol = name_of(candidate.protocol);
  result.channels = candidate.channels;
  result.bus_bandwidth = payload.base() * bus_factor(op, shape.ranks) / result.total().base();
  result.relative_spread = kTableSpread;
  result.evidence = Evidence::assumed;
  return result;
}

Bytes TunerModel::buffer_bytes(const GroupShape& shape) const {
  if (shape.ranks <= 1) return Bytes();
  return Bytes(constants_.graph_channels * constants_.duplication * kChannelBuffers);
}

}  // namespace orrery
