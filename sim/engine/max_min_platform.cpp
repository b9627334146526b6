#include "sim/engine/max_min_platform.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "sim/engine/tolerances.hpp"

namespace orrery {

namespace {

/// Where many flows contend their ends come close together. Rates may stay as they are after an end for this
/// share of the time since the last start, so no flow's end moves by more than about as much; starts are
/// never put off. Rates that differ by less than this are one (LocalMaxMin).
constexpr double kTolerance = 1e-4;

std::vector<double> capacities(const SharedResources& resources) {
  std::vector<double> result;
  for (const SharedResource& resource : resources.resources()) result.push_back(resource.capacity);
  return result;
}

}  // namespace

MaxMinPlatform::MaxMinPlatform(const SharedResources& resources)
    : solver_(capacities(resources), kTolerance) {}

void MaxMinPlatform::start_flow(const Start& start) {
  const std::int32_t number = solver_.add(start.binding_shares, start.rate_bound);
  lost_.begin(number, start.rate_bound, now_);
  live_.resize(std::max(live_.size(), static_cast<size_t>(number) + 1));
  Live& started = live_[static_cast<size_t>(number)];
  started.flow = start.flow;
  started.communication = start.communication;
  started.left = std::max(1e-3, start.bytes);  // nothing left still ends by itself
  started.since = now_;
  started.rate = 0.0;
  last_start_ = due_ = now_;
  changed_ = true;
}

void MaxMinPlatform::find_rates() {
  changed_ = false;
  for (const auto& [number, rate] : solver_.settle()) {
    Live& each = live_[static_cast<size_t>(number)];
    each.left -= each.rate * (now_ - each.since);
    each.since = now_;
    each.rate = rate;
    lost_.set(number, rate, solver_.held_by(number), now_);
    ++each.version;
    if (rate <= 0.0) continue;
    moved_.push_back({now_ + std::max(0.0, each.left) / rate, number, each.version});
  }
  ends_.add(moved_);
  moved_.clear();
  first_is_present_ = false;
  for (const std::int32_t number : solver_.held_anew()) {
    lost_.set(number, solver_.rate(number), solver_.held_by(number), now_);
  }
}

double MaxMinPlatform::next_end() {
  if (changed_ && now_ >= due_) find_rates();
  while (!first_is_present_ && !ends_.empty() &&
         ends_.front().version != live_[static_cast<size_t>(ends_.front().number)].version) {
    ends_.pop();
  }
  first_is_present_ = true;
  const double end = ends_.empty() ? kNever : std::max(now_, ends_.front().time);
  return changed_ ? std::min(end, due_) : end;
}

void MaxMinPlatform::end_flows() {
  first_is_present_ = false;
  const double together = now_ * (1.0 + kSameTime);
  while (!ends_.empty() && ends_.front().time <= together) {
    const FlowEnds::End end = ends_.front();
    ends_.pop();
    Live& each = live_[static_cast<size_t>(end.number)];
    if (end.version != each.version) continue;
    ++each.version;
    if (!changed_) due_ = now_ + kTolerance * (now_ - last_start_);
    changed_ = true;
    solver_.remove(end.number);
    fetch_next_ends();
    flow_ended_(std::exchange(each.flow, -1), lost_.end(end.number, now_));
  }
}

/// Of the ends that come next, the nearer, the further what it needs is fetched.
void MaxMinPlatform::fetch_next_ends() const {
  constexpr size_t kShares = 1, kFlow = 3, kEnd = 7;
  for (const FlowEnds::End& end : ends_.soon(kFlow, kEnd)) {
    solver_.expect_removal(end.number);
    __builtin_prefetch(&live_[static_cast<size_t>(end.number)]);
  }
  for (const FlowEnds::End& end : ends_.soon(kShares, kFlow)) solver_.expect_removal_shares(end.number);
  if (ends_.empty()) return;
  const std::int32_t next = ends_.front().number;
  solver_.expect_removal_links(next);
  lost_.expect_end(next);
  const Live& ending = live_[static_cast<size_t>(next)];
  if (ending.flow >= 0 && expected_end_) expected_end_(ending.flow, ending.communication);
}

bool MaxMinPlatform::pass_to(double time) {
  if (now_ >= time) return true;
  if (alarm_time_ < time || next_end() <= time) return false;
  now_ = time;
  return true;
}

void MaxMinPlatform::run() {
  for (;;) {
    const double flow_time = next_end();
    now_ = std::min(flow_time, alarm_time_);
    if (now_ == kNever) return;
    if (flow_time <= alarm_time_) {
      end_flows();  // an alarm that this sets comes next, with one that was due
      continue;
    }
    alarm_time_ = kNever;
    alarm_();
  }
}

}  // namespace orrery
