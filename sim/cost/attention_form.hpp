#pragma once

#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What the time of a fused attention kernel depends on beside shape and device. Ratios have no unit.
struct AttentionParameters {
  double efficiency = 1.0;  ///< forward, of the peak, long sequences, head size 128
  double ramp = 0.0;        ///< causal sequence length at which half of it is reached
  double full_ramp = 0.0;   ///< the same without a causal mask, as a share of `ramp`
  double narrow = 0.0;      ///< exponent of head size / 128 below 128
  double wide = 1.0;        ///< factor at head size 192, geometric in between and beyond
  double tail = 0.0;  ///< causal: blocks of full length that the SMs idle through at the end, on average
  double quantisation = 0.5;   ///< without mask: share of a partly filled last wave that is lost
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
///   T = launch + max(F / (peak efficiency x/(x + ramp) head backward occupancy), bytes / (bandwidth share))
///   x = sqrt(seq_q seq_kv),   F = attention_flops (causal: half; backward: 2.5 times)
///   blocks = batch heads ceil(seq_q/128), one query tile each; occupancy = w / rounded(w)
///   full:   w = blocks / SMs,       rounded = q ceil(w) + (1-q) max(w, 1)
///   causal: w = blocks / (2 SMs),   rounded = max(w + tail, 1), both in blocks of full length: the first
///   query tile
///           sees one key tile, the last all of them, so blocks are half as long on average and nothing is
///           faster than the longest
///
/// The ramp is the diagonal: a causal kernel works through half-empty tiles there. Bytes are Q, K, V and the
/// output once; two and a half times as many backward. Fp16 and bf16 inputs; head sizes up to 256. Source:
/// form derived here and judged by the fits in calibration/kernels.
///
/// @param clock factor on the peak: sustained clock over the clock of a burst
/// @throws std::invalid_argument for an unfused shape (several kernels, built from batched products), a
/// dimension below 1, or a device without a peak for the precision
AttentionPieces attention_pieces(const AttentionParameters& parameters, const DeviceSpec& device,
                                 const AttentionShape& shape, double clock = 1.0);

}  // namespace orrery
