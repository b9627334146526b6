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

double SegmentClock::start(std::int32_t task, std::int32_t number, std::int32_t segment, double now) {
  Rank& rank = ranks_[static_cast<size_t>(number)];
  const double work = graph_.segments[static_cast<size_t>(segment)].duration.base();
  const double end = now + work * slowness(rank, segment);
  const Running started{task, segment, work, now, end};
  if (rank.first.task < 0) {
    rank.first = started;
  } else {
    if (!rank.more) rank.more = std::make_unique<std::vector<Running>>();
    rank.more->push_back(started);
  }
  return end;
}

void SegmentClock::change(Rank& rank, double slows, bool starts, double now, std::vector<End>& moved) {
  const auto for_each_running = [&rank](const auto& act) {
    if (rank.first.task >= 0) act(rank.first);
    if (!rank.more) return;
    for (Running& running : *rank.more) act(running);
  };
  for_each_running([&](Running& segment) {
    segment.left -= std::max(0.0, now - segment.since) / slowness(rank, segment.segment);
    segment.left = std::max(0.0, segment.left);
    segment.since = now;
  });
  if (!rank.slowed_by) rank.slowed_by = std::make_unique<std::vector<double>>();
  std::vector<double>& slowed_by = *rank.slowed_by;
  if (starts) {
    slowed_by.push_back(slows);
  } else {
    slowed_by.erase(std::find(slowed_by.begin(), slowed_by.end(), slows));
  }
  rank.slows = slowed_by.empty() ? 1.0 : *std::max_element(slowed_by.begin(), slowed_by.end());
  for_each_running([&](Running& segment) {
    const double end = now + segment.left * slowness(rank, segment.segment);
    if (end != segment.end) {
      segment.end = end;
      moved.push_back({segment.task, end});
    }
  });
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

bool SegmentClock::finish(std::int32_t task, std::int32_t number, double time) {
  Rank& rank = ranks_[static_cast<size_t>(number)];
  if (rank.first.task == task) {
    if (rank.first.end != time) return false;
    rank.first.task = -1;
    return true;
  }
  if (!rank.more) return false;
  const auto found = std::find_if(rank.more->begin(), rank.more->end(),
                                  [task](const Running& running) { return running.task == task; });
  if (found == rank.more->end() || found->end != time) return false;
  rank.more->erase(found);
  return true;
}

}  // namespace orrery
