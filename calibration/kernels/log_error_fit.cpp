#include "calibration/kernels/log_error_fit.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

constexpr double kHuber = 1.5;

}  // namespace

std::vector<double> fit_log_errors(std::span<const FreeParameter> parameters, size_t rows,
                                   const LogError& log_error, double noise,
                                   const std::vector<std::vector<double>>& starts) {
  constexpr LeastSquaresOptions kOptions = {
      .form = HuberForm::weight, .huber = kHuber, .step = 1e-6, .tolerance = 1e-8};
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

std::vector<std::vector<double>> log_error_covariance(std::span<const FreeParameter> parameters, size_t rows,
                                                      const LogError& log_error, double noise,
                                                      std::span<const double> optimum,
                                                      std::span<const double> scales) {
  constexpr double kStep = 1e-4;  // of the parameter's range: the form has kinks, a finer step sees one side
  const auto count = static_cast<Eigen::Index>(parameters.size());
  Eigen::MatrixXd jacobian(static_cast<Eigen::Index>(rows), count);
  for (Eigen::Index column = 0; column < count; ++column) {
    const auto i = static_cast<size_t>(column);
    const double step = kStep * (parameters[i].most - parameters[i].least);
    std::vector<double> low(optimum.begin(), optimum.end()), high = low;
    low[i] = std::max(parameters[i].least, optimum[i] - step);
    high[i] = std::min(parameters[i].most, optimum[i] + step);
    for (size_t row = 0; row < rows; ++row) {
      jacobian(static_cast<Eigen::Index>(row), column) =
          (log_error(high, row) - log_error(low, row)) / (noise * (high[i] - low[i]));
    }
  }
  for (size_t row = 0; row < rows; ++row) {
    const double size = std::abs(log_error(optimum, row)) / noise;
    if (size > kHuber) jacobian.row(static_cast<Eigen::Index>(row)) *= std::sqrt(kHuber / size);
  }
  Eigen::MatrixXd information = jacobian.transpose() * jacobian;
  for (Eigen::Index i = 0; i < count; ++i) {
    information(i, i) += std::pow(parameters[static_cast<size_t>(i)].deviation, -2);
  }
  const Eigen::MatrixXd inverse = information.ldlt().solve(Eigen::MatrixXd::Identity(count, count));
  std::vector<std::vector<double>> covariance(parameters.size(), std::vector<double>(parameters.size()));
  for (Eigen::Index row = 0; row < count; ++row) {
    for (Eigen::Index column = 0; column < count; ++column) {
      const auto i = static_cast<size_t>(row), j = static_cast<size_t>(column);
      const double scale = scales.empty() ? 1.0 : scales[i] * scales[j];
      covariance[i][j] = six_digits(0.5 * scale * (inverse(row, column) + inverse(column, row)));
    }
  }
  return covariance;
}

double six_digits(double value) { return rounded(value, 6); }

}  // namespace orrery
