#include <cstring>
#include <set>
#include <thread>

#include "kernels/harness/board.hpp"
#include "kernels/harness/device_data.hpp"
#include "kernels/harness/reference.hpp"
#include "kernels/overlap/hold_kernel.hpp"
#include "kernels/overlap/hold_plan.hpp"
#include "kernels/overlap/neighbour.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kBytesABlock = std::size_t{16} << 20;  // all blocks together more than the L2

class CopyNeighbour : public Neighbour {
 public:
  CopyNeighbour(const DeviceInfo& device, int blocks)
      : plan_(plan_for(device, blocks)),
        in_(plan_.buffer_bytes()),
        out_(plan_.buffer_bytes()),
        shared_(sizeof(HoldState)) {
    fill_bytes(in_.as<std::uint8_t>(), in_.bytes(), 7, 0, 255, stream_.get());
    cuda_check(cudaMemsetAsync(out_.data(), 0, out_.bytes(), stream_.get()));
    cuda_check(allow_hold(plan_.shared_bytes));
    stream_.wait();
  }
  ~CopyNeighbour() override {
    if (running_) state().stop = 1;
    cudaStreamSynchronize(stream_.get());
  }

  void start() override {
    std::memset(shared_.data(), 0, sizeof(HoldState));
    begin_s_ = steady_seconds();
    running_ = true;
    cuda_check(launch_hold(out_.as<float4>(), in_.as<float4>(), plan_.vectors_a_block, plan_.blocks,
                           plan_.shared_bytes, &state(), stream_.get()));
    const volatile int* running = &state().running;
    while (*running < plan_.blocks) {
      if (steady_seconds() - begin_s_ > 5.0) {
        throw DeviceError("the copy kernel's blocks do not all start: found " + std::to_string(*running) +
                          ", expected " + std::to_string(plan_.blocks));
      }
      std::this_thread::yield();
    }
  }

  void stop() override {
    *static_cast<volatile int*>(&state().stop) = 1;
    stream_.wait();
    running_ = false;
    seconds_ = steady_seconds() - begin_s_;
  }

  Record description() const override {
    double passes = 0;
    for (int block = 0; block < plan_.blocks; ++block) passes += static_cast<double>(state().passes[block]);
    const double moved = passes * static_cast<double>(plan_.vectors_a_block) * 16;
    Record beside;
    beside.set("op", "copy").set("blocks", plan_.blocks).set("copied_bytes_per_s", moved / seconds_);
    return beside;
  }

  void check() {
    start();
    stop();
    if (in_.to_host() != out_.to_host()) throw CheckFailed("copy kernel: other bytes arrived than were sent");
    std::set<unsigned int> sms;
    for (int block = 0; block < plan_.blocks; ++block) sms.insert(state().sm[block]);
    if (static_cast<int>(sms.size()) != plan_.blocks) {
      throw CheckFailed("copy kernel: " + std::to_string(plan_.blocks) + " blocks are on " +
                        std::to_string(sms.size()) + " SMs, expected one each");
    }
  }

 private:
  static HoldPlan plan_for(const DeviceInfo& device, int blocks) {
    int shared_sm = 0;
    cuda_check(cudaDeviceGetAttribute(&shared_sm, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device.index));
    if (blocks > kMostHeldSms) throw DeviceError("the copy kernel holds at most 256 SMs");
    return hold_plan(blocks, device.sms, device.shared_bytes_per_block, static_cast<std::size_t>(shared_sm),
                     kBytesABlock);
  }
  HoldState& state() const { return *static_cast<HoldState*>(shared_.data()); }

  HoldPlan plan_;
  Stream stream_;
  DeviceBuffer in_, out_;
  PinnedBuffer shared_;
  bool running_ = false;
  double begin_s_ = 0, seconds_ = 1;
};

}  // namespace

std::unique_ptr<Neighbour> copy_neighbour(const DeviceInfo& device, int blocks) {
  return std::make_unique<CopyNeighbour>(device, blocks);
}

void check_copy_neighbour(const DeviceInfo& device, int blocks) { CopyNeighbour(device, blocks).check(); }

}  // namespace orrery::kernels
