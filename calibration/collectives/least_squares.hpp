#pragma once

#include <functional>
#include <span>
#include <vector>

namespace orrery {

/// One parameter of a fit: where it starts and between which bounds it stays.
struct FitParameter {
  double start = 0;
  double least = 0;
  double most = 0;
};

/// Fills the residuals for these parameters.
using ResidualFunction = std::function<void(std::span<const double> parameters, std::span<double> residuals)>;

/// Bounded robust least squares (Levenberg-Marquardt of Ceres, numeric derivatives, one thread: the same
/// bytes every time). The first `robust` residuals are damped beyond 1 (Huber); the rest, priors, are not.
std::vector<double> robust_least_squares(std::span<const FitParameter> parameters, size_t robust,
                                         size_t residuals, const ResidualFunction& function);

}  // namespace orrery
