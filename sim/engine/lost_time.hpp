#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/engine/keep_fetches.hpp"
#include "sim/engine/short_list.hpp"

namespace orrery {

/// What a flow lost to one resource: the time by which it ended later because the resource was its
/// bottleneck.
struct LostTime {
  std::int32_t resource = 0;
  double seconds = 0.0;
};

/// Adds up what flows lose, by the resource that holds each at the time. A flow of bound b at rate r loses
/// (1 - r/b) dt in dt, and over its life what it took longer than its bytes at b.
class LostTimeAccount {
 public:
  /// Numbers are those of LocalMaxMin: small, given again.
  void begin(std::int32_t flow, double bound, double now);
  /// From now on the flow runs at `rate`, held by `resource` (-1: none).
  void set(std::int32_t flow, double rate, std::int32_t resource, double now);
  /// The span holds until the next begin().
  std::span<const LostTime> end(std::int32_t flow, double now);
  /// Fetches what end() will need.
  void expect_end(std::int32_t flow) const {
    __builtin_prefetch(&flows_[static_cast<size_t>(flow)]);
    keep_fetches();
  }

 private:
  /// A cache line where it loses to one resource.
  struct alignas(64) Flow {
    double bound = 0.0, rate = 0.0, since = 0.0;
    std::int32_t resource = -1;
    ShortList<LostTime, 1> lost;
  };
  static void bring_up_to(Flow& flow, double now);

  std::vector<Flow> flows_;
};

}  // namespace orrery
