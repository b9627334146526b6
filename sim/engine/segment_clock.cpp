#include "sim/engine/segment_clock.hpp"

#include <algorithm>

namespace orrery {

SegmentClock::SegmentClock(const WorkloadGraph& graph) : graph_(graph) {
  needed_ = std::any_of(graph.communications.begin(), graph.communications.end(),
                        [](const Communication& communication) { return communication.slows > 1.0; });
  if (!needed_) {
    return;
  }
  kernel_share_.reserve(graph.segments.size());
  for (const Segment& segment : graph.segments) {
    kernel_share_.push_back(kernel_share(segment));
  }
  ranks_.resize(static_cast<size_t>(graph.ranks));
}

/// Seconds that a second of the segment's work takes on the rank as it is.
double SegmentClock::slowness(const Rank& rank, std::int32_t task) const {
  if (rank.slowed_by.empty()) {
    return 1.0;
  }
  const double slows = *std::max_element(rank.slowed_by.begin(), rank.slowed_by.end());
  const auto segment = static_cast<size_t>(graph_.tasks[static_cast<size_t>(task)].index);
  return 1.0 + kernel_share_[segment] * (slows - 1.0);
}

double SegmentClock::start(std::int32_t task, double now) {
  Rank& rank = ranks_[static_cast<size_t>(graph_.tasks[static_cast<size_t>(task)].rank)];
  const double work = segment_of(task).duration.base();
  const double end = now + work * slowness(rank, task);
  rank.running.push_back({task, work, now, end});
  return end;
}

void SegmentClock::change(Rank& rank, double slows, bool starts, double now, std::vector<End>& moved) {
  for (Running& segment : rank.running) {
    segment.left -= std::max(0.0, now - segment.since) / slowness(rank, segment.task);
    segment.left = std::max(0.0, segment.left);
    segment.since = now;
  }
  if (starts) {
    rank.slowed_by.push_back(slows);
  } else {
    rank.slowed_by.erase(std::find(rank.slowed_by.begin(), rank.slowed_by.end(), slows));
  }
  for (Running& segment : rank.running) {
    const double end = now + segment.left * slowness(rank, segment.task);
    if (end != segment.end) {
      segment.end = end;
      moved.push_back({segment.task, end});
    }
  }
}

void SegmentClock::change_all(std::int32_t task, bool starts, double now, std::vector<End>& moved) {
  const Task& communication = graph_.tasks[static_cast<size_t>(task)];
  const double slows = graph_.communications[static_cast<size_t>(communication.index)].slows;
  if (slows <= 1.0) {
    return;
  }
  const auto participants = graph_.participants_of(task);
  if (std::find(participants.begin(), participants.end(), communication.rank) == participants.end()) {
    change(ranks_[static_cast<size_t>(communication.rank)], slows, starts, now, moved);
  }
  for (const std::int32_t rank : participants) {
    change(ranks_[static_cast<size_t>(rank)], slows, starts, now, moved);
  }
}

void SegmentClock::hold(std::int32_t task, double now, std::vector<End>& moved) {
  change_all(task, true, now, moved);
}

void SegmentClock::release(std::int32_t task, double now, std::vector<End>& moved) {
  change_all(task, false, now, moved);
}

bool SegmentClock::finish(std::int32_t task, double time) {
  auto& running = ranks_[static_cast<size_t>(graph_.tasks[static_cast<size_t>(task)].rank)].running;
  const auto found =
      std::find_if(running.begin(), running.end(), [task](const Running& r) { return r.task == task; });
  if (found == running.end() || found->end != time) {
    return false;
  }
  running.erase(found);
  return true;
}

}  // namespace orrery
