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
  const std::vector<double> noise = {1.0};
  const ResidualField field(points, residuals, noise);
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
  const std::vector<double> noise = {0.5, 0.5};
  const double e = std::exp(-0.5), a = 0.1 / (1 + 0.25 - e);
  const ResidualField field(points, residuals, noise);
  EXPECT_NEAR(field.at({0, 0, 0, 0}), a * (1 - e), 1e-14);
  EXPECT_NEAR(field.at({0.5, 0, 0, 0}), 0.0, 1e-14);
}

TEST(ResidualField, ARowOfMoreNoiseIsBelievedLess) {
  // Far apart, each on its own: r / (1 + noise^2).
  const std::vector<Point> points = {{0, 0, 0, 0}, {100, 0, 0, 0}};
  const std::vector<double> residuals = {0.1, 0.1}, noise = {0.5, 2.0};
  const ResidualField field(points, residuals, noise);
  EXPECT_NEAR(field.at(points[0]), 0.08, 1e-15);
  EXPECT_NEAR(field.at(points[1]), 0.02, 1e-15);
}

TEST(ResidualField, HoldsTheResidualOfTheEndsOfAHeldCoordinate) {
  const std::vector<Point> points = {{0, 0, 0, 0}, {1, 0, 0, 0}};
  const std::vector<double> residuals = {0.1, 0.2}, noise = {1.0, 1.0};
  const ResidualField held(points, residuals, noise, 1), free(points, residuals, noise);
  EXPECT_EQ(held.at({7, 0, 0, 0}), free.at({1, 0, 0, 0}));
  EXPECT_EQ(held.at({-7, 0, 0, 0}), free.at({0, 0, 0, 0}));
  EXPECT_EQ(held.at({0.5, 1, 0, 0}), free.at({0.5, 1, 0, 0}));  // the second is not held
  EXPECT_EQ(free.at({7, 0, 0, 0}), 0.0);
}

TEST(ResidualField, EmptyIsZeroAndBadInputIsRefused) {
  EXPECT_EQ(ResidualField().at({0, 0, 0, 0}), 0.0);
  const std::vector<Point> points = {{0, 0, 0, 0}};
  const std::vector<double> residuals = {0.1}, one = {1.0}, zero = {0.0};
  EXPECT_THROW(ResidualField(points, {}, one), std::invalid_argument);
  EXPECT_THROW(ResidualField(points, residuals, {}), std::invalid_argument);
  EXPECT_THROW(ResidualField(points, residuals, zero), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
