#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "reports/experiment/experiment.hpp"
#include "sim/collectives/collective_model.hpp"

namespace orrery {

/// Latency keys of a cluster that it gives itself ("node/nics/latency", ...).
std::vector<std::string> given_latency_keys(const Json& cluster);
std::vector<std::string> given_latency_keys(const Experiment& experiment);

/// Network hops and hops inside a domain that follow one another in a collective: what its latency grows by
/// when each of them takes longer.
///
/// With r = 2 for an all-reduce, else 1, n ranks, m a domain, N domains:
///   sends and all_to_all   one hop (its messages are in flight together)
///   ring                   r (N-1) across the network, r (n-1) - r (N-1) inside
///   trees, NVLS and other  r ceil(log2 N) across the network, r inside (r (m-1) for a tree, whose ranks form
///   a
///                          chain in each domain)
/// Source: nccl src/graph/tuning.cc (ring and tree latencies); two switch crossings of NVLS.
struct CollectiveHops {
  double network = 0, inner = 0;
};
CollectiveHops collective_hops(CollectiveOp op, std::string_view algorithm, const GroupShape& shape);

/// The collectives of `base` on a cluster whose latencies differ from those that `base` was measured on.
///
/// Measured and fitted times hold for the latencies of the cluster's preset and of its NICs' protocol. Where
/// an experiment gives its own, each hop of a collective's longest chain takes the difference longer (or
/// shorter; never below no latency at all). A `base` that follows the shape's latencies itself (MPI, Gloo)
/// stays as it is. Not modelled: algorithms chosen anew because latency has changed.
class CollectivesWithLatency : public CollectiveModel {
 public:
  /// Both must outlive it.
  CollectivesWithLatency(const CollectiveModel& base, const ClusterShape& given, const ClusterShape& usual);
  CollectiveTime time(CollectiveOp op, Bytes payload, const GroupShape& shape) const override;
  Bytes buffer_bytes(const GroupShape& shape) const override { return base_.buffer_bytes(shape); }
  bool follows_latencies() const override { return true; }
  double profile_error() const override { return base_.profile_error(); }
  double error_on(const GroupShape& shape) const override { return base_.error_on(shape); }
  std::string profile_source() const override { return base_.profile_source(); }

 private:
  const CollectiveModel& base_;
  std::array<Seconds, 3> tiers_;   // network latencies of the cluster as given: leaf, pod, top
  std::array<Seconds, 3> longer_;  // than usual
  Seconds inner_longer_;
};

/// The shape of `built` if `cluster` gave no latencies of its own.
/// @param built  read from `cluster`; may have been built for more nodes than that says
/// @param file   for messages
ClusterShape shape_with_usual_latencies(const Json& cluster, const ClusterSpec& built,
                                        const std::string& file);

}  // namespace orrery
