#pragma once

#include <cstdint>

#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// Format of the kernels that parameters are fitted to: every table of attention was measured in it.
constexpr Precision kAttentionRows = Precision::bf16;

/// What the time of a fused attention kernel depends on beside shape and device. Ratios have no unit.
struct AttentionParameters {
  double efficiency = 1.0;  ///< forward, of the peak, long sequences, head size 128
  double ramp = 0.0;        ///< causal sequence length at which half of it is reached
  double full_ramp = 0.0;   ///< the same without a causal mask, as a share of `ramp`
  double narrow = 0.0;      ///< exponent of head size / 128 below 128
  double wide = 1.0;        ///< factor at head size 192, geometric in between and beyond
  double tail = 0.0;  ///< causal: blocks of full length that the SMs idle through at the end, on average
  double quantisation = 0.5;   ///< without mask: share of a partly filled last wave that is lost
  double throttle = 0.0;       ///< forward: share of the rate that a call much longer than 10 ms loses
  double backward = 1.0;       ///< rate of the backward over the rate of the forward
  double backward_wide = 1.0;  ///< `wide` of the backward
  double memory = 1.0;         ///< achieved share of the memory bandwidth
  Seconds launch;              ///< fixed time of a call
};

struct AttentionPieces {
  Seconds launch, compute, memory;
  Seconds total() const { return launch + max(compute, memory); }
};

/// Time of a fused attention call on an idle GPU:
///
///   T = launch + max(t / (1 - throttle t/(t + 10 ms)), bytes / (memory bandwidth))
///   t = span 128 (head + value size) 2 [backward: 2.5 / backward] / (peak efficiency head / SMs)
///
/// The span is what the SM with most to do works through, in keys of one tile of 128 query rows. With
/// w = batch heads ceil(seq_q/128) / SMs tiles an SM, k = attended_keys of a query and s = ramp/2 (causal) or
/// full_ramp ramp (full) keys that starting and ending a tile and the mask's edge cost:
///
///   full:   (k + s) (q ceil(w) + (1-q) max(w, 1))
///   causal: max(w (k + s) + tail n, n), n = keys of the longest tile, and no longer than full
///
/// A causal tile sees between one key tile and all of them; nothing is faster than the longest, and the SMs
/// run dry while the last are worked on. A window is whole key tiles and half a one for its far edge, or the
/// causal mask where that is less. Kernels exist for some head sizes only; others run as the next one. Bytes
/// are Q, K, V and the output once; two and a half times as many backward. Long calls reach the board's power
/// limit (seen in sustained loops only). Not modelled: deterministic backwards, splits of the keys over SMs
/// (decoding), caches that overflow. Source: form derived here and judged by the fits in calibration/kernels.
///
/// Kernels in 8 bits take the time t of 16 bits, from whose rows the parameters come, by what a pair of query
/// and key keeps busy: the matrix units, its one exponential (in the backward the softmax is made again), the
/// 128 lanes of fp32 for four operations on its score, and the bytes that go through shared memory for it.
/// None hides the others behind it wholly, nor stands wholly beside them; they add up as squares:
///
///   t(8) = t(16) m(8) / m(16),  m(b)^2 = (f / peak(b))^2 + (1 / exponentials)^2 + (8 FLOP / peak in fp32)^2
///                                        + (s(b) / shared memory bandwidth)^2
///   f = 2 (head + value size) [backward: x 2.5] FLOP
///   s = b/8 (2 head + value) / 128 B,  backward (b/8 (4 head + 3 value) + 8 head) / 128 + 2 b/8 B
///
/// so that both reach the same share of m, but for heads narrower than 128: what makes their 16
/// bits slow is not always what binds, so that this form gives them no longer than heads of 128 (what nearby
/// rows leave comes on top). Zadouri et al. 2026 (FlashAttention-4, arXiv 2603.05451) weigh the three in the
/// same way for a tile of 128 x 128 at head size 128 in 16 bits on a Blackwell SM, whose forward waits for
/// exponentials and whose backward waits for shared memory: 1024, 1024 and 768 clocks forward, 2560, 1024 and
/// 3328 backward. The squares were chosen by five ratios of cuDNN 9.19's forwards in FP8 over bf16 in
/// NVIDIA's tables (cudnn-frontend,
/// benchmark/sdpa_benchmark_training/results/{h200,gb200,gb300}_919_only_cudnn of 26 February 2026, causal,
/// 8192 to 32768 positions): heads of 128 on H200, GB200 and GB300 0.66, 0.79 and 0.66 where they give 0.64,
/// 0.76 and 0.66, of 192 / 128 on GB200 and GB300 0.70 and 0.61 where they give 0.70 and 0.61; the longest
/// alone gives 0.50, 1.00, 0.50, 0.80 and 0.50. From bf16 on GB200 to bf16 on GB300 they give 1.17 and 1.12
/// of the 1.16 and 1.13 measured. Q, K, V and the output are of one byte in global memory. cuDNN's backward
/// in 8 bits leaves nothing out for a window: of window 128, batch 2 and 128 heads of 64 it takes
/// 0.64, 2.07, 7.35 and 27.6 ms at 2048, 4096, 8192 and 16384 positions on GB200 in MXFP8, in bf16 0.23,
/// 0.46, 0.90 and 1.82 ms. Source: NVIDIA/cudnn-frontend, with cuDNN 9.26
/// benchmark/attention_training/results/gpt_oss/gb200/gpt_oss_20260824_051605.csv@49e2383e
/// and, FP8 alike, with cuDNN 9.19
/// benchmark/sdpa_benchmark_training/results/gb200_919_only_cudnn/gpt_oss_20260226_175022.csv@afa9f7c0
///
/// @param clock factor on the peak: sustained clock over the clock of a burst
/// @throws std::invalid_argument for an unfused shape (unfused_attention.hpp), a dimension below 1, or a
/// device without a peak for the precision
AttentionPieces attention_pieces(const AttentionParameters& parameters, const DeviceSpec& device,
                                 const AttentionShape& shape, double clock = 1.0);

/// Head size of the kernel that a call of head size `size` runs on, the rest filled with zeros. Sources:
/// flash-attention csrc/flash_attn/src/static_switch.h (flash2; head sizes of v1 in its README),
/// hopper/flash_api.cpp round_up_headdim (flash3); flash4 and cuDNN: multiples of 16 and 8 (assumed: what
/// their interfaces accept). Beyond the largest: multiples of 64.
std::int64_t kernel_head_size(AttentionKernel kernel, std::int64_t size);

}  // namespace orrery
