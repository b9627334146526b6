#include "calibration/collectives/least_squares.hpp"

#include <ceres/ceres.h>

#include <cmath>

namespace orrery {
namespace {

/// Square root of Huber's loss with unit threshold, with the residual's sign: quadratic inside, linear
/// outside.
double damped(double residual) {
  const double size = std::abs(residual);
  return size <= 1.0 ? residual : std::copysign(std::sqrt(2.0 * size - 1.0), residual);
}

struct Functor {
  const ResidualFunction* function;
  size_t parameters;
  size_t robust;
  size_t count;
  bool operator()(double const* const* values, double* residuals) const {
    const std::span<double> out(residuals, count);
    (*function)(std::span<const double>(values[0], parameters), out);
    for (size_t i = 0; i < robust; ++i) out[i] = damped(out[i]);
    return true;
  }
};

}  // namespace

std::vector<double> robust_least_squares(std::span<const FitParameter> parameters, size_t robust,
                                         size_t residuals, const ResidualFunction& function) {
  std::vector<double> values;
  values.reserve(parameters.size());
  for (const FitParameter& parameter : parameters) values.push_back(parameter.start);

  ceres::NumericDiffOptions steps;
  steps.relative_step_size = 1e-4;
  auto cost = std::make_unique<ceres::DynamicNumericDiffCostFunction<Functor>>(
      new Functor{&function, parameters.size(), robust, residuals}, ceres::TAKE_OWNERSHIP, steps);
  cost->AddParameterBlock(static_cast<int>(parameters.size()));
  cost->SetNumResiduals(static_cast<int>(residuals));

  ceres::Problem problem;
  problem.AddResidualBlock(cost.release(), nullptr, values.data());
  for (size_t i = 0; i < parameters.size(); ++i) {
    problem.SetParameterLowerBound(values.data(), static_cast<int>(i), parameters[i].least);
    problem.SetParameterUpperBound(values.data(), static_cast<int>(i), parameters[i].most);
  }
  ceres::Solver::Options options;
  options.linear_solver_type = ceres::DENSE_QR;
  options.num_threads = 1;
  options.max_num_iterations = 60;
  options.logging_type = ceres::SILENT;
  ceres::Solver::Summary summary;
  ceres::Solve(options, &problem, &summary);
  return values;
}

}  // namespace orrery
