#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// Gives the GPUs of a graph other numbers: GPU g becomes gpu_of[g].
void renumber_gpus(WorkloadGraph& graph, std::span<const int> gpu_of);

/// Two jobs that run at the same time and meet on links alone.
struct SideBySide {
  /// Tasks, ranks and communications of `first` as they were, then those of `second`, whose tasks are there
  /// once for each repetition. A repetition starts when all of the one before it has ended.
  WorkloadGraph graph;
  /// By repetition of `second`: its first task, and one past its last at the end.
  std::vector<std::int32_t> repetition_begin;
};

/// @param repetitions of `second`, at least one
/// @throws std::length_error if the tasks or edges outgrow 31 bits
SideBySide side_by_side(const WorkloadGraph& first, const WorkloadGraph& second, int repetitions);

}  // namespace orrery
