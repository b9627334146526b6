#pragma once

#include <cudnn.h>

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/attention/attention_case.hpp"
#include "kernels/attention/attention_graph.hpp"
#include "kernels/attention/reference.cuh"
#include "kernels/cudnn/execution_plan.hpp"
#include "kernels/harness/cuda.hpp"

namespace orrery::kernels {

/// A handle of the loaded cuDNN on the current device.
class CudnnHandle {
 public:
  CudnnHandle() { require_cudnn(cudnnCreate(&handle_), "cudnnCreate"); }
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  ~CudnnHandle() { cudnnDestroy(handle_); }
  cudnnHandle_t get() const { return handle_; }
  void use(cudaStream_t stream) const { require_cudnn(cudnnSetStream(handle_, stream), "cudnnSetStream"); }

 private:
  cudnnHandle_t handle_ = nullptr;
};

/// Why the loaded cuDNN is known to give wrong results for a shape, or nothing. Its refusals are its own;
/// these are the cases in which it would not refuse. Source: the version checks of NVIDIA's cudnn-frontend
/// (SDPA nodes).
std::string known_fault(const AttentionCase& shape, std::size_t cudnn_version);

/// One attention call with operands of random numbers, its plan and its workspace. A backward call runs the
/// forward once when it is made, for O and the statistics.
class AttentionCall {
 public:
  /// @throws CudnnError when cuDNN has no engine for the shape
  AttentionCall(const CudnnHandle& handle, const AttentionCase& shape, AttentionLayout layout,
                std::uint64_t seed, cudaStream_t stream);
  /// The forward call's backward, on the same operands: saves a second making of the forward's plan, which
  /// takes half a second of compiling. After an exception the call is of no use.
  void become_backward(cudaStream_t stream);

  const AttentionCase& shape() const { return shape_; }
  void launch(cudaStream_t stream);
  const std::string& engine() const { return plan_->engine(); }
  /// Runs once and compares every output with plain attention. @throws CheckFailed
  void check(cudaStream_t stream);

 private:
  void make_forward();
  void make_backward();

  const CudnnHandle& handle_;
  AttentionCase shape_;
  AttentionLayout layout_;
  std::uint64_t seed_;
  DeviceBuffer q_, k_, v_, o_, statistics_;
  DeviceBuffer output_gradient_, q_gradient_, k_gradient_, v_gradient_, row_sums_, q_accumulator_;
  DeviceBuffer workspace_;
  std::optional<ExecutionPlan> plan_;
};

}  // namespace orrery::kernels
