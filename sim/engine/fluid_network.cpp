#include "sim/engine/fluid_network.hpp"
#include "sim/engine/tolerances.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "sim/base/index.hpp"

namespace orrery {
FluidNetwork::FluidNetwork(std::span<const double> capacity, FluidOptions options) : options_(options) {
  if (!(options.tolerance >= 0.0) || options.tolerance > 0.5) {
    throw std::invalid_argument("a tolerance of the fluid network lies between 0 and 0.5");
  }
  links_.resize(capacity.size());
  for (size_t i = 0; i < capacity.size(); ++i) {
    if (!(capacity[i] > 0.0)) throw std::invalid_argument("a link needs a capacity above zero");
    links_[i].capacity = capacity[i];
  }
}

std::int32_t FluidNetwork::add_class(std::span<const FluidLoad> loads, double bound) {
  if (!(bound > 0.0)) throw std::invalid_argument("a flow needs a bound above zero");
  FlowClass added;
  const auto number = static_cast<std::int32_t>(classes_.size());
  added.begin = static_cast<std::int32_t>(crossings_.size());
  added.bound = bound;
  for (const FluidLoad& load : loads) {
    const bool known = load.link >= 0 && index_of(load.link) < links_.size();
    if (!known || !(load.weight > 0.0)) {
      crossings_.resize(index_of(added.begin));
      throw std::invalid_argument("a flow needs known links and weights above zero");
    }
    const auto same = std::find_if(crossings_.begin() + added.begin, crossings_.end(),
                                   [&](const Crossing& each) { return each.link == load.link; });
    if (same != crossings_.end()) {
      same->weight += load.weight;
    } else {
      crossings_.push_back({load.link, number, load.weight, -1});
    }
  }
  added.end = static_cast<std::int32_t>(crossings_.size());
  for (std::int32_t i = added.begin; i < added.end; ++i) {
    const Crossing& crossing = crossings_[index_of(i)];
    added.bound = std::min(added.bound, links_[index_of(crossing.link)].capacity / crossing.weight);
  }
  if (added.bound == kNever) throw std::invalid_argument("a flow without links needs a bound");
  classes_.push_back(std::move(added));
  new_rate_.push_back(0.0);
  gathered_.push_back(0);
  frozen_.push_back(0);
  return number;
}

bool FluidNetwork::can_bind(const FluidLink& link) const {
  return link.potential > link.capacity * (1.0 + kRounding);
}

/// Brings a link's sums up to now.
void FluidNetwork::settle(FluidLink& link) const {
  const double passed = now_ - link.since;
  if (passed > 0.0) {
    link.crossed += link.load * passed;
    if (link.load >= link.capacity * kBusy) link.busy += passed;
  }
  link.since = now_;
}

void FluidNetwork::set_load(FluidLink& link, double load) {
  settle(link);
  link.load = load;
}

double FluidNetwork::link_bytes(std::int32_t number) const {
  const FluidLink& link = links_[index_of(number)];
  double bytes = link.crossed + link.load * (now_ - link.since);
  for (const std::int32_t i : link.live) {
    const Crossing& crossing = crossings_[index_of(i)];
    const FlowClass& flow_class = classes_[index_of(crossing.flow_class)];
    if (flow_class.tie < 0) continue;
    const Tie& tie = ties_[index_of(flow_class.tie)];
    const double served = tie.served + tie.rate * (now_ - tie.since) - flow_class.counted;
    bytes += crossing.weight * static_cast<double>(flow_class.members.size()) * served;
  }
  return bytes;
}

double FluidNetwork::busy_s(std::int32_t number) const {
  const FluidLink& link = links_[index_of(number)];
  return link.busy + (link.load >= link.capacity * kBusy ? now_ - link.since : 0.0) +
         (link.full_since >= 0.0 ? now_ - link.full_since : 0.0);
}

/// A class gets its first member: it joins its links' lists.
void FluidNetwork::enter(FlowClass& flow_class) {
  ++live_classes_;
  flow_class.served = 0.0;
  flow_class.since = now_;
  flow_class.rate = 0.0;
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    Crossing& crossing = crossings_[index_of(i)];
    std::vector<std::int32_t>& live = links_[index_of(crossing.link)].live;
    crossing.place = static_cast<std::int32_t>(live.size());
    live.push_back(i);
  }
}

