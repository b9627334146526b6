#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sim/engine/lost_time.hpp"

namespace orrery {

/// Fluid flows that share resources by max-min fairness, and timers, on one clock.
class FlowPlatform {
 public:
  virtual ~FlowPlatform() = default;
  /// What a flow's end calls: which it was, and what it lost to whom against its bound.
  using FlowEnd = std::function<void(std::int32_t flow, std::span<const LostTime> lost)>;
  /// Called at the simulated time at which a flow has ended, before any timer set then.
  virtual void on_flow_end(FlowEnd callback) = 0;
  /// Starts a flow of a communication now. Call it before run() or from a callback. `flow` comes back at its
  /// end.
  virtual void start_flow(std::int32_t flow, std::int32_t communication, double bytes) = 0;
  /// Calls back when the clock has reached `time`; at once within run() if it has already.
  virtual void set_timer(double time, std::function<void()> callback) = 0;
  virtual double now() const = 0;
  /// Runs until no flow and no timer is left.
  virtual void run() = 0;
};

}  // namespace orrery
