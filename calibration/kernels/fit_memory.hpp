#pragma once

#include <span>
#include <string>

#include "calibration/kernels/kernel_profile.hpp"

namespace orrery {

/// Memory-bound kernels of a GPU from memory_rates.json: the geometric mean of the achieved shares measured
/// on its architecture (and the constant for any GPU where fewer than two were), the constant's launch,
/// gathers as given.
/// @param devices  reference devices, for the architecture and bandwidth of the measured GPUs
/// @throws InputError if the file cannot be read
MemoryFit fit_memory(const DeviceSpec& device, std::span<const DeviceSpec> devices,
                     const std::string& rates_path);

}  // namespace orrery
