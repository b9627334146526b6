#include "sim/collectives/domain_times.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "sim/collectives/collective_model.hpp"

namespace orrery {
namespace {

size_t index_of(CollectiveOp op) { return static_cast<size_t>(op); }

/// Total time of one curve: constant below the first octave, linear between octaves, at the asymptotic rate
/// above.
double curve_time(const DomainCurve& curve, double payload) {
  int exponent = 0;
  const double mantissa =
      std::frexp(payload, &exponent);  // payload = mantissa * 2^exponent, mantissa in [0.5, 1)
  const int octave = exponent - 1 - curve.first_octave;
  if (octave < 0) return curve.seconds.front();
  const auto at = static_cast<size_t>(octave);
  if (at + 1 >= curve.seconds.size()) {
    const int last = curve.first_octave + static_cast<int>(curve.seconds.size()) - 1;
    return curve.seconds.back() + (payload - std::ldexp(1.0, last)) / curve.bandwidth;
  }
  const double share = 2.0 * mantissa - 1.0;
  return curve.seconds[at] + share * (curve.seconds[at + 1] - curve.seconds[at]);
}

/// Steps that grow with the ranks: a ring's for all_gather and reduce_scatter, a tree's for all_reduce (NVLS
/// and tree chosen for short payloads), peers for all_to_all; none for send_receive.
double latency_steps(CollectiveOp op, int ranks) {
  switch (op) {
    case CollectiveOp::all_reduce:
      return 1.0 + std::log2(ranks);
    case CollectiveOp::send_receive:
      return 1.0;
    default:
      return 1.0 + static_cast<double>(ranks);
  }
}

struct CurveValue {
  double total;
  double transfer;
};

/// The curve at another number of ranks: everything by the bus factor, and what the latency of the shortest
/// payload grows beyond that by the steps. Equal to the curve at its own ranks, never falling in the payload.
CurveValue value_at(const DomainCurve& curve, double payload, int ranks) {
  const double total = curve_time(curve, payload);
  const double transfer = std::min(total, payload / curve.bandwidth);
  if (ranks == curve.ranks) return {total, transfer};
  const double wire = bus_factor(curve.op, ranks) / bus_factor(curve.op, curve.ranks);
  const double steps = latency_steps(curve.op, ranks) / latency_steps(curve.op, curve.ranks);
  return {total * wire + curve.seconds.front() * std::max(0.0, steps - wire), transfer * wire};
}

}  // namespace

DomainTimes::DomainTimes(const DomainConstants& constants)
    : curves_(kCollectiveOps),
      reference_bandwidth_(constants.scale_up_bandwidth),
      mesh_gpus_(constants.mesh_gpus),
      stands_in_(constants.stands_in) {
  for (const DomainCurve& curve : constants.curves) {
    if (curve.seconds.empty() || !(curve.bandwidth > 0.0) || curve.ranks < 2 ||
        !std::is_sorted(curve.seconds.begin(), curve.seconds.end()) || !(curve.seconds.front() > 0.0)) {
      throw std::invalid_argument("collective curve of " + constants.gpu + " with " +
                                  std::to_string(curve.ranks) +
                                  " ranks: times must be positive and never fall, the bandwidth positive");
    }
    curves_[index_of(curve.op)].push_back(curve);
  }
  for (std::vector<DomainCurve>& of_op : curves_) {
    std::stable_sort(of_op.begin(), of_op.end(),
                     [](const DomainCurve& a, const DomainCurve& b) { return a.ranks < b.ranks; });
  }
}

bool DomainTimes::covers(CollectiveOp op) const {
  if (op == CollectiveOp::broadcast) op = CollectiveOp::all_gather;
  return !curves_[index_of(op)].empty();
}

DomainTimes::Bracket DomainTimes::bracket(CollectiveOp op, int ranks) const {
  const std::vector<DomainCurve>& of_op = curves_[index_of(op)];
  size_t high = 0;
  while (high + 1 < of_op.size() && of_op[high].ranks < ranks) ++high;
  const size_t low = (high == 0 || of_op[high].ranks <= ranks) ? high : high - 1;
  double weight = 0.0;
  if (low != high) {
    weight = std::log2(static_cast<double>(ranks) / of_op[low].ranks) /
             std::log2(static_cast<double>(of_op[high].ranks) / of_op[low].ranks);
  }
  return {&of_op[low], &of_op[high], weight};
}

double DomainTimes::bandwidth(CollectiveOp op, int ranks, double speed) const {
  const Bracket between = bracket(op, ranks);
  const double low = between.low->bandwidth * bus_factor(op, between.low->ranks);
  const double high = between.high->bandwidth * bus_factor(op, between.high->ranks);
  return speed * (low + between.weight * (high - low)) / bus_factor(op, ranks);
}

DomainTime DomainTimes::time(CollectiveOp op, double payload, int ranks, double speed) const {
  if (op == CollectiveOp::broadcast) {
    // A ring broadcast passes the whole payload over every link where an all-gather passes (n-1)/n of it.
    DomainTime gather = time(CollectiveOp::all_gather, payload, ranks, speed);
    const double whole = gather.transfer * ranks / (ranks - 1.0);
    gather.total += whole - gather.transfer;
    gather.transfer = whole;
    gather.evidence = weaker(gather.evidence, Evidence::extrapolated);
    return gather;
  }
  const Bracket between = bracket(op, ranks);
  const DomainCurve& low = *between.low;
  const DomainCurve& high = *between.high;
  const double scaled = payload / speed;  // links twice as fast carry the payload in the time of half of it
  CurveValue value = value_at(low, scaled, ranks);
  if (between.low != between.high) {
    const CurveValue other = value_at(high, scaled, ranks);
    value.total += between.weight * (other.total - value.total);
    value.transfer += between.weight * (other.transfer - value.transfer);
  }
  DomainTime result;
  result.transfer = value.transfer;
  result.total = value.total;
  result.relative_spread = std::max(low.relative_spread, high.relative_spread);
  const bool measured_size = payload >= std::max(low.least_bytes, high.least_bytes) &&
                             payload <= std::min(low.most_bytes, high.most_bytes);
  const bool inside = ranks >= low.ranks && ranks <= high.ranks;
  const bool own = between.low == between.high && !low.of_siblings;
  result.evidence = !measured_size || !inside || speed != 1.0 ? Evidence::extrapolated
                    : own                                     ? Evidence::measured
                                                              : Evidence::interpolated;
  if (stands_in_ || low.stands_in || high.stands_in) result.evidence = Evidence::assumed;
  return result;
}

}  // namespace orrery
