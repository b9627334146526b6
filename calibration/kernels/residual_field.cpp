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

ResidualField::ResidualField(std::span<const Point> points, std::span<const double> residuals, double noise)
    : points_(points.begin(), points.end()) {
  if (points.size() != residuals.size() || !(noise > 0.0)) {
    throw std::invalid_argument("residual field: needs as many residuals as points and a noise above zero");
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
    covariance(i, i) += noise * noise;
  }
  const Eigen::VectorXd solved = covariance.llt().solve(values);
  weights_.assign(solved.begin(), solved.end());
}

double ResidualField::at(const Point& point) const {
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
