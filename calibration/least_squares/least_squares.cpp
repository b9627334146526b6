#include "calibration/least_squares/least_squares.hpp"

#include <ceres/ceres.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>

namespace orrery {
namespace {

/// The residual, with its sign, whose square is Huber's loss.
double damped(double residual, double huber) {
  const double size = std::abs(residual);
  return size <= huber ? residual : std::copysign(std::sqrt(huber * (2.0 * size - huber)), residual);
}

struct OneResidual {
  const Residual* residual;
  size_t parameters, index;
  double damped_beyond;
  bool operator()(double const* const* values, double* out) const {
    *out = damped((*residual)(std::span(values[0], parameters), index), damped_beyond);
    return std::isfinite(*out);
  }
};

std::unique_ptr<ceres::CostFunction> cost_function(OneResidual residual, double step) {
  ceres::NumericDiffOptions steps;
  steps.relative_step_size = step;
  auto cost = std::make_unique<ceres::DynamicNumericDiffCostFunction<OneResidual>>(
      std::make_unique<OneResidual>(residual).release(), ceres::TAKE_OWNERSHIP, steps);
  cost->AddParameterBlock(static_cast<int>(residual.parameters));
  cost->SetNumResiduals(1);
  return cost;
}

}  // namespace

LeastSquaresFit robust_least_squares(std::span<const FitParameter> parameters, size_t robust,
                                     size_t residuals, const Residual& residual,
                                     const LeastSquaresOptions& options) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  LeastSquaresFit fit;
  for (const FitParameter& parameter : parameters) {
    fit.values.push_back(std::clamp(parameter.start, parameter.least, parameter.most));
  }
  // Ceres takes ownership of cost and loss functions.
  ceres::Problem problem;
  for (size_t index = 0; index < residuals; ++index) {
    const bool by_weight = index < robust && options.form == HuberForm::weight;
    const bool by_root = index < robust && options.form == HuberForm::square_root;
    const OneResidual one = {&residual, parameters.size(), index, by_root ? options.huber : kNever};
    auto loss = by_weight ? std::make_unique<ceres::HuberLoss>(options.huber) : nullptr;
    problem.AddResidualBlock(cost_function(one, options.step).release(), loss.release(), fit.values.data());
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    problem.SetParameterLowerBound(fit.values.data(), static_cast<int>(i), parameters[i].least);
    problem.SetParameterUpperBound(fit.values.data(), static_cast<int>(i), parameters[i].most);
  }
  ceres::Solver::Options solver;
  solver.linear_solver_type = ceres::DENSE_QR;
  solver.num_threads = 1;
  solver.max_num_iterations = 60;
  solver.function_tolerance = options.tolerance;
  solver.logging_type = ceres::SILENT;
  ceres::Solver::Summary summary;
  ceres::Solve(solver, &problem, &summary);
  fit.cost = summary.IsSolutionUsable() ? summary.final_cost : std::numeric_limits<double>::infinity();
  return fit;
}

double rounded(double value, int digits) {
  // The nearest decimal with so many digits, read back: the same double on every machine.
  return std::strtod(fmt::format("{:.{}e}", value, digits - 1).c_str(), nullptr);
}

}  // namespace orrery
