#pragma once

#include <optional>
#include <string>

#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/measurement_files.hpp"

namespace orrery {

/// The parameters of kernel_power from the rows of one GPU that say what the board drew (`power_w`):
/// products, attention and memory-bound kernels at the share of the peak and of the bandwidth that their
/// measured time means. Least squares of ln(predicted / measured) over all of them. Nothing with fewer than
/// six such rows.
std::optional<PowerFit> fit_power(const DeviceSpec& device, const MeasurementSet& measurements);

}  // namespace orrery
