#include "sim/timeline/attribution.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace orrery {

Predecessors::Predecessors(const WorkloadGraph& graph)
    : begin_(graph.tasks.size() + 1, 0), predecessors_(graph.successors.size()) {
  for (const std::int32_t successor : graph.successors) {
    ++begin_[static_cast<size_t>(successor) + 1];
  }
  for (size_t i = 1; i < begin_.size(); ++i) {
    begin_[i] += begin_[i - 1];
  }
  std::vector<size_t> place(begin_.begin(), begin_.end() - 1);
  for (size_t task = 0; task < graph.tasks.size(); ++task) {
    for (const std::int32_t successor : graph.successors_of(static_cast<std::int32_t>(task))) {
      predecessors_[place[static_cast<size_t>(successor)]++] = static_cast<std::int32_t>(task);
    }
  }
}

bool takes_part(const WorkloadGraph& graph, std::int32_t task, int rank) {
  if (graph.tasks[static_cast<size_t>(task)].rank == rank) {
    return true;
  }
  const auto participants = graph.participants_of(task);
  return std::find(participants.begin(), participants.end(), rank) != participants.end();
}

namespace {

/// Communications that a rank takes part in, by the task that waits for them.
class CommunicationsBefore {
 public:
  /// @param communications  of the rank, rising
  CommunicationsBefore(const WorkloadGraph& graph, std::span<const std::int32_t> communications) {
    for (const std::int32_t before : communications) {
      for (const std::int32_t after : graph.successors_of(before)) pairs_.emplace_back(after, before);
    }
    std::sort(pairs_.begin(), pairs_.end());
  }
  /// With `task` first in each pair, by rising second.
  std::span<const std::pair<std::int32_t, std::int32_t>> of(std::int32_t task) const {
    const auto begin = std::lower_bound(pairs_.begin(), pairs_.end(), std::pair(task, std::int32_t{0}));
    const auto end =
        std::find_if(begin, pairs_.end(), [task](const auto& each) { return each.first != task; });
    return {begin, end};
  }

 private:
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs_;  // after, before
};

/// Gives one gap of the compute stream to the communications that were in flight, latest end first; what
/// these leave to transfers with storage, which run beside whatever else there is to wait for.
class GapWalk {
 public:
  GapWalk(const WorkloadGraph& graph, const StepTimeline& timeline, const CommunicationsBefore& before,
          const RankActivity& activity)
      : graph_(graph), timeline_(timeline), before_(before), activity_(activity) {}

  /// The gap [begin_s, end_s] in front of `next`: its communication predecessors, and theirs on the same rank
  /// (a gather that waits for a reduction exposes both).
  void before_task(std::int32_t next, double begin_s, double end_s) {
    candidates_.clear();
    transfers_.clear();
    add_predecessors(next, begin_s);
    double cursor = end_s;
    std::int32_t previous = -1;
    while (!candidates_.empty() && cursor > begin_s) {
      std::pop_heap(candidates_.begin(), candidates_.end());
      const std::int32_t task = -candidates_.back().second;
      candidates_.pop_back();
      if (task == previous) {
        continue;  // reached along two paths: equal keys leave the heap one after the other
      }
      previous = task;
      cursor = give(task, begin_s, cursor);
      add_predecessors(task, begin_s);
    }
    leave(begin_s, cursor);
  }

  /// The rest of the step after the rank's last segment: `own` holds its communications that end later.
  void after_last(const std::vector<std::int32_t>& own, double begin_s, double end_s) {
    candidates_.clear();
    transfers_.clear();
    for (const std::int32_t task : own) {
      (is_transfer(task) ? transfers_ : candidates_).emplace_back(end_of(task), -task);
    }
    std::sort(candidates_.begin(), candidates_.end());
    double cursor = end_s;
    for (auto candidate = candidates_.rbegin(); candidate != candidates_.rend() && cursor > begin_s;
         ++candidate) {
      cursor = give(-candidate->second, begin_s, cursor);
    }
    leave(begin_s, cursor);
  }

