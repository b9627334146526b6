#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

/// Which parameters a table can tell; the others keep the value that they start with.
struct AttentionFreedom {
  bool ramp = true;        ///< several sequence lengths
  bool full_ramp = false;  ///< causal and full rows
  bool narrow = false;     ///< head sizes below 128
  bool wide = false;       ///< head size 192
  bool backward = false;   ///< backward rows
  bool throttle = false;   ///< sustained loops of calls longer than 10 ms
  bool launch = true;      ///< short rows
  bool tail = true;        ///< few heads
};

/// Kernel times of a table: what its rows hold beside the kernel is fitted together with a trial set of
/// parameters and taken off.
///
/// Modules of a serving framework (measurements.hpp): 10 us as the tables' note says, the write of keys and
/// values into a cache as passes over their bytes at the full memory bandwidth, and a time a position where
/// no heads share keys (vLLM's module takes 4 to 8 ns longer then, whatever the number and size of the
/// heads). Loops of a training framework: the host's start of a call, forward and backward (SimuMax: about
/// 55 and 15 us, on A100 and B200 alike, whatever the shape). Rows of our own format: nothing. Rows of which
/// less than a fifth would remain are dropped, and windows, whose times follow from the causal kernel's.
struct AttentionRows {
  std::vector<MeasuredAttention> rows;
  std::string taken_off;  ///< for the profile's source; empty: nothing
};
AttentionRows kernel_times(const DeviceSpec& device, std::span<const AttentionMeasurement> measurements,
                           const AttentionParameters& start, const AttentionFreedom& freedom);

/// Parameters of attention_pieces fitted to rows of one device and kernel, from `start`.
AttentionParameters fit_attention_parameters(const DeviceSpec& device,
                                             std::span<const MeasuredAttention> rows,
                                             const AttentionParameters& start,
                                             const AttentionFreedom& freedom);

/// Rows that are left out together have one number: their sequence length, or batch times heads where the
/// table has three lengths or fewer.
std::vector<std::int64_t> attention_families(std::span<const MeasuredAttention> rows);

/// Fits and cross-validates: the rows of each family (and pass) are predicted by what the others taught.
/// Errors are those of the table's times.
/// @param forward, backward receive the cross-validated errors of the passes
AttentionFit fit_attention(const DeviceSpec& device, AttentionKernel kernel,
                           std::vector<MeasuredAttention> rows, const AttentionParameters& start,
                           const AttentionFreedom& freedom, Source source, FitError& forward,
                           FitError& backward);

}  // namespace orrery
