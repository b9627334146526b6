#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "calibration/kernels/held_out.hpp"
#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/kernel_rules.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

inline constexpr size_t kFewestMemoryRows = 6;  ///< for parameters of their own

/// Memory-bound kernels from published shares of the bandwidth (rows with `share`): the geometric mean of
/// those of the GPU's architecture (and the rules' constant for any GPU where there are fewer than two), the
/// rules' launch, and for kernels that move by an index the rules' ratio.
/// @param devices  for the architecture of the measured GPUs
MemoryFit fit_memory_shares(const DeviceSpec& device, std::span<const DeviceSpec> devices,
                            std::span<const MemoryMeasurement> rows, const MemoryRules& rules);

/// A kind of memory-bound kernel with rows of its own.
struct FittedMemoryKind {
  MemoryKind kind = MemoryKind::streaming;
  FitError error;  ///< cross-validated: whole kernels (of a kind with one kernel, whole sizes) left out
  HeldOut held_out;
};
struct FittedMemory {
  MemoryFit fit;
  std::vector<FittedMemoryKind> kinds;
};

/// Shares by kind and the launch from timed rows of this GPU, by least squares of the log error over all
/// sizes. A kind without rows takes streaming's share, one that moves by an index the rules' ratio of it;
/// without streaming rows the mean of the kinds that were measured in order, or `otherwise`. Nothing with
/// fewer than six rows.
std::optional<FittedMemory> fit_memory_rows(const DeviceSpec& device, std::span<const MemoryMeasurement> rows,
                                            const MemoryRules& rules, const MemoryFit& otherwise,
                                            std::uint64_t seed);

}  // namespace orrery
