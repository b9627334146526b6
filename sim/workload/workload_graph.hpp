#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/evidence.hpp"
#include "sim/base/large_array.hpp"
#include "sim/base/quantity.hpp"
#include "sim/workload/collective.hpp"

namespace orrery {

/// One stretch of a segment: a kernel, or a collective that blocks the rank and stays inside its scale-up
/// domain.
struct Piece {
  std::string_view name;  ///< string literal: "qkv_projection", "tensor all_reduce"
  BreakdownTerm term = BreakdownTerm::other;
  Seconds duration;
  Evidence evidence = Evidence::assumed;
  int layer = -1;  ///< layer of the model, -1 outside layers
};

/// What a rank does without waiting for another node: pieces one after the other. Kernels between two
/// communications are merged into one segment, so that a step has few tasks; traces expand the pieces.
struct Segment {
  std::string name;  ///< "forward", "backward", "optimizer"
  std::vector<Piece> pieces;
  Seconds duration;  ///< sum of the pieces
};

/// True for time in which the GPU's SMs work: forward, backward, recompute, optimizer. The rest of a segment
/// (exposed collectives, host waits) runs no kernel that could be slowed.
bool is_kernel(BreakdownTerm term);
/// Share of a segment's pieces that are kernels, 0 to 1; 1 for a segment without pieces.
double kernel_share(const Segment& segment);

/// By how much the pieces of a segment that ran for `length_s` took longer than planned: a communication that
/// held SMs stretches kernels alone.
struct PieceStretch {
  double kernels = 1.0, others = 1.0;
  double of(const Piece& piece) const { return is_kernel(piece.term) ? kernels : others; }
};
PieceStretch stretch_of(const Segment& segment, double length_s);

/// Whether a communication moves bytes between GPUs and the storage of their nodes.
enum class StorageUse : std::uint8_t { none, read, write };

/// A communication that goes through the network, as often as tasks refer to it.
struct Communication {
  GroupKind group = GroupKind::data;
  CollectiveOp op = CollectiveOp::all_reduce;
  Bytes payload;     ///< nccl-tests' size: whole buffer of one rank (send_receive: the message)
  int calls = 1;     ///< equal calls one after the other that payload, latency and transfer are of together
  Seconds latency;   ///< time before the first byte flows: start-up and the steps' latencies
  Seconds transfer;  ///< time the bytes take when nothing else uses the links; latency + transfer is the
                     ///< uncontended time
  std::string_view algorithm = "ring";
  std::string_view protocol = "simple";
  Evidence evidence = Evidence::assumed;
  /// Kernels of the ranks that take part run this many times as long while it is in flight: it holds SMs and
  /// memory bandwidth. 1: it holds none. Of several at once the largest counts.
  double slows = 1.0;
  /// Groups of cluster GPU numbers in ring order (send_receive: {from, to}) that do this at the same time.
  /// The first is the one simulated; the others are its twins, whose load on shared links counts. In full
  /// scope there is only one.
  std::vector<std::vector<int>> groups;
  /// Not among the members of a group but between each of them and its node's storage: each moves `payload`.
  /// `group` and `op` mean nothing then.
  StorageUse storage = StorageUse::none;
  BreakdownTerm storage_term = BreakdownTerm::input_exposed;  ///< what waiting for it counts as

  BreakdownTerm exposed() const { return storage == StorageUse::none ? exposed_term(group) : storage_term; }
};

/// "data all_reduce", "storage read".
std::string name_of(const Communication& communication);

enum class TaskKind : std::uint8_t { segment, communication };

/// A node of the graph. Tasks are numbered 0..n-1 in an order in which they could be executed (topological).
struct Task {
  TaskKind kind = TaskKind::segment;
  std::int32_t rank =
      0;  ///< simulated rank (row of the timeline); of a communication: the rank that sends or leads
  std::int32_t index = 0;  ///< into segments or communications
  std::int32_t micro_batch = -1;
  std::int16_t chunk = 0;   ///< virtual stage
  std::int16_t stream = 0;  ///< 0 compute, 1 tensor/context, 2 data, 3 sends onward, 4 sends back
};

/// A training step as tasks on simulated ranks, in flat arrays.
///
/// A task starts when all its predecessors have ended; tasks of one rank and stream are chained by the
/// lowering with explicit dependencies, so an engine needs nothing but the counts.
struct WorkloadGraph {
  int ranks = 0;  ///< simulated ranks: one a pipeline stage when folded, every GPU in full scope
  std::vector<int> gpu_of_rank;  ///< cluster GPU number of each simulated rank
  std::vector<std::string> rank_names;
  std::vector<Segment> segments;
  std::vector<Communication> communications;
  LargeArray<Task> tasks;
  /// Successors of task t: successors[successor_begin[t] .. successor_begin[t+1]).
  LargeArray<std::int32_t> successor_begin;
  LargeArray<std::int32_t> successors;
  /// Ranks that take part in a communication task and therefore wait in its row: participants of task t in
  /// participants[participant_begin[t] .. participant_begin[t+1]) (empty for segments).
  LargeArray<std::int32_t> participant_begin;
  LargeArray<std::int32_t> participants;

  std::span<const std::int32_t> successors_of(std::int32_t task) const {
    return std::span(successors)
        .subspan(static_cast<size_t>(successor_begin[task]),
                 static_cast<size_t>(successor_begin[task + 1] - successor_begin[task]));
  }
  std::span<const std::int32_t> participants_of(std::int32_t task) const {
    return std::span(participants)
        .subspan(static_cast<size_t>(participant_begin[task]),
                 static_cast<size_t>(participant_begin[task + 1] - participant_begin[task]));
  }
  /// Number of predecessors of every task.
  std::vector<std::int32_t> predecessor_counts() const;
};

/// Builds the flat arrays: add tasks in any order that respects dependencies.
class WorkloadGraphBuilder {
 public:
  explicit WorkloadGraphBuilder(int ranks);
  /// About how many tasks will be added: arrays that need not grow are written once.
  void expect_tasks(std::size_t tasks);
  std::int32_t add_segment(Segment segment);
  std::int32_t add_communication(Communication communication);
  std::int32_t add_task(const Task& task, std::span<const std::int32_t> participants = {});
  /// `after` starts when `before` has ended. before < after.
  void depend(std::int32_t after, std::int32_t before);
  WorkloadGraph& graph() { return graph_; }
  /// Sorts the dependencies into the flat arrays, without duplicates. @throws std::logic_error if an edge
  /// goes backwards
  WorkloadGraph finish();

 private:
  WorkloadGraph graph_;
  LargeArray<std::pair<std::int32_t, std::int32_t>> edges_;
};

}  // namespace orrery
