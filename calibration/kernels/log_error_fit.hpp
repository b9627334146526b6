#pragma once

#include <functional>
#include <span>
#include <vector>

namespace orrery {

/// A free parameter of a fit: where the search starts, where it may go, and what to believe without data.
struct FreeParameter {
  double least = 0.0, most = 1.0;
  double expected = 0.5;   ///< prior mean, and the start of the search
  double deviation = 1.0;  ///< prior standard deviation
};

/// ln(predicted / measured) of a row under a set of parameters.
using LogError = std::function<double(std::span<const double> parameters, size_t row)>;

/// The most likely parameters: independent rows with a standard deviation `noise` of the log error (Huber's
/// loss beyond 1.5 of it, so that a few odd rows do not bend the fit) and normal priors.
///
/// Deterministic: robust_least_squares from every start in order; the least cost wins, the first of equals.
/// The result is rounded to six significant digits.
/// @param starts further starts beside the prior's mean; each as long as `parameters`
/// @throws std::runtime_error if no start converges to a finite cost
std::vector<double> fit_log_errors(std::span<const FreeParameter> parameters, size_t rows,
                                   const LogError& log_error, double noise,
                                   const std::vector<std::vector<double>>& starts = {});

/// Covariance of the parameters at the optimum of such a fit: (J^T J)^-1 with J the derivatives (central
/// differences inside the bounds) of the log errors over `noise` and of the priors over their deviations;
/// rows beyond Huber's bound count by its weight. Symmetric, six significant digits, in the order and units
/// of `parameters`.
/// @param scales  factor from a parameter of the search to the unit it is reported in; empty: ones
std::vector<std::vector<double>> log_error_covariance(std::span<const FreeParameter> parameters, size_t rows,
                                                      const LogError& log_error, double noise,
                                                      std::span<const double> optimum,
                                                      std::span<const double> scales = {});

/// A number with six significant digits: what a profile writes.
double six_digits(double value);

}  // namespace orrery