/// A class has lost its last member. What is left of sums on links without any class is rounding: cleared.
void FluidNetwork::leave(FlowClass& flow_class) {
  --live_classes_;
  flow_class.rate = 0.0;
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    Crossing& crossing = crossings_[index_of(i)];
    FluidLink& link = links_[index_of(crossing.link)];
    const std::int32_t last = link.live.back();
    link.live[index_of(crossing.place)] = last;
    crossings_[index_of(last)].place = crossing.place;
    link.live.pop_back();
    crossing.place = -1;
    if (link.live.empty()) {
      link.load = 0.0;
      link.potential = 0.0;
      link.demand = 0.0;
    }
  }
}

/// Adds one member (or, with sign -1, takes one away) to the potential and the load of the class's links.
void FluidNetwork::count_member(FlowClass& flow_class, double sign) {
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    const Crossing& crossing = crossings_[index_of(i)];
    FluidLink& link = links_[index_of(crossing.link)];
    link.potential += sign * crossing.weight * flow_class.bound;
    link.demand += sign * crossing.weight;
    if (flow_class.rate > 0.0) set_load(link, link.load + sign * crossing.weight * flow_class.rate);
  }
}

void FluidNetwork::mark_changed(std::int32_t number) {
  FlowClass& flow_class = classes_[index_of(number)];
  if (flow_class.changed) return;
  flow_class.changed = true;
  changed_.push_back(number);
}

void FluidNetwork::start(std::int32_t number, double bytes, std::int64_t flow) {
  if (!(bytes > 0.0)) throw std::invalid_argument("a flow needs bytes above zero");
  FlowClass& flow_class = classes_.at(index_of(number));
  untie_if_tied(number);
  if (flow_class.members.empty()) enter(flow_class);
  count_member(flow_class, 1.0);
  flow_class.served += flow_class.rate * (now_ - flow_class.since);
  flow_class.since = now_;
  flow_class.members.push_back({flow_class.served + bytes, started_++, flow});
  std::push_heap(flow_class.members.begin(), flow_class.members.end(), EndsLater());
  ++live_;
  last_start_ = now_;
  mark_changed(number);
  due_ = now_;
  push_next_end(number);  // in case the class keeps its rate
}

void FluidNetwork::push_next_end(std::int32_t number) {
  FlowClass& flow_class = classes_[index_of(number)];
  ++flow_class.version;
  if (flow_class.members.empty() || flow_class.rate <= 0.0) return;
  const double left = flow_class.members.front().target - flow_class.served;
  const double time = flow_class.since + std::max(0.0, left) / flow_class.rate;
  ends_.push_back({time, number, flow_class.version});
  std::push_heap(ends_.begin(), ends_.end(), EndsLater());
  if (ends_.size() > 64 && ends_.size() > 4 * static_cast<size_t>(live_classes_)) rebuild_ends();
}

/// Throws away what is out of date in the heap.
void FluidNetwork::rebuild_ends() {
  std::erase_if(ends_, [this](const NextEnd& end) {
    return end.version != classes_[index_of(end.flow_class)].version;
  });
  std::make_heap(ends_.begin(), ends_.end(), EndsLater());
}

double FluidNetwork::next_time() {
  if (live_ == 0) return kNever;
  if (!settled() && now_ >= due_) solve();
  while (!ends_.empty() && ends_.front().version != classes_[index_of(ends_.front().flow_class)].version) {
    std::pop_heap(ends_.begin(), ends_.end(), EndsLater());
    ends_.pop_back();
  }
  double next = ends_.empty() ? kNever : std::max(now_, ends_.front().time);
  if (!settled()) next = std::min(next, due_);
  return next;
}

void FluidNetwork::advance(double time, std::vector<std::int64_t>& ended) {
  if (live_ == 0) {
    if (time < now_) throw std::logic_error("the fluid network's clock does not go back");
    now_ = time;
    return;
  }
  const double next = next_time();
  if (time < now_ || time > next) throw std::logic_error("the fluid network was moved past an event");
  now_ = time;
  const double together = now_ * (1.0 + kSameTime);
  while (!ends_.empty() && ends_.front().time <= together) {
    const NextEnd end = ends_.front();
    std::pop_heap(ends_.begin(), ends_.end(), EndsLater());
    ends_.pop_back();
    if (end.version == classes_[index_of(end.flow_class)].version) end_members(end.flow_class, ended);
  }
}

