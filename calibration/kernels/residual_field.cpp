#include "calibration/kernels/residual_field.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace orrery {
namespace {

double squared_distance(const ResidualField::Point& a, const ResidualField::Point& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

constexpr double kFarSquared = 25.0;  // beyond five lengths a point weighs less than 4e-6

}  // namespace

ResidualField::ResidualField(std::span<const Point> points, std::span<const double> residuals,
                             std::span<const double> noise, int held)
    : points_(points.begin(), points.end()) {
  constexpr double kUnbounded = std::numeric_limits<double>::infinity();
  least_.fill(-kUnbounded), most_.fill(kUnbounded);
  if (points.size() != residuals.size() || points.size() != noise.size() ||
      !std::all_of(noise.begin(), noise.end(), [](double value) { return value > 0.0; })) {
    throw std::invalid_argument(
        "residual field: needs a residual for each point, and for each a noise above zero");
  }
  for (size_t d = 0; d < static_cast<size_t>(held) && !points_.empty(); ++d) {
    const auto [least, most] = std::minmax_element(
        points_.begin(), points_.end(), [d](const Point& a, const Point& b) { return a[d] < b[d]; });
    least_[d] = (*least)[d], most_[d] = (*most)[d];
  }
  const auto count = static_cast<Eigen::Index>(points_.size());
  if (count == 0) return;
  Eigen::MatrixXd covariance(count, count);
  Eigen::VectorXd values(count);
  for (Eigen::Index i = 0; i < count; ++i) {
    values(i) = residuals[static_cast<size_t>(i)];
    for (Eigen::Index j = 0; j < count; ++j) {
      covariance(i, j) =
          std::exp(-0.5 * squared_distance(points_[static_cast<size_t>(i)], points_[static_cast<size_t>(j)]));
    }
    covariance(i, i) += noise[static_cast<size_t>(i)] * noise[static_cast<size_t>(i)];
  }
  const Eigen::VectorXd solved = covariance.llt().solve(values);
  weights_.assign(solved.begin(), solved.end());
}

ResidualField::Point ResidualField::within(Point point) const {
  for (size_t d = 0; d < point.size(); ++d) point[d] = std::clamp(point[d], least_[d], most_[d]);
  return point;
}

double ResidualField::at(const Point& anywhere) const {
  const Point point = within(anywhere);
  double sum = 0.0;
  for (size_t i = 0; i < points_.size(); ++i) {
    const double squared = squared_distance(point, points_[i]);
    if (squared < kFarSquared) sum += weights_[i] * std::exp(-0.5 * squared);
  }
  return sum;
}

double ResidualField::nearest(const Point& point) const {
  double least = std::numeric_limits<double>::infinity();
  for (const Point& other : points_) least = std::min(least, squared_distance(point, other));
  return std::sqrt(least);
}

}  // namespace orrery
