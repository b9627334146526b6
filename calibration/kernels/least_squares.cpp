#include "calibration/kernels/least_squares.hpp"

#include <ceres/ceres.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>

namespace orrery {
namespace {

struct RowError {
  const LogError* log_error;
  size_t row, parameters;
  double noise;
  bool operator()(double const* const* values, double* residual) const {
    residual[0] = (*log_error)(std::span(values[0], parameters), row) / noise;
    return std::isfinite(residual[0]);
  }
};

struct PriorError {
  const FreeParameter* parameter;
  size_t index;
  bool operator()(double const* const* values, double* residual) const {
    residual[0] = (values[0][index] - parameter->expected) / parameter->deviation;
    return true;
  }
};

template <typename Functor>
std::unique_ptr<ceres::CostFunction> cost_function(Functor functor, size_t parameters) {
  auto cost = std::make_unique<ceres::DynamicNumericDiffCostFunction<Functor>>(
      std::make_unique<Functor>(functor).release());
  cost->AddParameterBlock(static_cast<int>(parameters));
  cost->SetNumResiduals(1);
  return cost;
}

/// Ceres takes ownership of cost and loss functions.
double solve(std::span<const FreeParameter> parameters, size_t rows, const LogError& log_error, double noise,
             std::vector<double>& values) {
  constexpr double kHuberWidth = 1.5;
  ceres::Problem problem;
  for (size_t row = 0; row < rows; ++row) {
    problem.AddResidualBlock(
        cost_function(RowError{&log_error, row, parameters.size(), noise}, parameters.size()).release(),
        std::make_unique<ceres::HuberLoss>(kHuberWidth).release(), values.data());
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    problem.AddResidualBlock(cost_function(PriorError{&parameters[i], i}, parameters.size()).release(),
                             nullptr, values.data());
    problem.SetParameterLowerBound(values.data(), static_cast<int>(i), parameters[i].least);
    problem.SetParameterUpperBound(values.data(), static_cast<int>(i), parameters[i].most);
    values[i] = std::clamp(values[i], parameters[i].least, parameters[i].most);
  }
  ceres::Solver::Options options;
  options.linear_solver_type = ceres::DENSE_QR;
  options.num_threads = 1;
  options.max_num_iterations = 60;
  options.function_tolerance = 1e-8;
  options.logging_type = ceres::SILENT;
  ceres::Solver::Summary summary;
  ceres::Solve(options, &problem, &summary);
  return summary.IsSolutionUsable() ? summary.final_cost : std::numeric_limits<double>::infinity();
}

}  // namespace

std::vector<double> fit_log_errors(std::span<const FreeParameter> parameters, size_t rows,
                                   const LogError& log_error, double noise,
                                   const std::vector<std::vector<double>>& starts) {
  std::vector<double> prior;
  for (const FreeParameter& parameter : parameters) prior.push_back(parameter.expected);
  std::vector<std::vector<double>> all = {prior};
  all.insert(all.end(), starts.begin(), starts.end());

  std::vector<double> best;
  double least = std::numeric_limits<double>::infinity();
  for (std::vector<double> values : all) {
    const double cost = solve(parameters, rows, log_error, noise, values);
    // Six digits: starts that end in the same place must not win by round-off.
    if (cost < least * (1.0 - 1e-6)) {
      least = cost;
      best = values;
    }
  }
  if (best.empty()) throw std::runtime_error("fit: no start converges to a finite cost");
  for (double& value : best) value = six_digits(value);
  return best;
}

double six_digits(double value) {
  const std::string text = fmt::format("{:.6g}", value);
  return std::stod(text);
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace orrery
