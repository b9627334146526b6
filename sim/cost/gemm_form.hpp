#pragma once

#include <array>

#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What the time of a matrix product depends on beside shape and device. Ratios have no unit.
struct GemmParameters {
  double efficiency = 1.0;    ///< of the peak, in full waves of the largest tile with a long inner dimension
  double feed = 0.0;          ///< seconds in which an SM takes in a byte of operand; 0 takes none
  double ramp = 0.0;          ///< elements of k that filling and draining a tile's pipeline costs
  double quantisation = 1.0;  ///< share of a partly filled last wave that is lost: 1 rounds up, 0 does not
  double memory = 1.0;        ///< achieved share of the memory bandwidth
  double contention = 0.0;    ///< 1/p of the p-norm of times that overlap: 0 the longer one, 1 their sum
  Seconds launch;             ///< fixed time of a call
  Seconds split_launch;       ///< fixed time of a split of k: the reduction's start
  Seconds quantize_launch;    ///< fixed time of the quantise that comes before the product
  double quantize_memory =
      1.0;  ///< achieved share of the bandwidth when operands are quantised before the product
  double misaligned = 1.0;  ///< factor on the efficiency when a row of an operand is no multiple of 16 bytes
  double misaligned_batched = 1.0;  ///< the same for batched products
  bool square_tiles = false;        ///< 256 x 256 tiles exist (two SMs work on one tile from Blackwell on)
};

/// Time of two activities that overlap but get in each other's way: (a^p + b^p)^(1/p), p = 1 / contention.
/// The longer one at 0, the sum at 1; never decreases with either.
Seconds overlapped(Seconds a, Seconds b, double contention);

/// Pieces of a product's time. Compute and memory overlap; launch and quantise do not.
struct GemmPieces {
  Seconds launch, compute, memory, quantize;
  double contention = 0.0;  ///< as in GemmParameters
  Seconds total() const { return launch + overlapped(compute, memory, contention) + quantize; }
};

/// What an element of k costs in a tile of each kind, by how the operands are aligned; 0: not worked out yet.
/// Holds for one set of parameters, device, clock and precision.
struct TileTimes {
  static constexpr size_t kTiles = 7;
  std::array<std::array<double, kTiles>, 3> of_tile{};  ///< seconds
};

/// Time of C = A B (`batch` times) on an idle GPU, with a (+) b for overlapped(a, b, contention):
///
///   T = launch + (compute (+) memory) + quantize
///   compute = min over tiles tm x tn and splits s of k:
///     wave(w) (mma (+) feed) (k_s + ramp) + reduction_s,   w = tiles s / SMs
///     mma = 2 tm tn SMs / (peak efficiency),   feed = (tm + tn) operand bytes x seconds a byte
///     wave(w) = q ceil(w) + (1-q) max(w, 1),   k_s = max(k/s, 512)
///   tiles = batch ceil(m/tm) ceil(n/tn)
///   memory = batch ((mk + kn) operand bytes + mn output bytes) / (bandwidth share)
///   quantize = quantize_launch + activations mk read in 2 bytes and written in the operand's width
///
/// Tiles 256x128, 128x256, 128x128, 128x64, 64x128, 64x64 (and 256x256 where they exist); splits 1, 2, 4, 8
/// of k while the tiles do not fill the SMs; a split starts a reduction (split_launch) that writes and reads
/// its fp32 partial sums once. The feed is what makes small tiles slow (they load more bytes a FLOP) and what
/// keeps a few SMs from drawing the whole bandwidth. A grouped product is one kernel over `batch` groups:
/// they share the waves, each reads its own kn weights once and ends in a partly filled row of tiles, all of
/// them with the mean number of rows m. Never decreases with m, n, k or batch. Sources: tile and wave
/// quantisation as in NVIDIA's matrix multiplication guide; the feed is the roofline of the level above
/// (Williams et al. 2009, applied to an SM's loads); the p-norm is the usual smooth roofline. The rest is
/// derived here and judged by the fits in calibration/kernels.
///
/// @param clock factor on the peak: sustained clock over the clock of a burst
/// @param known what products before this one have worked out; filled
/// @throws std::invalid_argument if a dimension is below 1 or the device has no peak for the precision
GemmPieces gemm_pieces(const GemmParameters& parameters, const DeviceSpec& device, const GemmShape& shape,
                       double clock = 1.0, TileTimes* known = nullptr);

/// True if k or n times the operand's width is no multiple of 16 bytes, the alignment of tensor core loads.
bool misaligned(const GemmShape& shape);

/// The device's peak for a precision.
/// @throws std::invalid_argument naming device and precision, and what the device has, if there is none
FlopsPerSecond require_peak(const DeviceSpec& device, Precision precision);

}  // namespace orrery
