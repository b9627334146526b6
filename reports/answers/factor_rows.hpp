#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "calibration/stacks/stack_profile.hpp"
#include "reports/answers/validate.hpp"

namespace orrery {

/// A measured run along the factors: what the fits of stacks and sites learn from.
struct LinearisedRun {
  FactorRow row;
  double spread = 0;           ///< sd of ln(predicted) that kernels and collectives leave
  double residual = 0;         ///< ln(measured / predicted) where the slopes were taken
  int nodes = 1;               ///< of its cluster
  std::string kernel_profile;  ///< hash of the profile that its kernels' times come from
};

/// Predicts a run with the closed form and again with each factor a fifth larger and smaller. Nothing where
/// the run is refused.
/// @param at factors, on top of the tier's, around which the slopes are taken
std::optional<LinearisedRun> linearise(const RunRecord& run, const PredictOptions& options, const Factors& at,
                                       CalibrationStore& calibrations);

/// ln(measured / predicted) of a run; nothing where it is refused.
std::optional<double> residual_of(const RunRecord& run, const PredictOptions& options, const Factors& at,
                                  CalibrationStore& calibrations);

/// Equal for runs of one experiment, written out in full, whatever they are called and took. The run must
/// read well.
/// @throws InputError
std::string configuration_of(const RunRecord& run);

/// Calls `work` once for every number below `count`, on so many threads.
void for_each_number(size_t count, int threads, const std::function<void(size_t)>& work);

}  // namespace orrery
