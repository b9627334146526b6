#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/harness/cuda.hpp"
#include "kernels/harness/device_data.hpp"
#include "kernels/harness/element.hpp"
#include "kernels/harness/reference.hpp"
#include "kernels/memory_bound/traffic.hpp"

namespace orrery::kernels {

/// One array of an operator in `slots` copies, each aligned to 256 bytes: a timed launch works on the next
/// copy, so that short kernels find nothing of their own in the L2.
class SlotArray {
 public:
  SlotArray(Element element, std::size_t count, int slots);

  template <typename T>
  T* as(int slot) const {
    return reinterpret_cast<T*>(buffer_.at(static_cast<std::size_t>(slot) * stride_));
  }
  std::size_t count() const { return count_; }
  /// Normal numbers times `deviation`, other ones in every copy.
  void fill(std::uint64_t seed, cudaStream_t stream, float deviation = 1.0F) const;
  void zero(cudaStream_t stream) const;
  /// The elements of copy 0 as doubles. Waits for the device.
  std::vector<double> host() const { return host_values(buffer_.data(), element_, count_); }

 private:
  Element element_;
  std::size_t count_;
  int slots_;
  std::size_t stride_;
  DeviceBuffer buffer_;
};

/// What an operator is made with.
struct OperationSetup {
  OperatorShape shape;
  int slots = 1;
  std::uint64_t seed = 1;
  cudaStream_t stream = nullptr;
  int sms = 1;

  std::size_t elements() const { return static_cast<std::size_t>(shape.rows * shape.columns); }
};

/// One pass of one memory-bound operator on one shape: its arrays, its launch and its reference.
class Operation {
 public:
  virtual ~Operation() = default;
  /// Enqueues the operator once on copy `slot` of its arrays.
  virtual void launch(cudaStream_t stream, int slot) = 0;
  /// Runs once on copy 0 and compares every output with a plain computation in double precision on the host.
  /// @throws CheckFailed
  virtual void check(cudaStream_t stream) = 0;
  /// Kernels that one launch enqueues.
  virtual int launches() const { return 1; }
};

/// An operator of the benchmark: its name and pass in traffic.hpp, and how it is made.
struct OperatorEntry {
  std::string_view name;
  bool backward = false;
  std::function<std::unique_ptr<Operation>(const OperationSetup&)> make;
};

template <typename T>
OperatorEntry operator_entry(std::string_view name, bool backward) {
  return {name, backward, [](const OperationSetup& setup) { return std::make_unique<T>(setup); }};
}

/// The operators of each .cu file, put together by memory_bound.cu.
std::vector<OperatorEntry> streaming_operators();
std::vector<OperatorEntry> row_operators();
std::vector<OperatorEntry> norm_operators();
std::vector<OperatorEntry> quantize_operators();
std::vector<OperatorEntry> optimizer_operators();
std::vector<OperatorEntry> indexed_operators();

/// What a bf16 result may differ by from the double-precision one on the same inputs: one rounding of the
/// result (2^-8 relative, as round_off counts it), and `size` times 2^-14 for sums and fast exponentials in
/// fp32.
inline Tolerance bf16_tolerance(double size = 1.0) { return {size * 0x1p-14, round_off(Element::bf16)}; }

}  // namespace orrery::kernels
