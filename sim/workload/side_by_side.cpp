#include "sim/workload/side_by_side.hpp"

#include <limits>
#include <stdexcept>

namespace orrery {

namespace {

std::int32_t as_index(size_t value) {
  if (value >= static_cast<size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::length_error("two jobs side by side: too many tasks");
  }
  return static_cast<std::int32_t>(value);
}

/// Appends one task with its successors, all arrays of the graph in step.
void append_task(WorkloadGraph& graph, const Task& task, std::span<const std::int32_t> successors,
                 std::int32_t task_offset, std::span<const std::int32_t> participants,
                 std::int32_t rank_offset) {
  graph.tasks.push_back(task);
  for (const std::int32_t successor : successors) graph.successors.push_back(successor + task_offset);
  graph.successor_begin.push_back(as_index(graph.successors.size()));
  for (const std::int32_t rank : participants) graph.participants.push_back(rank + rank_offset);
  graph.participant_begin.push_back(as_index(graph.participants.size()));
}

}  // namespace

void renumber_gpus(WorkloadGraph& graph, std::span<const int> gpu_of) {
  const auto renumber = [&gpu_of](int& gpu) { gpu = gpu_of[static_cast<size_t>(gpu)]; };
  for (int& gpu : graph.gpu_of_rank) renumber(gpu);
  for (Communication& communication : graph.communications) {
    for (auto& group : communication.groups) {
      for (int& gpu : group) renumber(gpu);
    }
  }
}

SideBySide side_by_side(const WorkloadGraph& first, const WorkloadGraph& second, int repetitions) {
  if (repetitions < 1) throw std::invalid_argument("two jobs side by side: at least one repetition");
  SideBySide result{first, {}};
  WorkloadGraph& graph = result.graph;
  const auto rank_offset = static_cast<std::int32_t>(first.ranks);
  const auto segment_offset = as_index(first.segments.size());
  const auto communication_offset = as_index(first.communications.size());
  graph.ranks += second.ranks;
  graph.gpu_of_rank.insert(graph.gpu_of_rank.end(), second.gpu_of_rank.begin(), second.gpu_of_rank.end());
  graph.rank_names.insert(graph.rank_names.end(), second.rank_names.begin(), second.rank_names.end());
  graph.segments.insert(graph.segments.end(), second.segments.begin(), second.segments.end());
  graph.communications.insert(graph.communications.end(), second.communications.begin(),
                              second.communications.end());
  Segment pause;
  pause.name = "next step";
  const auto pause_index = as_index(graph.segments.size());
  graph.segments.push_back(pause);

  const std::vector<std::int32_t> waits = second.predecessor_counts();
  std::vector<std::int32_t> sources;
  for (size_t task = 0; task < waits.size(); ++task) {
    if (waits[task] == 0) sources.push_back(static_cast<std::int32_t>(task));
  }
  // Between two repetitions stands one task without length that waits for all that nothing else waits for.
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const std::int32_t offset = as_index(graph.tasks.size());
    const auto between = static_cast<std::int32_t>(second.tasks.size());  // relative to the offset
    const bool last = repetition + 1 == repetitions;
    result.repetition_begin.push_back(offset);
    for (size_t i = 0; i < second.tasks.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      Task task = second.tasks[i];
      task.rank += rank_offset;
      task.index += task.kind == TaskKind::segment ? segment_offset : communication_offset;
      const auto successors = second.successors_of(id);
      const bool ends = successors.empty() && !last;
      append_task(graph, task, ends ? std::span(&between, 1) : successors, offset, second.participants_of(id),
                  rank_offset);
    }
    if (!last) {
      Task task;
      task.rank = rank_offset;
      task.index = pause_index;
      append_task(graph, task, sources, offset + between + 1, {}, rank_offset);
    }
  }
  result.repetition_begin.push_back(as_index(graph.tasks.size()));
  return result;
}

}  // namespace orrery
