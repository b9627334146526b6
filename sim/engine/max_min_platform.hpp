#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "sim/engine/flow_ends.hpp"
#include "sim/engine/flow_platform.hpp"
#include "sim/engine/local_max_min.hpp"
#include "sim/engine/shared_resources.hpp"

namespace orrery {

/// The flows of a step on our own max-min solver. SimGrid solves a connected set of flows again at every end
/// of one of them; this one follows a change as far as it is felt, which tells where thousands of flows of a
/// full scope contend. Weights are exact here (SimGrid counts in whole numbers).
class MaxMinPlatform : public FlowPlatform {
 public:
  explicit MaxMinPlatform(const SharedResources& resources);

  void on_flow_end(FlowEnd callback) override { flow_ended_ = std::move(callback); }
  void on_expected_end(const ExpectedEnd& callback) override { expected_end_ = callback; }
  void expect_flow(std::span<const ResourceShare> shares) override { solver_.expect(shares); }
  void start_flow(const Start& start) override;
  void on_alarm(std::function<void()> callback) override { alarm_ = std::move(callback); }
  void set_alarm(double time) override { alarm_time_ = std::min(alarm_time_, std::max(time, now_)); }
  double now() const override { return now_; }
  bool pass_to(double time) override;
  void run() override;

 private:
  struct Live {
    std::int32_t flow = -1;  ///< the caller's number; -1: none
    std::int32_t communication = -1;
    double left = 0.0;  ///< bytes, at `since`
    double since = 0.0;
    double rate = 0.0;
    std::uint32_t version = 0;  ///< of its end
  };
  double next_end();
  void end_flows();
  void fetch_next_ends() const;
  void find_rates();

  LocalMaxMin solver_;
  LostTimeAccount lost_;
  std::vector<Live> live_;  // by the solver's number
  FlowEnds ends_;
  bool first_is_present_ = false;     // the first of ends_ has not moved
  std::vector<FlowEnds::End> moved_;  // empty between calls
  FlowEnd flow_ended_;
  ExpectedEnd expected_end_;
  std::function<void()> alarm_;
  double alarm_time_ = std::numeric_limits<double>::infinity();
  double now_ = 0.0;
  double last_start_ = 0.0;
  bool changed_ = false;  // flows came or went since rates were found
  double due_ = 0.0;      // when they must be found, if so
};

}  // namespace orrery
