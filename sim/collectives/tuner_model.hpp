#pragma once

#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/tuner.hpp"

namespace orrery {

/// A library's own cost table as a model of times: for libraries without fitted measurements (RCCL) and for
/// algorithms that somebody forces. Evidence is `assumed`. The table does not know what the fabric takes away
/// (headers, oversubscription), and lets rings of two nodes run at the speed of a node's inside: no estimate
/// is below `least_time`, and the fastest that the options leave holds. Never falling in the payload.
class TunerModel final : public CollectiveModel {
 public:
  explicit TunerModel(TunerConstants constants, TunerOptions options = {});

  /// @throws std::invalid_argument if the options leave nothing that can run
  CollectiveTime time(CollectiveOp op, Bytes payload, const GroupShape& shape) const override;
  /// Channels x (LL + LL128 + Simple buffer), NCCL's sizes.
  Bytes buffer_bytes(const GroupShape& shape) const override;
  double profile_error() const override;
  std::string profile_source() const override {
    return constants_.library + "'s own table: " + constants_.source;
  }
  const TunerConstants& constants() const { return constants_; }

 private:
  TunerConstants constants_;
  TunerOptions options_;
};

/// The least time (s) in which a collective's bytes leave the domains of a group, every NIC busy all the
/// time: 2(N-1)/N of an all-reduce's payload for each domain, (N-1)/N of a gather's, all of a broadcast's,
/// and of an all-to-all what each rank sends elsewhere. 0 inside one domain.
double least_network_time(CollectiveOp op, double payload, const GroupShape& shape);

/// The same of one algorithm, and inside domains. A ring passes the bytes of nccl-tests' factor over every
/// hop:
///     payload x bus_factor / min(scale-up bandwidth, ranks of a domain x rate of a rank's NICs)
/// bounds its time (design section 3.2: only a ring's bus bandwidth is bounded by the NICs). Switches that
/// add up take an all-reduce's payload once. Other algorithms' hops inside domains are bounded only where the
/// group has one domain.
double least_time(TunerAlgorithm algorithm, CollectiveOp op, double payload, const GroupShape& shape);

}  // namespace orrery
