#pragma once

#include <functional>
#include <span>
#include <vector>

namespace orrery {

/// One parameter of a fit: where the search starts and between which bounds it stays.
struct FitParameter {
  double start = 0.0;
  double least = 0.0, most = 0.0;
};

/// Residual number `index` under a set of parameters, in standard deviations. What is not finite ends the
/// search there.
using Residual = std::function<double(std::span<const double> parameters, size_t index)>;

/// How Huber's loss enters the search: as a weight on each step (Ceres's loss functions), or as a residual
/// whose square is the loss. Both have the same minimum; the steps, and so the last digits, differ.
enum class HuberForm { weight, square_root };

struct LeastSquaresOptions {
  HuberForm form = HuberForm::square_root;
  double huber = 1.0;       ///< robust residuals beyond this count linearly (Huber's loss)
  double step = 1e-4;       ///< of the numeric (central) derivatives, relative to the parameter
  double tolerance = 1e-6;  ///< the search ends when a step lowers the cost by less than this part of it
};

struct LeastSquaresFit {
  std::vector<double> values;  ///< of the parameters
  double cost = 0.0;           ///< half the sum of squares, losses applied; infinite if the search failed
};

/// Bounded robust least squares: Levenberg-Marquardt of Ceres, numeric derivatives, at most 60 steps, on one
/// thread: the same bytes every time. The first `robust` residuals count with Huber's loss, the rest (priors)
/// with their squares.
LeastSquaresFit robust_least_squares(std::span<const FitParameter> parameters, size_t robust,
                                     size_t residuals, const Residual& residual,
                                     const LeastSquaresOptions& options = {});

/// To so many significant decimal digits, so that a profile's text does not depend on the last bits of a fit.
double rounded(double value, int digits);

}  // namespace orrery
