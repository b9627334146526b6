#pragma once

#include <vector>

#include "sim/workload/operator.hpp"

namespace orrery {

/// The kernels of an attention that keeps its scores in memory, in the order of a step: batched products of
/// batch x heads and passes over the batch heads seq_q seq_kv scores. The mask (causal or window) comes with
/// the softmax, so products and passes are whole.
///
/// Forward:  scores Q K^T; fused scale, mask and softmax (read 1, write 1 score); dropout (read 1, write 1,
///           mask of a byte); values P V.
/// Backward: dP = dO V^T, dV = P^T dO; dropout (gradient 1, mask of a byte, write 1); softmax (gradient 1,
///           output 1, write 1); dQ = dS K, dK = dS^T Q. No score is computed again, so the backward has
///           twice the FLOPs of the forward: all products together have attention_flops.
/// Heads that share keys: K and V are copied to every head first, and the backward sums the gradients of the
/// copies.
///
/// Names are those of a model's unfused layers ("attention_scores", ...). Sources: Megatron-LM
/// megatron/model/transformer.py and fused_kernels of 2021 (baddbmm, fused scaled masked softmax, dropout,
/// bmm; the mask is half a pass in fp16); copies of shared heads as in Megatron-Core dot_product_attention.py
/// (repeat_interleave) and Hugging Face's repeat_kv.
///
/// @throws std::invalid_argument for a shape of another kernel or a dimension below 1
std::vector<Operator> unfused_attention(const AttentionShape& shape);

}  // namespace orrery
