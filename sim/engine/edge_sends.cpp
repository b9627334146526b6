#include "sim/engine/edge_sends.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "sim/engine/tolerances.hpp"

namespace orrery {

EdgeSends::EdgeSends(std::span<const SendEdge> edges, std::span<const double> capacities,
                     FluidOptions options)
    : waiting_bytes_(edges.size(), 0.0), busy_(edges.size(), 0), class_(edges.size(), -1) {
  std::vector<double> demand(capacities.size(), 0.0);
  for (const SendEdge& edge : edges) {
    if (!(edge.rate > 0.0) || !(edge.alpha_s >= 0.0)) {
      throw std::invalid_argument("an edge needs a rate above zero and an alpha");
    }
    rate_.push_back(edge.rate);
    alpha_s_.push_back(edge.alpha_s);
    for (const FluidLoad& load : edge.loads)
      demand.at(static_cast<size_t>(load.link)) += load.weight * edge.rate;
  }
  for (size_t i = 0; i < edges.size(); ++i) {
    const bool contended =
        std::any_of(edges[i].loads.begin(), edges[i].loads.end(), [&](const FluidLoad& load) {
          const auto link = static_cast<size_t>(load.link);
          return demand[link] > capacities[link] * (1.0 + kRounding);
        });
    if (!contended) continue;
    if (!network_) network_.emplace(capacities, options);
    class_[i] = network_->add_class(edges[i].loads, edges[i].rate);
  }
}

void EdgeSends::start(std::int32_t edge, double bytes) {
  const auto i = static_cast<size_t>(edge);
  if (busy_[i] != 0) throw std::logic_error("an edge carries one message at a time");
  busy_[i] = 1;
  ++sends_;
  const bool shares = class_[i] >= 0;
  if (shares) {
    ++contended_sends_;
    waiting_bytes_[i] = bytes;
    if (alpha_s_[i] == 0.0) {
      network_->start(class_[i], bytes, edge);
      return;
    }
  }
  const double time = now_ + alpha_s_[i] + (shares ? 0.0 : bytes / rate_[i]);
  timers_.push_back({time, started_++, edge, shares});
  std::push_heap(timers_.begin(), timers_.end(), Later());
}

std::span<const std::int64_t> EdgeSends::next() {
  ended_.clear();
  while (ended_.empty()) {
    const double timer = timers_.empty() ? kNever : timers_.front().time;
    const double flow = network_ ? network_->next_time() : kNever;
    const double time = std::min(timer, flow);
    if (time == kNever) break;
    now_ = std::max(now_, time);
    if (network_) network_->advance(now_, ended_);
    const double together = now_ * (1.0 + kSameTime);
    while (!timers_.empty() && timers_.front().time <= together) {
      const Timer due = timers_.front();
      std::pop_heap(timers_.begin(), timers_.end(), Later());
      timers_.pop_back();
      const auto edge = static_cast<size_t>(due.edge);
      if (due.starts_flow) {
        network_->start(class_[edge], waiting_bytes_[edge], due.edge);
      } else {
        ended_.push_back(due.edge);
      }
    }
  }
  for (const std::int64_t edge : ended_) busy_[static_cast<size_t>(edge)] = 0;
  return ended_;
}

}  // namespace orrery
