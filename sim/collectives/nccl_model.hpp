#pragma once

#include <algorithm>
#include <string>

#include "sim/collectives/collective_constants.hpp"
#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/domain_times.hpp"
#include "sim/collectives/fabric_times.hpp"

namespace orrery {

/// NCCL: measured curves inside a scale-up domain (the library's own formulas where a GPU has none), fitted
/// rings and trees across domains. Immutable after construction, so thread-safe; time() takes a few hundred
/// nanoseconds and allocates nothing.
///
/// Holds: never slower with more bandwidth, never faster with more bytes, never faster than the group's NICs
/// allow. Not modelled: SHARP in the network's switches, PAT, tuner plugins, host-staged transports.
class NcclModel final : public CollectiveModel {
 public:
  /// @throws std::invalid_argument if a curve is malformed or an efficiency or latency lies outside its range
  explicit NcclModel(CollectiveConstants constants);

  CollectiveTime time(CollectiveOp op, Bytes payload, const GroupShape& shape) const override;
  /// Channels x (Simple + LL + LL128 buffer of one connection), plus as many Simple buffers for
  /// point-to-point sends. Source: nccl src/include/devcomm.h buffer sizes; one connection a channel is
  /// assumed (newer releases connect only the algorithms that run).
  Bytes buffer_bytes(const GroupShape& shape) const override;
  /// The larger of the profiles' errors: inside a domain and across.
  double profile_error() const override { return std::max(constants_.domain_error, constants_.fabric_error); }
  double error_on(const GroupShape& shape) const override;
  std::string profile_source() const override { return constants_.profile_source; }
  const CollectiveConstants& constants() const { return constants_; }
  /// Whether a measured curve gives the time, whatever algorithm ran when it was measured.
  bool has_curve(CollectiveOp op, const GroupShape& shape) const;
  /// What the domains of a group that crosses them leave to the operation; the fit of the constants across
  /// domains needs it too.
  InnerRates inner_rates(CollectiveOp op, const GroupShape& shape) const;

 private:
  struct Inside {
    LibraryTime time;
    double relative_spread;
    Evidence evidence;
  };
  Inside inside_domain(CollectiveOp op, double payload, int ranks, const GroupShape& shape) const;
  void name_choice(LibraryTime& time, CollectiveOp op, double payload, int ranks,
                   bool in_network_reduction) const;
  int channels(const LibraryTime& time) const;

  CollectiveConstants constants_;
  DomainTimes domain_;
};

}  // namespace orrery
