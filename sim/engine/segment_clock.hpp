#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// When running segments end while communications that hold SMs come and go.
///
/// A GPU has two speeds: its own, and a slower one for as long as some communication with `slows` > 1 is in
/// flight on it. A segment of length T of which a share k are kernels takes (1 + k (slows - 1)) T when slowed
/// throughout; when slowed from a to b only, what it does meanwhile takes that much longer. 10 s of kernels
/// at 0.8 of their speed from 2 s to 6 s end at 10.8 s.
class SegmentClock {
 public:
  /// The end of a segment, as far as is known.
  struct End {
    std::int32_t task;
    double time;
  };

  explicit SegmentClock(const WorkloadGraph& graph);
  /// False if no communication slows anything: a segment then takes its duration and needs no clock.
  bool needed() const { return needed_; }

  /// Starts a segment on its rank. @returns its end unless something changes before
  double start(std::int32_t task, double now) {
    return start(task, task_of(task).rank, task_of(task).index, now);
  }
  /// The same for a caller who knows the task's rank and segment.
  double start(std::int32_t task, std::int32_t rank, std::int32_t segment, double now);
  /// Where a rank's state lies, for a caller who knows that it will be needed soon.
  const void* state_of(std::int32_t rank) const { return &ranks_[static_cast<size_t>(rank)]; }
  /// A communication that slows its ranks starts; segments whose ends move are appended to `moved`.
  void hold(std::int32_t task, double now, std::vector<End>& moved);
  /// It ends.
  void release(std::int32_t task, double now, std::vector<End>& moved);
  /// True, and the segment is over, if `time` is the end that was told last.
  bool finish(std::int32_t task, double time) { return finish(task, task_of(task).rank, time); }
  bool finish(std::int32_t task, std::int32_t rank, double time);

 private:
  struct Running {
    std::int32_t task = -1;
    std::int32_t segment = -1;
    double left = 0.0;   // seconds of work at full speed
    double since = 0.0;  // when `left` was that much
    double end = 0.0;
  };
  /// One cache line: a rank runs one segment at a time, but for those of other streams.
  struct alignas(64) Rank {
    Running first;                                   // task -1: none
    double slows = 1.0;                              // the largest of slowed_by
    std::unique_ptr<std::vector<Running>> more;      // made at the first use, as is the next
    std::unique_ptr<std::vector<double>> slowed_by;  // of the communications in flight
  };

  double slowness(const Rank& rank, std::int32_t segment) const {
    return 1.0 + kernel_share_[static_cast<size_t>(segment)] * (rank.slows - 1.0);
  }
  void change(Rank& rank, double slows, bool starts, double now, std::vector<End>& moved);
  void change_all(std::int32_t task, bool starts, double now, std::vector<End>& moved);
  const Task& task_of(std::int32_t number) const { return graph_.tasks[static_cast<size_t>(number)]; }

  const WorkloadGraph& graph_;
  bool needed_ = false;
  std::vector<double> kernel_share_;  // by segment
  std::vector<Rank> ranks_;
};

}  // namespace orrery