/// Ends the members of a class whose time has come.
void FluidNetwork::end_members(std::int32_t number, std::vector<std::int64_t>& ended) {
  FlowClass& flow_class = classes_[index_of(number)];
  if (flow_class.tie >= 0) {
    end_tied(flow_class.tie, ended);
    return;
  }
  flow_class.served += flow_class.rate * (now_ - flow_class.since);
  flow_class.since = now_;
  const double reached = flow_class.served + flow_class.rate * now_ * kSameTime;
  bool first = true;  // its end is this instant, whatever rounding says
  while (!flow_class.members.empty() && (first || flow_class.members.front().target <= reached)) {
    first = false;
    ended.push_back(flow_class.members.front().flow);
    std::pop_heap(flow_class.members.begin(), flow_class.members.end(), EndsLater());
    flow_class.members.pop_back();
    count_member(flow_class, -1.0);
    --live_;
  }
  if (flow_class.members.empty()) leave(flow_class);
  if (settled()) due_ = now_ + options_.tolerance * (now_ - last_start_);
  mark_changed(number);
  push_next_end(number);
}

double FluidNetwork::rate(std::int32_t number) {
  if (!settled() && now_ >= due_) solve();
  const FlowClass& flow_class = classes_.at(index_of(number));
  return flow_class.tie >= 0 ? ties_[index_of(flow_class.tie)].rate : flow_class.rate;
}

void FluidNetwork::add_link_to_solve(std::int32_t number) {
  FluidLink& link = links_[index_of(number)];
  // One that could bind before holds classes back that it may release now.
  if (link.in_solve || !(can_bind(link) || link.could_bind)) return;
  link.in_solve = true;
  solve_links_.push_back(number);
}

void FluidNetwork::add_class_to_solve(std::int32_t number) {
  if (gathered_[index_of(number)] != 0) return;
  untie_if_tied(number);
  gathered_[index_of(number)] = 1;
  solve_classes_.push_back(number);
  const FlowClass& flow_class = classes_[index_of(number)];
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    add_link_to_solve(crossings_[index_of(i)].link);
  }
}

/// The changed classes, and all that is connected to them over links that bind or have bound.
void FluidNetwork::gather() {
  solve_links_.clear();
  solve_classes_.clear();
  for (const std::int32_t number : changed_) {
    classes_[index_of(number)].changed = false;
    add_class_to_solve(number);
  }
  changed_.clear();
  for (size_t i = 0; i < solve_links_.size(); ++i) {
    for (const std::int32_t crossing : links_[index_of(solve_links_[i])].live) {
      add_class_to_solve(crossings_[index_of(crossing)].flow_class);
    }
  }
}

/// Classes by rising bound: a class may be stopped by its own bound before any of its links is full.
void FluidNetwork::order_by_bound() {
  const auto before = [this](std::int32_t a, std::int32_t b) {
    const double bound_a = classes_[index_of(a)].bound;
    const double bound_b = classes_[index_of(b)].bound;
    return bound_a != bound_b ? bound_a < bound_b : a < b;
  };
  const auto by_bound = [this](std::int32_t a, std::int32_t b) {
    return classes_[index_of(a)].bound < classes_[index_of(b)].bound;
  };
  if (!std::is_sorted(solve_classes_.begin(), solve_classes_.end(), by_bound)) {
    std::sort(solve_classes_.begin(), solve_classes_.end(), before);
  }
}

void FluidNetwork::freeze(std::int32_t number, double rate) {
  const FlowClass& flow_class = classes_[index_of(number)];
  frozen_[index_of(number)] = 1;
  new_rate_[index_of(number)] = rate;
  const auto members = static_cast<double>(flow_class.members.size());
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    const Crossing& crossing = crossings_[index_of(i)];
    FluidLink& link = links_[index_of(crossing.link)];
    if (!link.in_solve) continue;
    link.residual -= members * crossing.weight * rate;
    link.weight -= members * crossing.weight;
    --link.unfrozen;
  }
}

