#pragma once

#include <optional>
#include <span>
#include <vector>

#include "calibration/kernels/kernel_profile.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

/// Parameters of gemm_pieces fitted to rows of one device, precision and campaign. `start` continues from
/// earlier ones. Square tiles are allowed from Blackwell on.
GemmParameters fit_gemm_parameters(const DeviceSpec& device, std::span<const MeasuredGemm> rows,
                                   const std::optional<GemmParameters>& start = std::nullopt);

/// Fits and cross-validates: each family of equal (n, k) is predicted, residuals included, by what the others
/// taught.
/// @param bf16  the device's products in bf16, null if unknown: one in 8 or 4 bits starts like them, and what
/// its
///              rows hold beyond that is the start of their quantise
/// @param error receives the cross-validated errors
GemmFit fit_gemm(const DeviceSpec& device, std::vector<MeasuredGemm> rows, Source source, const GemmFit* bf16,
                 FitError& error);

/// Cross-validated errors to a median, a 95th percentile and (returned) a robust standard deviation of
/// ln(time).
double summarize(const std::vector<double>& log_errors, FitError& error);

}  // namespace orrery
