#include <algorithm>

#include "sim/engine/engine.hpp"

namespace orrery {

StepTimeline run_contention_free(const WorkloadGraph& graph) {
  StepTimeline timeline;
  timeline.start_s.assign(graph.tasks.size(), 0.0);
  timeline.end_s.assign(graph.tasks.size(), 0.0);
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    // Tasks are in topological order: every predecessor has already pushed its end into start_s.
    const Task& task = graph.tasks[i];
    const auto index = static_cast<size_t>(task.index);
    const Seconds duration = task.kind == TaskKind::segment
                                 ? graph.segments[index].duration
                                 : graph.communications[index].latency + graph.communications[index].transfer;
    const double end = timeline.start_s[i] + duration.base();
    timeline.end_s[i] = end;
    timeline.makespan_s = std::max(timeline.makespan_s, end);
    for (const std::int32_t successor : graph.successors_of(static_cast<std::int32_t>(i))) {
      double& ready = timeline.start_s[static_cast<size_t>(successor)];
      ready = std::max(ready, end);
    }
  }
  return timeline;
}

}  // namespace orrery
