#pragma once

#include <array>
#include <span>
#include <vector>

namespace orrery {

/// Interpolates what a formula leaves: ln(measured / formula) at measured points, smoothly in between, zero
/// far away; beyond the measured range of a held coordinate, what it is at the range's end.
///
/// Simple kriging with a zero mean: r(x) = sum_i a_i exp(-|x - x_i|^2 / 2), a = (K + diag(noise^2))^-1 r.
/// Coordinates are logarithms of dimensions divided by the length over which residuals resemble one another,
/// so the length is 1 here. Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
/// equation 2.25.
class ResidualField {
 public:
  static constexpr int kDimensions = 4;
  using Point = std::array<double, kDimensions>;

  ResidualField() : ResidualField({}, {}, {}) {}
  /// @param noise standard deviation of each measurement over that of the residuals, above zero: at 1 half of
  /// a lone residual is believed
  /// @param held how many of the first coordinates are held
  /// @throws std::invalid_argument if the spans differ in length or a noise is not above zero
  ResidualField(std::span<const Point> points, std::span<const double> residuals,
                std::span<const double> noise, int held = 0);

  /// The residual to expect at a point. About 10 ns a measured point.
  double at(const Point& point) const;
  /// Distance to the nearest measured point; infinite without any.
  double nearest(const Point& point) const;
  size_t size() const { return points_.size(); }
  /// What the residual at a point takes from each measured one: a of the formula above.
  const std::vector<double>& weights() const { return weights_; }
  /// The point whose residual is taken for this one: held coordinates inside the measured range.
  Point within(Point point) const;

 private:
  std::vector<Point> points_;
  std::vector<double> weights_;
  Point least_, most_;  ///< of held coordinates; the others are unbounded
};

}  // namespace orrery
