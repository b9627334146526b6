#include "sim/engine/local_max_min.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "sim/engine/tolerances.hpp"

namespace orrery {

LocalMaxMin::LocalMaxMin(std::span<const double> capacity, double tolerance) : tolerance_(tolerance) {
  links_.resize(capacity.size());
  for (size_t i = 0; i < capacity.size(); ++i) links_[i].capacity = capacity[i];
}

/// Whether the flows on a link could fill it; one that they cannot holds nobody.
bool LocalMaxMin::can_bind(const Link& each) const {
  return each.potential > each.capacity * (1.0 + kRounding);
}

std::int32_t LocalMaxMin::add(std::span<const ResourceShare> shares, double bound) {
  auto number = static_cast<std::int32_t>(flows_.size());
  if (free_.empty()) {
    flows_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  Flow& added = flow(number);
  added.live = true;
  added.shares = shares;
  added.rate = 0.0;
  added.bottleneck = added.narrowest = added.told = -1;
  added.bound = bound;
  for (const ResourceShare& share : shares) {
    const double most = link(share.resource).capacity / share.weight;
    if (most >= added.bound) continue;
    added.bound = most;
    added.narrowest = share.resource;
  }
  added.place.resize(shares.size());
  for (size_t i = 0; i < shares.size(); ++i) {
    Link& each = link(shares[i].resource);
    added.place[i] = static_cast<std::uint32_t>(each.flows.size());
    each.flows.push_back({number, static_cast<std::uint32_t>(i)});
    each.potential += shares[i].weight * added.bound;
  }
  solve_for(number);
  return number;
}

void LocalMaxMin::remove(std::int32_t number) {
  Flow& gone = flow(number);
  for (size_t i = 0; i < gone.shares.size(); ++i) {
    const ResourceShare& share = gone.shares[i];
    Link& each = link(share.resource);
    if (can_bind(each) && !each.relieved) {
      each.relieved = true;
      relieved_.push_back(share.resource);
    }
    const OnLink last = each.flows.back();
    each.flows[gone.place[i]] = last;
    flow(last.flow).place[last.share] = gone.place[i];
    each.flows.pop_back();
    each.potential -= share.weight * gone.bound;
    each.load -= share.weight * gone.rate;
    if (each.flows.empty()) each.potential = each.load = 0.0;  // what is left is rounding
  }
  gone.live = false;
  free_.push_back(number);
}

/// The flows held by links that have lost others may become faster.
void LocalMaxMin::free_held_flows() {
  for (const std::int32_t number : relieved_) {
    link(number).relieved = false;
    for (const OnLink& on : link(number).flows) {
      if (flow(on.flow).bottleneck == number) solve_for(on.flow);
    }
  }
  relieved_.clear();
}

void LocalMaxMin::solve_for(std::int32_t number) {
  Flow& each = flow(number);
  if (each.solved_for) return;
  each.solved_for = true;
  flows_in_solve_.push_back(number);
}

std::span<const std::pair<std::int32_t, double>> LocalMaxMin::settle() {
  changed_.clear();
  held_anew_.clear();
  // Some have been removed since they were noted, their numbers perhaps given again.
  std::erase_if(flows_in_solve_, [this](std::int32_t number) {
    if (flow(number).live) return false;
    flow(number).solved_for = false;
    return true;
  });
  free_held_flows();
  if (flows_in_solve_.empty()) return changed_;
  do {
    fill();
  } while (take_in_others());
  apply();
  return changed_;
}

void LocalMaxMin::freeze(std::int32_t number, double rate, std::int32_t bottleneck) {
  Flow& each = flow(number);
  each.frozen = true;
  each.new_rate = rate;
  each.bottleneck = bottleneck;
  for (const ResourceShare& share : each.shares) {
    const std::int32_t place = link(share.resource).in_solve;
    if (place < 0) continue;
    LinkInSolve& crossed = links_in_solve_[static_cast<size_t>(place)];
    crossed.left -= share.weight * rate;
    crossed.weight -= share.weight;
    crossed.fastest = std::max(crossed.fastest, rate);
    --crossed.unfrozen;
  }
}

void LocalMaxMin::leave_links() {
  for (const LinkInSolve& each : links_in_solve_) link(each.link).in_solve = -1;
  links_in_solve_.clear();
}

/// Progressive filling of what the flows not solved for leave of the links.
void LocalMaxMin::fill() {
  flows_solved_ += static_cast<std::int64_t>(flows_in_solve_.size());
  leave_links();
  by_bound_.clear();
  for (const std::int32_t number : flows_in_solve_) {
    Flow& each = flow(number);
    each.frozen = false;
    by_bound_.emplace_back(each.bound, number);
    for (const ResourceShare& share : each.shares) {
      Link& crossed = link(share.resource);
      if (crossed.in_solve < 0) {
        if (!can_bind(crossed)) continue;
        crossed.in_solve = static_cast<std::int32_t>(links_in_solve_.size());
        links_in_solve_.push_back({.link = share.resource, .taken = crossed.load});
      }
      LinkInSolve& solved = links_in_solve_[static_cast<size_t>(crossed.in_solve)];
      solved.taken -= share.weight * each.rate;
      solved.weight += share.weight;
      ++solved.unfrozen;
    }
  }
  levels_.clear();
  for (size_t place = 0; place < links_in_solve_.size(); ++place) {
    LinkInSolve& each = links_in_solve_[place];
    const Link& crossed = link(each.link);
    each.whole = static_cast<size_t>(each.unfrozen) == crossed.flows.size();
    each.left = std::max(0.0, crossed.capacity - (each.whole ? 0.0 : each.taken));
    levels_.emplace_back(each.left / each.weight, each.link, static_cast<std::int32_t>(place));
  }
  std::make_heap(levels_.begin(), levels_.end(), std::greater<>());
  std::sort(by_bound_.begin(), by_bound_.end());
  double reached = 0.0;
  for (size_t next = 0;;) {
    while (next < by_bound_.size() && flow(by_bound_[next].second).frozen) ++next;
    if (next == by_bound_.size()) return;
    // A link's level only rises while flows freeze below it, so what the heap says is a lower bound.
    double level = kNever;
    while (!levels_.empty()) {
      const auto [stored, number, place] = levels_.front();
      const LinkInSolve& each = links_in_solve_[static_cast<size_t>(place)];
      const double present = each.unfrozen == 0 ? kNever : std::max(0.0, each.left) / each.weight;
      if (present <= stored) {
        level = std::max(reached, stored);
        break;
      }
      std::pop_heap(levels_.begin(), levels_.end(), std::greater<>());
      levels_.pop_back();
      if (present == kNever) continue;
      levels_.emplace_back(present, number, place);
      std::push_heap(levels_.begin(), levels_.end(), std::greater<>());
    }
    const auto [bound, slowest] = by_bound_[next];
    if (bound <= level) {
      reached = std::max(reached, bound);
      freeze(slowest, bound, -1);
      continue;
    }
    reached = level;
    const auto [stored, full, place] = levels_.front();
    links_in_solve_[static_cast<size_t>(place)].level = level;
    for (const OnLink& on : link(full).flows) {
      const Flow& each = flow(on.flow);
      if (each.solved_for && !each.frozen) freeze(on.flow, level, full);
    }
  }
}

/// Notes the flows whose rates are no longer right beside those just found.
bool LocalMaxMin::take_in_others() {
  const size_t before = flows_in_solve_.size();
  for (const LinkInSolve& solved : links_in_solve_) {
    if (solved.whole) continue;
    const Link& each = link(solved.link);
    const bool full = solved.left <= each.capacity * kRounding;
    const double too_fast = solved.level < 0.0 ? kNever : solved.level * (1.0 + tolerance_);
    const double too_slow = full ? solved.fastest * (1.0 - tolerance_) : kNever;
    for (const OnLink& on : each.flows) {
      const Flow& other = flow(on.flow);
      if (other.solved_for) continue;
      if (other.rate > too_fast || (other.bottleneck == solved.link && other.rate < too_slow)) {
        solve_for(on.flow);
      }
    }
  }
  return flows_in_solve_.size() > before;
}

void LocalMaxMin::apply() {
  leave_links();
  for (const std::int32_t number : flows_in_solve_) {
    Flow& each = flow(number);
    each.solved_for = false;
    const double added = each.new_rate - each.rate;
    const std::int32_t held_before = std::exchange(each.told, held_by(number));
    if (std::abs(added) <= kSameRate * each.new_rate) {
      if (held_before != each.told) held_anew_.push_back(number);
      continue;
    }
    for (const ResourceShare& share : each.shares) link(share.resource).load += share.weight * added;
    each.rate = each.new_rate;
    changed_.emplace_back(number, each.rate);
  }
  flows_in_solve_.clear();
}

}  // namespace orrery
