#include "calibration/kernels/log_error_fit.hpp"

#include <limits>
#include <stdexcept>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {

std::vector<double> fit_log_errors(std::span<const FreeParameter> parameters, size_t rows,
                                   const LogError& log_error, double noise,
                                   const std::vector<std::vector<double>>& starts) {
  constexpr LeastSquaresOptions kOptions = {
      .form = HuberForm::weight, .huber = 1.5, .step = 1e-6, .tolerance = 1e-8};
  std::vector<double> prior;
  for (const FreeParameter& parameter : parameters) prior.push_back(parameter.expected);
  std::vector<std::vector<double>> all = {prior};
  all.insert(all.end(), starts.begin(), starts.end());

  // The rows, then the priors.
  const Residual residual = [&](std::span<const double> values, size_t index) {
    if (index < rows) return log_error(values, index) / noise;
    const FreeParameter& parameter = parameters[index - rows];
    return (values[index - rows] - parameter.expected) / parameter.deviation;
  };
  std::vector<double> best;
  double least = std::numeric_limits<double>::infinity();
  for (const std::vector<double>& start : all) {
    std::vector<FitParameter> searched;
    for (size_t i = 0; i < parameters.size(); ++i) {
      searched.push_back({start[i], parameters[i].least, parameters[i].most});
    }
    const LeastSquaresFit fit =
        robust_least_squares(searched, rows, rows + parameters.size(), residual, kOptions);
    // Six digits: starts that end in the same place must not win by round-off.
    if (fit.cost < least * (1.0 - 1e-6)) {
      least = fit.cost;
      best = fit.values;
    }
  }
  if (best.empty()) throw std::runtime_error("fit: no start converges to a finite cost");
  for (double& value : best) value = six_digits(value);
  return best;
}

double six_digits(double value) { return rounded(value, 6); }

}  // namespace orrery
