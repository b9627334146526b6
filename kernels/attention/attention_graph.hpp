#pragma once

#include <cudnn.h>

#include "kernels/attention/attention_case.hpp"
#include "kernels/cudnn/operation_graph.hpp"

namespace orrery::kernels {

/// The operation graph of one attention call and the ids of its tensors in memory (0: not part of this pass).
///
/// The composite form: products, scale, mask, softmax as single operations, which cuDNN's flash engines
/// recognise as a pattern and run as one kernel (backward: a few). The single SDPA operation of cuDNN 9.13
/// and later has no attribute for a mask in 9.19, so it cannot say "causal"; all shapes take the same road
/// here. Facts of the pattern (order of operations, K and V given transposed, the fp32 row sums and the fp32
/// accumulator of dQ in memory) are those of NVIDIA's open-source cudnn-frontend,
/// docs/operations/Attention.md.
struct AttentionGraph {
  OperationGraph graph;
  TensorId q = 0, k = 0, v = 0, o = 0, statistics = 0;
  TensorId output_gradient = 0, q_gradient = 0, k_gradient = 0, v_gradient = 0;
  TensorId row_sums = 0;       ///< fp32, one a row: sum of dO * O
  TensorId q_accumulator = 0;  ///< fp32 [batch, heads, seq, head_dim], packed; cuDNN < 9.6 needs it zeroed
};

/// O = softmax(mask(Q K^T / sqrt(head_dim))) V and the statistics (log of the row's sum of exponentials).
AttentionGraph attention_forward_graph(const AttentionCase& shape, AttentionLayout layout);

/// dQ, dK, dV from Q, K, V, O, dO and the statistics; the scores are computed again. With fewer key heads
/// than query heads dK and dV are summed over each group.
AttentionGraph attention_backward_graph(const AttentionCase& shape, AttentionLayout layout);

cudnnDataType_t cudnn_type(Element element);

}  // namespace orrery::kernels
