#include <algorithm>

#include "sim/timeline/attribution.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

std::vector<std::int32_t> critical_path(const WorkloadGraph& graph, const StepTimeline& timeline) {
  std::vector<std::int32_t> path;
  if (graph.tasks.empty()) {
    return path;
  }
  const Predecessors predecessors(graph);
  const auto last = std::max_element(timeline.end_s.begin(), timeline.end_s.end());
  auto task = static_cast<std::int32_t>(last - timeline.end_s.begin());
  path.push_back(task);
  for (auto before = predecessors.of(task); !before.empty(); before = predecessors.of(task)) {
    // A task starts when its last predecessor ends, so that one is on the path; of several the lowest number.
    task = *std::max_element(before.begin(), before.end(), [&](std::int32_t a, std::int32_t b) {
      return timeline.end_s[static_cast<size_t>(a)] < timeline.end_s[static_cast<size_t>(b)];
    });
    path.push_back(task);
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace orrery
