#pragma once

#include <span>
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
  bool launch = true;      ///< short rows
  bool tail = true;        ///< few heads
};

/// Takes the module's time off rows of a serving framework (measurements.hpp): 10 us as the tables' note
/// says, and the write of keys and values into a cache, `cache_passes` times their bytes at the full memory
/// bandwidth, which is fitted here together with a trial set of parameters. Rows of which less than a fifth
/// would remain are dropped.
struct AttentionRows {
  std::vector<MeasuredAttention> rows;
  double cache_passes = 0.0;
};
AttentionRows kernel_times(const DeviceSpec& device, std::span<const AttentionMeasurement> measurements,
                           const AttentionParameters& start, const AttentionFreedom& freedom);

/// Parameters of attention_pieces fitted to rows of one device and kernel, from `start`.
AttentionParameters fit_attention_parameters(const DeviceSpec& device,
                                             std::span<const MeasuredAttention> rows,
                                             const AttentionParameters& start,
                                             const AttentionFreedom& freedom);

/// Fits and cross-validates: the rows of each sequence length (and pass) are predicted by what the others
/// taught; with three lengths or fewer, each number of heads. Errors are those of the table's times.
/// @param forward, backward receive the cross-validated errors of the passes
AttentionFit fit_attention(const DeviceSpec& device, AttentionKernel kernel,
                           std::vector<MeasuredAttention> rows, const AttentionParameters& start,
                           const AttentionFreedom& freedom, Source source, FitError& forward,
                           FitError& backward);

}  // namespace orrery