 private:
  bool is_transfer(std::int32_t task) const {
    const Task& what = graph_.tasks[static_cast<size_t>(task)];
    return graph_.communications[static_cast<size_t>(what.index)].storage != StorageUse::none;
  }

  /// No communication was in flight from `from_s` to `to_s`: transfers with storage, latest end first, and
  /// idle.
  void leave(double from_s, double to_s) {
    std::sort(transfers_.begin(), transfers_.end());
    double cursor = to_s;
    for (auto transfer = transfers_.rbegin(); transfer != transfers_.rend() && cursor > from_s; ++transfer) {
      const std::int32_t task = -transfer->second;
      const double end = std::min(cursor, end_of(task));
      const double start = std::max(from_s, timeline_.start_s[static_cast<size_t>(task)]);
      if (end <= start) {
        continue;
      }
      if (end < cursor) {
        activity_.idle(cursor - end);
      }
      activity_.exposed(task, end - start);
      cursor = start;
    }
    if (cursor > from_s) {
      activity_.idle(cursor - from_s);
    }
  }

  double end_of(std::int32_t task) const { return timeline_.end_s[static_cast<size_t>(task)]; }

  /// Idle from the communication's end to the cursor, exposed from its start to its end; returns the new
  /// cursor.
  double give(std::int32_t task, double begin_s, double cursor) {
    const double end = std::min(cursor, end_of(task));
    if (end <= begin_s) {
      return cursor;
    }
    leave(end, cursor);
    const double start = std::max(begin_s, timeline_.start_s[static_cast<size_t>(task)]);
    if (start < end) {
      activity_.exposed(task, end - start);
      return start;
    }
    return end;
  }

  void add_predecessors(std::int32_t task, double begin_s) {
    for (const auto& [after, before] : before_.of(task)) {
      if (end_of(before) <= begin_s) continue;
      if (is_transfer(before)) {
        transfers_.emplace_back(end_of(before), -before);
        continue;
      }
      candidates_.emplace_back(end_of(before), -before);
      std::push_heap(candidates_.begin(), candidates_.end());
    }
  }

  const WorkloadGraph& graph_;
  const StepTimeline& timeline_;
  const CommunicationsBefore& before_;
  const RankActivity& activity_;
  std::vector<std::pair<double, std::int32_t>>
      candidates_;  // end and minus the task: ties go to the lower number
  std::vector<std::pair<double, std::int32_t>> transfers_;  // the same, with storage
};

}  // namespace

void attribute_rank(const WorkloadGraph& graph, const StepTimeline& timeline, int rank,
                    const RankActivity& activity) {
  std::vector<std::int32_t> segments;
  std::vector<std::int32_t> communications;
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    const auto task = static_cast<std::int32_t>(i);
    if (graph.tasks[i].kind == TaskKind::communication) {
      if (takes_part(graph, task, rank)) {
        communications.push_back(task);
      }
    } else if (graph.tasks[i].rank == rank && graph.tasks[i].stream == 0) {
      segments.push_back(task);
    }
  }
  std::stable_sort(segments.begin(), segments.end(), [&](std::int32_t a, std::int32_t b) {
    return timeline.start_s[static_cast<size_t>(a)] < timeline.start_s[static_cast<size_t>(b)];
  });
  const CommunicationsBefore before(graph, communications);
  GapWalk gaps(graph, timeline, before, activity);
  double cursor = 0.0;
  for (const std::int32_t task : segments) {
    const double start = timeline.start_s[static_cast<size_t>(task)];
    const double end = timeline.end_s[static_cast<size_t>(task)];
    if (start > cursor) {
      gaps.before_task(task, cursor, start);
      cursor = start;
    }
    if (end > cursor) {
      activity.compute(task, cursor, end);
      cursor = end;
    }
  }
  if (timeline.makespan_s > cursor) {
    std::erase_if(communications,
                  [&](std::int32_t task) { return timeline.end_s[static_cast<size_t>(task)] <= cursor; });
    gaps.after_last(communications, cursor, timeline.makespan_s);
  }
}

}  // namespace orrery
