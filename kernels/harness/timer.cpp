#include "kernels/harness/timer.hpp"

#include <algorithm>
#include <cstdio>

#include "kernels/harness/device_data.hpp"
#include "kernels/harness/statistics.hpp"
#include "kernels/harness/throttle.hpp"

namespace orrery::kernels {
namespace {

constexpr double kShortKernel = 20e-6;
constexpr int kSamplesPerBatch = 10;
constexpr int kMostSlots = 1024;
constexpr std::size_t kLeastFlush = std::size_t{256} << 20;

/// Launches in one graph: every slot equally often, 32 at least so that the graph's own start (some us) is
/// lost in them.
int launches_per_graph(int slots) { return slots * ((31 + slots) / slots); }

}  // namespace

/// What one call of time() has gathered so far.
struct Timer::Window {
  std::vector<double> samples;
  double begin = 0;           ///< steady_seconds() when sampling began
  std::vector<double> spans;  ///< begin and end of each kept batch
  std::size_t taken = 0;      ///< kept and dropped
  std::uint64_t drop_reasons = 0;
};

double Measured::median_s() const { return median(samples_s); }

int cold_slots(const DeviceInfo& device, std::size_t footprint) {
  if (footprint == 0) return 1;
  // One more than fill twice the L2: the slot about to be used must not count among those that evicted it.
  const std::size_t slots = 2 * device.l2_bytes / footprint + 2;
  return static_cast<int>(std::min<std::size_t>(slots, kMostSlots));
}

Timer::Timer(const DeviceInfo& device, const BoardSampler* board)
    : device_(device),
      board_(board),
      flush_(std::max(4 * device.l2_bytes, kLeastFlush)),
      begins_(kSamplesPerBatch),
      ends_(kSamplesPerBatch) {}

double Timer::first_estimate(const Launch& launch, const TimingOptions& options) {
  for (int i = 0; i < std::max(options.warmup, 1); ++i) launch(stream(), i % options.slots);
  stream_.wait();
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) {
    overwrite(flush_, stream());
    begins_[0].record(stream());
    launch(stream(), i % options.slots);
    ends_[0].record(stream());
    stream_.wait();
    times.push_back(ends_[0].seconds_since(begins_[0]));
  }
  return median(times);
}

bool Timer::enough(const Window& window, const TimingOptions& options) const {
  const double elapsed = steady_seconds() - window.begin;
  const auto taken = static_cast<int>(window.taken);
  if (taken >= options.most_repeats) return true;
  if (elapsed >= options.limit_s && taken >= 3) return true;
  return taken >= options.repeats && elapsed >= options.seconds;
}

void Timer::keep_or_drop(const std::vector<double>& batch, double begin, Window* window) const {
  const double end = steady_seconds();
  window->taken += batch.size();
  const std::uint64_t reasons = board_ == nullptr ? 0 : board_->reasons_between(begin, end);
  if (discards_samples(reasons)) {
    window->drop_reasons |= reasons;
    return;
  }
  window->samples.insert(window->samples.end(), batch.begin(), batch.end());
  window->spans.push_back(begin);
  window->spans.push_back(end);
}

void Timer::sample_events(const Launch& launch, const TimingOptions& options, int batch, Window* window) {
  int slot = 0;
  while (!enough(*window, options)) {
    const double begin = steady_seconds();
    const int count = std::min<int>(batch, options.most_repeats - static_cast<int>(window->taken));
    for (int i = 0; i < count; ++i) {
      if (options.flush_l2) overwrite(flush_, stream());
      begins_[i].record(stream());
      launch(stream(), slot++ % options.slots);
      ends_[i].record(stream());
    }
    stream_.wait();
    std::vector<double> times;
    times.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) times.push_back(ends_[i].seconds_since(begins_[i]));
    keep_or_drop(times, begin, window);
  }
}

void Timer::sample_graph(const Launch& launch, const TimingOptions& options, int launches, Window* window) {
  const Graph graph(stream(), [&](cudaStream_t stream) {
    for (int i = 0; i < launches; ++i) launch(stream, i % options.slots);
  });
  graph.launch(stream());  // uploads the graph: not a sample
  stream_.wait();
  window->begin = steady_seconds();
  while (!enough(*window, options)) {
    const double begin = steady_seconds();
    begins_[0].record(stream());
    graph.launch(stream());
    ends_[0].record(stream());
    stream_.wait();
    keep_or_drop({ends_[0].seconds_since(begins_[0]) / launches}, begin, window);
  }
}

Measured Timer::time(const Launch& launch, const TimingOptions& options) {
  cuda_check(cudaSetDevice(device_.index));
  const double estimate = first_estimate(launch, options);
  Measured result;
  Window window;
  window.begin = steady_seconds();
  if (options.slots > 1 && estimate < kShortKernel) {
    const int launches = launches_per_graph(options.slots);
    sample_graph(launch, options, launches, &window);
    result.timing = "CUDA graph of " + std::to_string(launches) + " launches over " +
                    std::to_string(options.slots) + " copies of the operands, time a launch";
  } else {
    // Long kernels are sampled one by one, so that the time limit is met.
    const bool long_kernel = estimate * kSamplesPerBatch > options.limit_s / 4;
    sample_events(launch, options, long_kernel ? 1 : kSamplesPerBatch, &window);
    result.timing = options.flush_l2 ? "CUDA events, L2 flushed" : "CUDA events, L2 as it was left";
  }
  if (window.drop_reasons != 0) {
    std::fprintf(stderr, "dropped %zu of %zu samples: throttled (%s)\n", window.taken - window.samples.size(),
                 window.taken, discard_reason_text(window.drop_reasons).c_str());
  }
  result.samples_s = std::move(window.samples);
  if (board_ != nullptr && !window.spans.empty()) {
    result.board = board_->between(window.spans.front(), window.spans.back());
  }
  return result;
}

}  // namespace orrery::kernels
