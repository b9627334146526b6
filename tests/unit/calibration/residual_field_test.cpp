#include "calibration/kernels/residual_field.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

namespace orrery {
namespace {

using Point = ResidualField::Point;

TEST(ResidualField, BelievesALonePointByItsNoiseAndForgetsItFarAway) {
  const std::vector<Point> points = {{0, 0, 0, 0}};
  const std::vector<double> residuals = {0.1};
  const ResidualField field(points, residuals, 1.0);
  // a = r / (1 + noise^2); at distance d it counts exp(-d^2 / 2).
  EXPECT_NEAR(field.at({0, 0, 0, 0}), 0.05, 1e-15);
  EXPECT_NEAR(field.at({1, 0, 0, 0}), 0.05 * std::exp(-0.5), 1e-15);
  EXPECT_EQ(field.at({10, 0, 0, 0}), 0.0);
  EXPECT_NEAR(field.nearest({3, 4, 0, 0}), 5.0, 1e-15);
}

TEST(ResidualField, TwoPointsSolveTheirTwoEquations) {
  // (1 + s) a + e b = 0.1, e a + (1 + s) b = -0.1 with e = exp(-1/2): a = 0.1 / (1 + s - e), b = -a.
  const std::vector<Point> points = {{0, 0, 0, 0}, {1, 0, 0, 0}};
  const std::vector<double> residuals = {0.1, -0.1};
  const double noise = 0.5, e = std::exp(-0.5), a = 0.1 / (1 + noise * noise - e);
  const ResidualField field(points, residuals, noise);
  EXPECT_NEAR(field.at({0, 0, 0, 0}), a * (1 - e), 1e-14);
  EXPECT_NEAR(field.at({0.5, 0, 0, 0}), 0.0, 1e-14);
}

TEST(ResidualField, EmptyIsZeroAndBadInputIsRefused) {
  EXPECT_EQ(ResidualField().at({0, 0, 0, 0}), 0.0);
  const std::vector<Point> points = {{0, 0, 0, 0}};
  EXPECT_THROW(ResidualField(points, {}, 1.0), std::invalid_argument);
  const std::vector<double> residuals = {0.1};
  EXPECT_THROW(ResidualField(points, residuals, 0.0), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
