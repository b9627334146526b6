#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "sim/engine/shared_resources.hpp"

namespace orrery {

/// Fluid flows that share resources by max-min fairness, and timers, on SimGrid's clock. The .cpp beside it
/// is the only file that includes SimGrid. One object a process, ever: a second SimGrid engine aborts.
class SimgridPlatform {
 public:
  /// @param rate_bound    by communication, B/s: the rate of a flow that has the resources to itself
  /// @param largest_flow  bytes; SimGrid counts whole numbers, scaled so that this one still fits (2^52)
  SimgridPlatform(const SharedResources& resources, std::span<const double> rate_bound, double largest_flow);
  ~SimgridPlatform();
  SimgridPlatform(const SimgridPlatform&) = delete;
  SimgridPlatform& operator=(const SimgridPlatform&) = delete;

  /// Called at the simulated time at which a flow has ended, before any timer set then.
  void on_flow_end(std::function<void(std::int32_t flow)> callback);
  /// Starts a flow of a communication now. Call it before run() or from a callback. `flow` comes back at its
  /// end.
  void start_flow(std::int32_t flow, std::int32_t communication, double bytes);
  /// Calls back when the clock has reached `time`; at once within run() if it has already.
  void set_timer(double time, std::function<void()> callback);
  double now() const;
  /// Runs until no flow and no timer is left.
  void run();

 private:
  struct Simulation;
  std::unique_ptr<Simulation> simulation_;
};

}  // namespace orrery
