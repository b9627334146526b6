#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "kernels/collectives/nccl.hpp"
#include "kernels/harness/board.hpp"
#include "kernels/harness/device_data.hpp"
#include "kernels/overlap/neighbour.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kElements = std::size_t{64} << 20;  // 256 MiB of fp32: about a millisecond over NVLink
constexpr int kQueued = 4;                                // so that the GPU never waits for the host

/// What one GPU needs for its part; made and freed with that GPU current.
struct Part {
  Stream stream;
  DeviceBuffer data{kElements * sizeof(float)};
  std::vector<Event> done = std::vector<Event>(kQueued);
  ncclComm_t communicator = nullptr;
};

class AllReduceNeighbour : public Neighbour {
 public:
  AllReduceNeighbour(int gpus, int blocks) : blocks_(blocks) {
    cuda_check(cudaGetDevice(&home_));
    for (int gpu = 0; gpu < gpus; ++gpu) {
      cuda_check(cudaSetDevice(gpu));
      parts_.push_back(std::make_unique<Part>());
      // Zeros: sums that are added to themselves for minutes must not overflow, and the kernels' time is
      // theirs.
      cuda_check(cudaMemset(parts_.back()->data.data(), 0, parts_.back()->data.bytes()));
    }
    ncclUniqueId id;
    nccl_check(ncclGetUniqueId(&id));
    nccl_check(ncclGroupStart());
    for (int gpu = 0; gpu < gpus; ++gpu) {
      cuda_check(cudaSetDevice(gpu));
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.minCTAs = config.maxCTAs = blocks;
      nccl_check(ncclCommInitRankConfig(&parts_[static_cast<std::size_t>(gpu)]->communicator, gpus, id, gpu,
                                        &config));
    }
    nccl_check(ncclGroupEnd());
    for (int gpu = 0; gpu < gpus; ++gpu) {
      cuda_check(cudaSetDevice(gpu));
      settle();
    }
    all_reduce();  // connects the ranks
    wait();
    cuda_check(cudaSetDevice(home_));
  }

  ~AllReduceNeighbour() override {
    finish();
    for (std::size_t gpu = 0; gpu < parts_.size(); ++gpu) {
      cudaSetDevice(static_cast<int>(gpu));
      ncclCommDestroy(parts_[gpu]->communicator);
      parts_[gpu].reset();
    }
    cudaSetDevice(home_);
  }

  void start() override {
    stop_ = false;
    calls_ = 0;
    begin_s_ = steady_seconds();
    feeder_ = std::thread([this] {
      try {
        feed();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "all-reduce beside: %s\n", error.what());
        std::_Exit(1);  // the measuring thread waits for work that will not come; finished lines are on disk
      }
    });
    while (calls_ < kQueued) std::this_thread::yield();
  }

  void stop() override { finish(); }

  Record description() const override {
    const double bytes = static_cast<double>(calls_.load()) * kElements * sizeof(float);
    Record beside;
    beside.set("op", "all_reduce").set("blocks", blocks_).set("ranks", parts_.size());
    beside.set("algbw_bytes_per_s", bytes / seconds_);
    return beside;
  }

 private:
  void all_reduce() {
    nccl_check(ncclGroupStart());
    for (const auto& part : parts_) {
      nccl_check(ncclAllReduce(part->data.data(), part->data.data(), kElements, ncclFloat, ncclSum,
                               part->communicator, part->stream.get()));
    }
    nccl_check(ncclGroupEnd());
  }
  void wait() const {
    for (const auto& part : parts_) part->stream.wait();
  }
  void feed() {
    const Part& first = *parts_.front();
    cuda_check(cudaSetDevice(0));
    for (std::size_t call = 0; !stop_; ++call) {
      const Event& done = first.done[call % kQueued];
      if (call >= kQueued) done.wait();
      all_reduce();
      cuda_check(cudaSetDevice(0));
      done.record(first.stream.get());
      ++calls_;
    }
    wait();
  }
  void finish() {
    if (!feeder_.joinable()) return;
    stop_ = true;
    feeder_.join();
    seconds_ = steady_seconds() - begin_s_;
  }

  int blocks_;
  int home_ = 0;
  std::vector<std::unique_ptr<Part>> parts_;
  std::thread feeder_;
  std::atomic<bool> stop_{false};
  std::atomic<int> calls_{0};
  double begin_s_ = 0, seconds_ = 1;
};

}  // namespace

std::unique_ptr<Neighbour> all_reduce_neighbour(int gpus, int blocks) {
  return std::make_unique<AllReduceNeighbour>(gpus, blocks);
}

}  // namespace orrery::kernels
