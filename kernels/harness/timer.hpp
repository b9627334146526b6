#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/harness/board.hpp"
#include "kernels/harness/cuda.hpp"
#include "kernels/harness/device.hpp"

namespace orrery::kernels {

/// Enqueues the work once. `slot` in [0, slots) says which copy of the operands to work on; a program with
/// one copy ignores it.
using Launch = std::function<void(cudaStream_t stream, int slot)>;

struct TimingOptions {
  int warmup = 5;           ///< launches before the first sample
  int repeats = 30;         ///< samples at least,
  double seconds = 0.05;    ///< and for at least so long (wall clock, flushes included),
  int most_repeats = 1000;  ///< but no more samples than this,
  double limit_s = 2.0;     ///< and no longer than this once there are 3 samples
  int slots = 1;            ///< copies of the operands that `launch` can choose from: cold_slots()
  bool flush_l2 = true;     ///< before every sample taken by events
};

/// Samples of one kernel (or of the fixed sequence that one launch enqueues).
struct Measured {
  std::vector<double> samples_s;  ///< empty when all were dropped because the board was throttled
  BoardConditions board;
  std::string timing;  ///< "CUDA events, L2 flushed" or "CUDA graph of 64 launches over ..."
  double median_s() const;
};

/// Copies of operands of `footprint` bytes that together are at least twice the L2, so that a launch finds
/// none of its own in it; at most 1024.
int cold_slots(const DeviceInfo& device, std::size_t footprint);

/// Times launches on a stream of its own.
///
/// By events: flush the L2 (overwrite a buffer of 4 times its size, at least 256 MiB, which also keeps the
/// GPU busy while the host enqueues), event, launch, event. Work shorter than 20 us that has slots enough to
/// be cold without a flush is timed as a CUDA graph of many launches over rotating operands, divided by their
/// number: an event pair costs 1 to 2 us, which would be a fifth of such a kernel. Samples taken while the
/// board was slowed by heat or by a power brake are dropped, with a line on stderr.
class Timer {
 public:
  /// @param board  may be null: nothing is dropped then
  Timer(const DeviceInfo& device, const BoardSampler* board);

  Measured time(const Launch& launch, const TimingOptions& options = {});
  cudaStream_t stream() const { return stream_.get(); }

 private:
  struct Window;
  double first_estimate(const Launch& launch, const TimingOptions& options);
  void sample_events(const Launch& launch, const TimingOptions& options, int batch, Window* window);
  void sample_graph(const Launch& launch, const TimingOptions& options, int launches, Window* window);
  bool enough(const Window& window, const TimingOptions& options) const;
  void keep_or_drop(const std::vector<double>& batch, double begin, Window* window) const;

  DeviceInfo device_;
  const BoardSampler* board_;
  Stream stream_;
  DeviceBuffer flush_;
  std::vector<Event> begins_, ends_;
};

}  // namespace orrery::kernels
