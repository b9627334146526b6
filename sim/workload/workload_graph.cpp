#include "sim/workload/workload_graph.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace orrery {

namespace {

using Edge = std::pair<std::int32_t, std::int32_t>;  // before, after

std::int32_t checked_index(size_t size, const char* what) {
  if (size >= static_cast<size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::length_error(std::string("workload graph: too many ") + what);
  }
  return static_cast<std::int32_t>(size);
}

}  // namespace

bool is_kernel(BreakdownTerm term) {
  return term == BreakdownTerm::forward || term == BreakdownTerm::backward ||
         term == BreakdownTerm::recompute || term == BreakdownTerm::optimizer;
}

namespace {

struct PieceSums {
  double kernels = 0.0, others = 0.0;
};

PieceSums sums_of(const Segment& segment) {
  PieceSums sums;
  for (const Piece& piece : segment.pieces) {
    (is_kernel(piece.term) ? sums.kernels : sums.others) += piece.duration.base();
  }
  return sums;
}

}  // namespace

double kernel_share(const Segment& segment) {
  const PieceSums sums = sums_of(segment);
  const double all = sums.kernels + sums.others;
  return all > 0.0 ? sums.kernels / all : 1.0;
}

PieceStretch stretch_of(const Segment& segment, double length_s) {
  const PieceSums sums = sums_of(segment);
  if (sums.kernels > 0.0 && length_s >= sums.others) return {(length_s - sums.others) / sums.kernels, 1.0};
  const double all = sums.kernels + sums.others;
  const double alike = all > 0.0 ? length_s / all : 0.0;
  return {alike, alike};
}

std::vector<std::int32_t> WorkloadGraph::predecessor_counts() const {
  std::vector<std::int32_t> counts(tasks.size(), 0);
  for (const std::int32_t successor : successors) {
    ++counts[static_cast<size_t>(successor)];
  }
  return counts;
}

WorkloadGraphBuilder::WorkloadGraphBuilder(int ranks) {
  graph_.ranks = ranks;
  graph_.participant_begin.push_back(0);
}

void WorkloadGraphBuilder::expect_tasks(std::size_t tasks) {
  graph_.tasks.reserve(tasks);
  graph_.participant_begin.reserve(tasks + 1);
  graph_.participants.reserve(tasks);  // half of the tasks are sends between two
  edges_.reserve(2 * tasks);
}

std::int32_t WorkloadGraphBuilder::add_segment(Segment segment) {
  const std::int32_t index = checked_index(graph_.segments.size(), "segments");
  graph_.segments.push_back(std::move(segment));
  return index;
}

std::int32_t WorkloadGraphBuilder::add_communication(Communication communication) {
  const std::int32_t index = checked_index(graph_.communications.size(), "communications");
  graph_.communications.push_back(std::move(communication));
  return index;
}

std::int32_t WorkloadGraphBuilder::add_task(const Task& task, std::span<const std::int32_t> participants) {
  const size_t known = task.kind == TaskKind::segment ? graph_.segments.size() : graph_.communications.size();
  if (task.index < 0 || static_cast<size_t>(task.index) >= known) {
    throw std::logic_error("workload graph: a task refers to a segment or communication that was not added");
  }
  if (task.rank < 0 || task.rank >= graph_.ranks) {
    throw std::logic_error("workload graph: a task's rank is outside the graph");
  }
  for (const std::int32_t participant : participants) {
    if (participant < 0 || participant >= graph_.ranks) {
      throw std::logic_error("workload graph: a participant's rank is outside the graph");
    }
  }
  const std::int32_t index = checked_index(graph_.tasks.size(), "tasks");
  graph_.tasks.push_back(task);
  graph_.participants.insert(graph_.participants.end(), participants.begin(), participants.end());
  graph_.participant_begin.push_back(checked_index(graph_.participants.size(), "participants"));
  return index;
}

void WorkloadGraphBuilder::depend(std::int32_t after, std::int32_t before) {
  edges_.emplace_back(before, after);
}

WorkloadGraph WorkloadGraphBuilder::finish() {
  const size_t tasks = graph_.tasks.size();
  checked_index(edges_.size(), "dependencies");
  // Counted by the earlier end and dealt out: while that goes on, a task's begin is where its next one goes.
  LargeArray<std::int32_t>& begin = graph_.successor_begin;
  begin.assign(tasks + 1, 0);
  bool sorted = true;
  std::int32_t last_after = 0;
  for (const auto& [before, after] : edges_) {
    if (before < 0 || before >= after || static_cast<size_t>(after) >= tasks) {
      throw std::logic_error("workload graph: task " + std::to_string(after) + " cannot wait for task " +
                             std::to_string(before) + ": edges go from an earlier task to a later one");
    }
    ++begin[static_cast<size_t>(before)];
    sorted = sorted && last_after <= after;
    last_after = after;
  }
  // Whoever adds each task's dependencies with the task has sorted them by the later end already.
  if (!sorted) {
    std::stable_sort(edges_.begin(), edges_.end(),
                     [](const Edge& a, const Edge& b) { return a.second < b.second; });
  }
  std::exclusive_scan(begin.begin(), begin.end(), begin.begin(), 0);
  graph_.successors.resize(edges_.size());
  for (const auto& [before, after] : edges_) {
    graph_.successors[static_cast<size_t>(begin[static_cast<size_t>(before)]++)] = after;
  }
  edges_.clear();
  edges_.shrink_to_fit();
  // Each begin is now its task's end. What was given twice lies side by side.
  std::int32_t from = 0;
  std::int32_t kept = 0;
  for (size_t task = 0; task < tasks; ++task) {
    const std::int32_t end = begin[task];
    begin[task] = kept;
    for (std::int32_t last = -1; from < end; ++from) {
      const std::int32_t after = graph_.successors[static_cast<size_t>(from)];
      if (after != last) graph_.successors[static_cast<size_t>(kept++)] = after;
      last = after;
    }
  }
  begin[tasks] = kept;
  graph_.successors.resize(static_cast<size_t>(kept));
  return std::move(graph_);
}

std::string name_of(const Communication& communication) {
  switch (communication.storage) {
    case StorageUse::read:
      return "storage read";
    case StorageUse::write:
      return "storage write";
    case StorageUse::none:
      break;
  }
  return std::string(name_of(communication.group)) + " " + std::string(name_of(communication.op));
}

}  // namespace orrery
