#include "calibration/least_squares/least_squares.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace orrery {
namespace {

class RobustLeastSquares : public testing::TestWithParam<HuberForm> {
 protected:
  /// The place of one parameter between `least` and `most` that fits 0, 0, 0, 10 and, if asked, the prior 2.
  static double place(double least, double most, bool prior, double huber = 1.0) {
    constexpr std::array kValues = {0.0, 0.0, 0.0, 10.0, 2.0};
    const std::array<FitParameter, 1> parameter = {{{0.1, least, most}}};
    const Residual residual = [&](std::span<const double> p, size_t i) { return p[0] - kValues[i]; };
    const LeastSquaresOptions options = {
        .form = GetParam(), .huber = huber, .step = 1e-6, .tolerance = 1e-14};
    return robust_least_squares(parameter, 4, prior ? 5 : 4, residual, options).values[0];
  }
};

TEST_P(RobustLeastSquares, LetsAnOutlierPullNoHarderThanTheThreshold) {
  // Where the derivative is zero: 3 p - huber = 0.
  EXPECT_NEAR(place(-5, 20, false), 1.0 / 3.0, 1e-5);
  EXPECT_NEAR(place(-5, 20, false, 1.5), 0.5, 1e-5);
  // A threshold that no residual reaches leaves the mean.
  EXPECT_NEAR(place(-5, 20, false, 100.0), 2.5, 1e-5);
}

TEST_P(RobustLeastSquares, CountsPriorsWithTheirSquares) {
  // 3 p - 1 + (p - 2) = 0.
  EXPECT_NEAR(place(-5, 20, true), 0.75, 1e-5);
}

TEST_P(RobustLeastSquares, StaysBetweenTheBounds) {
  EXPECT_DOUBLE_EQ(place(-5, 0.2, false), 0.2);
  EXPECT_DOUBLE_EQ(place(0.6, 20, false), 0.6);  // the start lies below
}

INSTANTIATE_TEST_SUITE_P(Forms, RobustLeastSquares,
                         testing::Values(HuberForm::weight, HuberForm::square_root),
                         [](const auto& instance) {
                           return instance.param == HuberForm::weight ? "Weight" : "SquareRoot";
                         });

TEST(LeastSquares, SaysThatASearchFailed) {
  const std::array<FitParameter, 1> parameter = {{{1.0, 0.0, 2.0}}};
  const Residual residual = [](std::span<const double>, size_t) { return std::nan(""); };
  EXPECT_EQ(robust_least_squares(parameter, 1, 1, residual).cost, std::numeric_limits<double>::infinity());
}

TEST(Rounded, KeepsSignificantDigits) {
  EXPECT_EQ(rounded(1.23456e-5, 4), 1.235e-5);
  EXPECT_EQ(rounded(0.0, 4), 0.0);
  EXPECT_EQ(rounded(987654.0, 2), 990000.0);
}

}  // namespace
}  // namespace orrery
