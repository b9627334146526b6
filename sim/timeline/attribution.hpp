#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sim/timeline/step_timeline.hpp"

namespace orrery {

/// Predecessors of every task, the graph's successor arrays turned round. O(tasks + edges).
class Predecessors {
 public:
  explicit Predecessors(const WorkloadGraph& graph);
  std::span<const std::int32_t> of(std::int32_t task) const {
    const auto row = static_cast<size_t>(task);
    return std::span(predecessors_).subspan(begin_[row], begin_[row + 1] - begin_[row]);
  }

 private:
  std::vector<size_t> begin_;
  std::vector<std::int32_t> predecessors_;
};

/// True if the rank sends, leads or takes part in the task.
bool takes_part(const WorkloadGraph& graph, std::int32_t task, int rank);

/// What a rank's compute stream did from the start of the step to its end, in order and without gaps.
struct RankActivity {
  std::function<void(std::int32_t task, double begin_s, double end_s)> compute;  ///< a segment ran
  std::function<void(std::int32_t task, double seconds)>
      exposed;                               ///< nothing ran; a communication was waited for
  std::function<void(double seconds)> idle;  ///< nothing ran and nothing was in flight
};

/// Walks through one rank's step and calls `activity` for each stretch of time; the stretches add up to the
/// makespan.
void attribute_rank(const WorkloadGraph& graph, const StepTimeline& timeline, int rank,
                    const RankActivity& activity);

}  // namespace orrery
