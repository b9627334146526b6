#pragma once

#include <vector>

#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// A time inside one scale-up domain, in plain doubles (s, B/s): the hot path of searches.
struct DomainTime {
  double total = 0;
  double transfer = 0;  ///< payload over the asymptotic rate, at most the total
  double relative_spread = 0;
  Evidence evidence = Evidence::assumed;
};

/// Times of collectives inside one scale-up domain from measured curves: linear between the octaves of a
/// curve, log-linear in log2 ranks between curves, by step counts and bus factors beyond them.
class DomainTimes {
 public:
  /// @throws std::invalid_argument for a curve without times, with falling times or without bandwidth
  explicit DomainTimes(const DomainConstants& constants);

  /// True if this operation was measured (broadcast counts when all_gather was).
  bool covers(CollectiveOp op) const;
  /// Time of the operation for these ranks at the measured machines' bandwidth times `speed`.
  /// @param speed scale-up bandwidth over that of the measured machines: the payload is divided by it
  DomainTime time(CollectiveOp op, double payload, int ranks, double speed) const;
  /// Payload over time for very large payloads, same interpolation.
  double bandwidth(CollectiveOp op, int ranks, double speed) const;
  /// Scale-up bandwidth (B/s) of the measured machines that a group of these ranks could reach: on a mesh the
  /// links to its own members.
  double reference_bandwidth(int ranks) const {
    return mesh_gpus_ > 1 ? reference_bandwidth_ * (ranks - 1.0) / (mesh_gpus_ - 1.0) : reference_bandwidth_;
  }

 private:
  struct Bracket {
    const DomainCurve* low;
    const DomainCurve* high;
    double weight;  ///< of high
  };
  Bracket bracket(CollectiveOp op, int ranks) const;

  std::vector<std::vector<DomainCurve>> curves_;  ///< [op], by ranks
  double reference_bandwidth_ = 0;
  int mesh_gpus_ = 0;
  bool stands_in_ = false;
};

}  // namespace orrery
