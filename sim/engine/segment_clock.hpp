#pragma once

#include <cstdint>
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
  double start(std::int32_t task, double now);
  /// A communication that slows its ranks starts; segments whose ends move are appended to `moved`.
  void hold(std::int32_t task, double now, std::vector<End>& moved);
  /// It ends.
  void release(std::int32_t task, double now, std::vector<End>& moved);
  /// True, and the segment is over, if `time` is the end that was told last.
  bool finish(std::int32_t task, double time);

 private:
  struct Running {
    std::int32_t task;
    double left;   // seconds of work at full speed
    double since;  // when `left` was that much
    double end;
  };
  struct Rank {
    std::vector<double> slowed_by;  // of the communications in flight
    std::vector<Running> running;
  };

  double slowness(const Rank& rank, std::int32_t task) const;
  void change(Rank& rank, double slows, bool starts, double now, std::vector<End>& moved);
  void change_all(std::int32_t task, bool starts, double now, std::vector<End>& moved);
  const Segment& segment_of(std::int32_t task) const {
    return graph_.segments[static_cast<size_t>(graph_.tasks[static_cast<size_t>(task)].index)];
  }

  const WorkloadGraph& graph_;
  bool needed_ = false;
  std::vector<double> kernel_share_;  // by segment
  std::vector<Rank> ranks_;
};

}  // namespace orrery
