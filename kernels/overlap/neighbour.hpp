#pragma once

#include <memory>

#include "kernels/harness/cuda.hpp"
#include "kernels/harness/device.hpp"
#include "kernels/harness/record.hpp"

namespace orrery::kernels {

/// Work that runs on the GPU beside what is measured, on a stream of its own.
class Neighbour {
 public:
  virtual ~Neighbour() = default;
  /// Returns once the work runs. Until stop(), nothing may be allocated or freed on the device: that would
  /// wait for the neighbour, which waits for stop().
  virtual void start() = 0;
  virtual void stop() = 0;
  /// The `beside` object of the line: op, blocks, and what it moved a second. After stop().
  virtual Record description() const = 0;
};

/// A copy kernel that holds so many SMs and copies between two buffers of device memory until it is stopped.
std::unique_ptr<Neighbour> copy_neighbour(const DeviceInfo& device, int blocks);

/// Checks the copy kernel: all bytes arrive, and each block has an SM for itself. @throws CheckFailed
void check_copy_neighbour(const DeviceInfo& device, int blocks);

/// All-reduces of 256 MiB over all GPUs of the machine, one after the other, with so many NCCL blocks a GPU.
std::unique_ptr<Neighbour> all_reduce_neighbour(int gpus, int blocks);

}  // namespace orrery::kernels
