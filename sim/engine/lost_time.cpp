#include "sim/engine/lost_time.hpp"

#include <algorithm>

namespace orrery {

void LostTimeAccount::bring_up_to(Flow& flow, double now) {
  const double lost = (1.0 - flow.rate / flow.bound) * (now - flow.since);
  flow.since = now;
  if (flow.resource < 0 || lost <= 0.0) return;
  const auto known = std::find_if(flow.lost.begin(), flow.lost.end(),
                                  [&flow](const LostTime& each) { return each.resource == flow.resource; });
  if (known == flow.lost.end()) {
    flow.lost.push_back({flow.resource, lost});
  } else {
    known->seconds += lost;
  }
}

void LostTimeAccount::begin(std::int32_t flow, double bound, double now) {
  const auto number = static_cast<size_t>(flow);
  flows_.resize(std::max(flows_.size(), number + 1));
  Flow& begun = flows_[number];
  begun.bound = bound;
  begun.rate = 0.0;
  begun.since = now;
  begun.resource = -1;
  begun.lost.resize(0);
}

void LostTimeAccount::set(std::int32_t flow, double rate, std::int32_t resource, double now) {
  Flow& each = flows_[static_cast<size_t>(flow)];
  bring_up_to(each, now);
  each.rate = rate;
  each.resource = resource;
}

std::span<const LostTime> LostTimeAccount::end(std::int32_t flow, double now) {
  Flow& each = flows_[static_cast<size_t>(flow)];
  bring_up_to(each, now);
  return {each.lost.begin(), each.lost.size()};
}

}  // namespace orrery
