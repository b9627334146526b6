#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sim/engine/lost_time.hpp"
#include "sim/engine/shared_resources.hpp"

namespace orrery {

/// Fluid flows that share resources by max-min fairness, and an alarm, on one clock.
class FlowPlatform {
 public:
  virtual ~FlowPlatform() = default;
  /// What a flow's end calls: which it was, and what it lost to whom against its bound.
  using FlowEnd = std::function<void(std::int32_t flow, std::span<const LostTime> lost)>;
  /// Called at the simulated time at which a flow has ended, before any alarm set then.
  virtual void on_flow_end(FlowEnd callback) = 0;
  using ExpectedEnd = std::function<void(std::int32_t flow, std::int32_t communication)>;
  /// What is called of a flow that is likely to end next, a chance to fetch what that needs; perhaps never.
  virtual void on_expected_end(const ExpectedEnd& /*callback*/) {}
  /// A flow over these resources is likely to be started soon: a chance to fetch what that needs.
  virtual void expect_flow(std::span<const ResourceShare> /*binding_shares*/) {}
  struct Start {
    std::int32_t flow;  ///< comes back at its end
    std::int32_t communication;
    double bytes;
    double rate_bound;                              ///< of the communication, B/s
    std::span<const ResourceShare> binding_shares;  ///< the same
  };
  /// Starts a flow of a communication now. Call it before run() or from a callback.
  virtual void start_flow(const Start& start) = 0;
  /// What the alarm calls.
  virtual void on_alarm(std::function<void()> callback) = 0;
  /// Sets the alarm to when the clock has reached `time`; at once within run() if it has already. An earlier
  /// one that is set stays, a later one is forgotten.
  virtual void set_alarm(double time) = 0;
  virtual double now() const = 0;
  /// Moves the clock on to `time` where neither a flow's end nor an alarm comes first: cheaper than an alarm.
  /// @returns whether the clock has reached it
  virtual bool pass_to(double time) { return now() >= time; }
  /// Runs until no flow is left and no alarm is set.
  virtual void run() = 0;
};

}  // namespace orrery
