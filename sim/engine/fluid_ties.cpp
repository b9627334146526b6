// Classes of a FluidNetwork that one link holds: what they share instead of a rate each.
#include <algorithm>
#include <functional>

#include "sim/base/index.hpp"
#include "sim/engine/fluid_network.hpp"
#include "sim/engine/tolerances.hpp"

namespace orrery {

namespace {

/// Fewer classes are solved as fast as they are tied.
constexpr size_t kFewestTied = 16;

/// Puts on top what has the least first element.
using Rising = std::greater<std::pair<double, std::int32_t>>;

}  // namespace

/// Ties what was just solved together, if one link stopped it all.
void FluidNetwork::tie() {
  if (rounds_ != 1 || last_full_ < 0 || links_[index_of(last_full_)].live.size() < kFewestTied) return;
  auto number = static_cast<std::int32_t>(ties_.size());
  if (free_ties_.empty()) {
    ties_.emplace_back();
  } else {
    number = free_ties_.back();
    free_ties_.pop_back();
  }
  Tie& made = ties_[index_of(number)];
  made.link = last_full_;
  made.since = now_;
  made.bound = kNever;
  for (const std::int32_t each : solve_classes_) {
    FlowClass& flow_class = classes_[index_of(each)];
    if (flow_class.members.empty()) continue;
    made.rate = flow_class.rate;
    set_rate(each, 0.0);
    ++flow_class.version;
    flow_class.tie = number;
    flow_class.counted = 0.0;
    made.bound = std::min(made.bound, flow_class.bound);
    made.classes.push_back(each);
    made.ends.emplace_back(flow_class.members.front().target - flow_class.served, each);
  }
  std::make_heap(made.ends.begin(), made.ends.end(), Rising());
  for (const std::int32_t each : solve_links_) {
    const FluidLink& link = links_[index_of(each)];
    if (link.could_bind && !link.live.empty()) made.levels.emplace_back(link.capacity / link.demand, each);
  }
  std::make_heap(made.levels.begin(), made.levels.end(), Rising());
  find_full(made);
  announce(made);
}

void FluidNetwork::bring_up_to_now(Tie& tie) const {
  tie.served += tie.rate * (now_ - tie.since);
  tie.since = now_;
}

/// Puts the bytes that a class's members have got on its links.
void FluidNetwork::count_bytes(FlowClass& flow_class) {
  const Tie& tie = ties_[index_of(flow_class.tie)];
  const double bytes = static_cast<double>(flow_class.members.size()) * (tie.served - flow_class.counted);
  flow_class.counted = tie.served;
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    const Crossing& crossing = crossings_[index_of(i)];
    links_[index_of(crossing.link)].crossed += crossing.weight * bytes;
  }
}

/// Which links the tie's rate fills now.
void FluidNetwork::find_full(Tie& tie) {
  std::erase_if(tie.full, [&](std::int32_t number) {
    FluidLink& link = links_[index_of(number)];
    if (link.demand * tie.rate >= link.capacity * kBusy) return false;
    link.busy += now_ - link.full_since;
    link.full_since = -1.0;
    if (link.demand > 0.0 && !link.live.empty()) {
      tie.levels.emplace_back(link.capacity / link.demand, number);
      std::push_heap(tie.levels.begin(), tie.levels.end(), Rising());
    }
    return true;
  });
  // A link's level only rises as members end, so what the heap says is a lower bound.
  while (!tie.levels.empty() && tie.levels.front().first * kBusy <= tie.rate) {
    const auto [stored, number] = tie.levels.front();
    std::pop_heap(tie.levels.begin(), tie.levels.end(), Rising());
    tie.levels.pop_back();
    FluidLink& link = links_[index_of(number)];
    if (link.live.empty()) continue;
    const double present = link.capacity / link.demand;
    if (present * kBusy <= tie.rate) {
      link.full_since = now_;
      tie.full.push_back(number);
    } else {
      tie.levels.emplace_back(present, number);
      std::push_heap(tie.levels.begin(), tie.levels.end(), Rising());
    }
  }
}

