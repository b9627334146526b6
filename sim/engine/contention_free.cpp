#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>

#include "sim/engine/engine.hpp"
#include "sim/engine/segment_clock.hpp"

namespace orrery {

namespace {

double uncontended(const WorkloadGraph& graph, const Task& task) {
  const auto index = static_cast<size_t>(task.index);
  return (task.kind == TaskKind::segment
              ? graph.segments[index].duration
              : graph.communications[index].latency + graph.communications[index].transfer)
      .base();
}

StepTimeline empty_timeline(const WorkloadGraph& graph) {
  StepTimeline timeline;
  timeline.start_s.assign(graph.tasks.size(), 0.0);
  timeline.end_s.assign(graph.tasks.size(), 0.0);
  return timeline;
}

/// Nothing changes a task's length: tasks are in topological order, so one pass does.
StepTimeline one_pass(const WorkloadGraph& graph) {
  StepTimeline timeline = empty_timeline(graph);
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    // Every predecessor has already pushed its end into start_s.
    const double end = timeline.start_s[i] + uncontended(graph, graph.tasks[i]);
    timeline.end_s[i] = end;
    timeline.makespan_s = std::max(timeline.makespan_s, end);
    for (const std::int32_t successor : graph.successors_of(static_cast<std::int32_t>(i))) {
      double& ready = timeline.start_s[static_cast<size_t>(successor)];
      ready = std::max(ready, end);
    }
  }
  return timeline;
}

/// Communications slow the kernels beside them: what overlaps is known in order of time only.
class TimedRun {
 public:
  TimedRun(const WorkloadGraph& graph, SegmentClock& clock)
      : graph_(graph),
        clock_(clock),
        timeline_(empty_timeline(graph)),
        waiting_for_(graph.predecessor_counts()) {}

  StepTimeline run() {
    for (size_t task = 0; task < graph_.tasks.size(); ++task) {
      if (waiting_for_[task] == 0) start(static_cast<std::int32_t>(task), 0.0);
    }
    while (!events_.empty()) {
      const auto [time, task] = events_.top();
      events_.pop();
      if (is_segment(task) && !clock_.finish(task, time)) continue;  // its end has moved
      end(task, time);
    }
    return std::move(timeline_);
  }

 private:
  bool is_segment(std::int32_t task) const {
    return graph_.tasks[static_cast<size_t>(task)].kind == TaskKind::segment;
  }

  void start(std::int32_t task, double now) {
    timeline_.start_s[static_cast<size_t>(task)] = now;
    if (is_segment(task)) {
      events_.emplace(clock_.start(task, now), task);
      return;
    }
    events_.emplace(now + uncontended(graph_, graph_.tasks[static_cast<size_t>(task)]), task);
    clock_.hold(task, now, moved_);
    push_moved();
  }

  void end(std::int32_t task, double now) {
    timeline_.end_s[static_cast<size_t>(task)] = now;
    timeline_.makespan_s = std::max(timeline_.makespan_s, now);
    if (!is_segment(task)) {
      clock_.release(task, now, moved_);
      push_moved();
    }
    for (const std::int32_t successor : graph_.successors_of(task)) {
      if (--waiting_for_[static_cast<size_t>(successor)] == 0) start(successor, now);
    }
  }

  void push_moved() {
    for (const SegmentClock::End& moved : moved_) events_.emplace(moved.time, moved.task);
    moved_.clear();
  }

  const WorkloadGraph& graph_;
  SegmentClock& clock_;
  StepTimeline timeline_;
  std::vector<std::int32_t> waiting_for_;
  std::vector<SegmentClock::End> moved_;
  using Event = std::tuple<double, std::int32_t>;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

}  // namespace

StepTimeline run_contention_free(const WorkloadGraph& graph) {
  SegmentClock clock(graph);
  return clock.needed() ? TimedRun(graph, clock).run() : one_pass(graph);
}

}  // namespace orrery
