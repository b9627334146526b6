#pragma once

#include <cuda_runtime.h>

#include "kernels/attention/attention_case.hpp"
#include "kernels/harness/cuda.hpp"

namespace orrery::kernels {

/// What the plain attention computes, in fp32, at the same offsets as the 16-bit tensors of the layout; the
/// statistics packed [batch, heads, position].
struct AttentionReference {
  DeviceBuffer o, statistics;
  DeviceBuffer q_gradient, k_gradient, v_gradient;  ///< of the backward only

  explicit AttentionReference(const AttentionCase& shape);
};

/// 16-bit operands on the GPU.
struct AttentionOperands {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  const void* output_gradient = nullptr;  ///< backward
};

/// Plain attention: one block a row, sums in fp32, no tiling; forward, and the gradients if shape.backward.
/// For checks: the scores of a row are kept in shared memory, so seq_length is at most 8192.
void run_attention_reference(const AttentionCase& shape, AttentionLayout layout,
                             const AttentionOperands& operands, const AttentionReference& reference,
                             cudaStream_t stream);

}  // namespace orrery::kernels
