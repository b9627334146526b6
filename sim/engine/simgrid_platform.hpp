#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "sim/engine/flow_platform.hpp"
#include "sim/engine/shared_resources.hpp"

namespace orrery {

/// Fluid flows that share resources by max-min fairness, and timers, on SimGrid's clock. The .cpp beside it
/// is the only file that includes SimGrid. SimGrid does not say which resource holds a flow: a solver of our
/// own that sees the same flows does. One object a process, ever: a second SimGrid engine aborts.
class SimgridPlatform : public FlowPlatform {
 public:
  /// @param rate_bound    by communication, B/s: the rate of a flow that has the resources to itself
  /// @param largest_flow  bytes; SimGrid counts whole numbers, scaled so that this one still fits (2^52)
  /// @param says_what_is_lost  false: flows end with an empty list, and no solver runs beside SimGrid
  SimgridPlatform(const SharedResources& resources, std::span<const double> rate_bound, double largest_flow,
                  bool says_what_is_lost = true);
  ~SimgridPlatform() override;
  SimgridPlatform(const SimgridPlatform&) = delete;
  SimgridPlatform& operator=(const SimgridPlatform&) = delete;

  void on_flow_end(FlowEnd callback) override;
  void start_flow(const Start& start) override;
  void on_alarm(std::function<void()> callback) override { alarm_ = std::move(callback); }
  void set_alarm(double time) override;
  /// Calls back when the clock has reached `time`, whatever else is set.
  void set_timer(double time, std::function<void()> callback);
  double now() const override;
  void run() override;

 private:
  struct Bottlenecks;
  struct Simulation;
  std::unique_ptr<Bottlenecks> bottlenecks_;
  std::unique_ptr<Simulation> simulation_;
  std::function<void()> alarm_;
  double alarm_time_ = std::numeric_limits<double>::infinity();
};

}  // namespace orrery