/// Progressive filling of the classes and links gathered.
void FluidNetwork::fill() {
  level_.clear();
  for (const std::int32_t number : solve_links_) {
    FluidLink& link = links_[index_of(number)];
    link.could_bind = can_bind(link);
    link.residual = link.capacity;
    link.weight = link.demand;
    link.unfrozen = static_cast<std::int32_t>(link.live.size());
    if (link.unfrozen > 0 && link.could_bind) level_.emplace_back(link.residual / link.weight, number);
  }
  std::make_heap(level_.begin(), level_.end(), std::greater<>());
  double reached = 0.0;
  size_t next = 0;  // class by bound
  rounds_ = 0;
  while (true) {
    while (next < solve_classes_.size() && (frozen_[index_of(solve_classes_[next])] != 0 ||
                                            classes_[index_of(solve_classes_[next])].members.empty())) {
      ++next;
    }
    if (next == solve_classes_.size()) return;
    // A link's level only rises while classes freeze below it, so what the heap says is a lower bound.
    double level = kNever;
    while (!level_.empty()) {
      const auto [stored, number] = level_.front();
      const FluidLink& link = links_[index_of(number)];
      const double present = link.unfrozen == 0 ? kNever : link.residual / link.weight;
      if (present <= stored) {
        level = std::max(reached, stored);
        break;
      }
      std::pop_heap(level_.begin(), level_.end(), std::greater<>());
      level_.pop_back();
      if (present == kNever) continue;
      level_.emplace_back(present, number);
      std::push_heap(level_.begin(), level_.end(), std::greater<>());
    }
    const std::int32_t least = solve_classes_[next];
    const double bound = classes_[index_of(least)].bound;
    if (bound <= level) {
      reached = std::max(reached, bound);
      ++rounds_;
      last_full_ = -1;
      freeze(least, bound);
      continue;
    }
    reached = level;
    ++rounds_;
    last_full_ = level_.front().second;
    const FluidLink& full = links_[index_of(last_full_)];
    for (const std::int32_t i : full.live) {
      const std::int32_t number = crossings_[index_of(i)].flow_class;
      if (frozen_[index_of(number)] == 0) freeze(number, level);
    }
  }
}

void FluidNetwork::set_rate(std::int32_t number, double rate) {
  FlowClass& flow_class = classes_[index_of(number)];
  flow_class.served += flow_class.rate * (now_ - flow_class.since);
  flow_class.since = now_;
  const double added = (rate - flow_class.rate) * static_cast<double>(flow_class.members.size());
  for (std::int32_t i = flow_class.begin; i < flow_class.end; ++i) {
    const Crossing& crossing = crossings_[index_of(i)];
    FluidLink& link = links_[index_of(crossing.link)];
    set_load(link, link.load + crossing.weight * added);
  }
  flow_class.rate = rate;
}

void FluidNetwork::apply() {
  for (const std::int32_t number : solve_classes_) {
    FlowClass& flow_class = classes_[index_of(number)];
    gathered_[index_of(number)] = 0;
    frozen_[index_of(number)] = 0;
    if (flow_class.members.empty()) continue;
    const double rate = new_rate_[index_of(number)];
    if (std::abs(rate - flow_class.rate) <= kSameRate * rate && !flow_class.unannounced) continue;
    flow_class.unannounced = false;
    set_rate(number, rate);
    push_next_end(number);
  }
  for (const std::int32_t number : solve_links_) links_[index_of(number)].in_solve = false;
}

void FluidNetwork::solve() {
  ++solves_;
  for (const std::int32_t number : changed_ties_) {
    Tie& changed = ties_[index_of(number)];
    if (!changed.changed) continue;  // it has come undone, and perhaps another has its number
    changed.changed = false;
    ++classes_solved_;
    if (find_rate(changed)) continue;
    const std::int32_t held_by = changed.link;
    untie(number);
    const auto& left = links_[index_of(held_by)].live;
    if (!left.empty()) mark_changed(crossings_[index_of(left.front())].flow_class);
  }
  changed_ties_.clear();
  if (changed_.empty()) return;
  gather();
  order_by_bound();
  fill();
  apply();
  classes_solved_ += static_cast<std::int64_t>(solve_classes_.size());
  tie();
}

}  // namespace orrery