/// The rate after members have ended. @returns false if its link does not hold all of them any more
bool FluidNetwork::find_rate(Tie& tie) {
  bring_up_to_now(tie);
  const FluidLink& held_by = links_[index_of(tie.link)];
  if (held_by.live.empty()) return false;
  const double rate = held_by.capacity / held_by.demand;
  if (rate >= tie.bound * kBusy) return false;
  tie.rate = rate;
  find_full(tie);
  const bool others_hold = std::any_of(tie.full.begin(), tie.full.end(), [&](std::int32_t number) {
    const FluidLink& link = links_[index_of(number)];
    return link.demand * rate > link.capacity * (1.0 + kRounding);
  });
  if (others_hold) return false;
  announce(tie);
  return true;
}

/// Tells the network when the next member ends, if the rate stays.
void FluidNetwork::announce(Tie& tie) {
  if (tie.announced >= 0) ++classes_[index_of(tie.announced)].version;
  tie.announced = -1;
  if (tie.ends.empty()) return;
  const auto [served, number] = tie.ends.front();
  tie.announced = number;
  const double time = tie.since + std::max(0.0, served - tie.served) / tie.rate;
  ends_.push_back({time, number, ++classes_[index_of(number)].version});
  std::push_heap(ends_.begin(), ends_.end(), EndsLater());
  if (ends_.size() > 64 && ends_.size() > 4 * static_cast<size_t>(live_classes_)) rebuild_ends();
}

/// Ends the members whose time has come.
void FluidNetwork::end_tied(std::int32_t number, std::vector<std::int64_t>& ended) {
  Tie& tie = ties_[index_of(number)];
  bring_up_to_now(tie);
  const double reached = tie.served + tie.rate * now_ * kSameTime;
  bool first = true;  // its end is this instant, whatever rounding says
  while (!tie.ends.empty() && (first || tie.ends.front().first <= reached)) {
    first = false;
    FlowClass& flow_class = classes_[index_of(tie.ends.front().second)];
    std::pop_heap(tie.ends.begin(), tie.ends.end(), Rising());
    count_bytes(flow_class);
    ended.push_back(flow_class.members.front().flow);
    std::pop_heap(flow_class.members.begin(), flow_class.members.end(), EndsLater());
    flow_class.members.pop_back();
    count_member(flow_class, -1.0);
    --live_;
    if (flow_class.members.empty()) {
      leave(flow_class);
      flow_class.tie = -1;
      tie.ends.pop_back();
    } else {
      tie.ends.back().first = flow_class.members.front().target - flow_class.served;
      std::push_heap(tie.ends.begin(), tie.ends.end(), Rising());
    }
  }
  if (settled()) due_ = now_ + options_.tolerance * (now_ - last_start_);
  if (!tie.changed) {
    tie.changed = true;
    changed_ties_.push_back(number);
  }
  find_full(tie);
  announce(tie);
}

/// Its classes have a rate each again; all of them are solved as soon as one is, being on one link.
void FluidNetwork::untie(std::int32_t number) {
  Tie& tie = ties_[index_of(number)];
  bring_up_to_now(tie);
  const double rate = tie.rate;
  tie.rate = 0.0;
  find_full(tie);  // none
  if (tie.announced >= 0) ++classes_[index_of(tie.announced)].version;
  for (const std::int32_t each : tie.classes) {
    FlowClass& flow_class = classes_[index_of(each)];
    if (flow_class.tie != number) continue;
    count_bytes(flow_class);
    flow_class.tie = -1;
    flow_class.served += tie.served;
    flow_class.since = now_;
    flow_class.unannounced = true;
    set_rate(each, rate);
  }
  tie = {};
  free_ties_.push_back(number);
}

void FluidNetwork::untie_if_tied(std::int32_t flow_class) {
  const std::int32_t tied = classes_[index_of(flow_class)].tie;
  if (tied >= 0) untie(tied);
}

}  // namespace orrery
