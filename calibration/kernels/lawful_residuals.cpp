#include "calibration/kernels/lawful_residuals.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

constexpr double kLeastNoise = 0.7;  // the best of 0.5 to 1 over all burst tables, families left out
constexpr double kMostNoise = 50.0;  // a row that is not believed at all
constexpr double kAllowed =
    0.02;  // a margin to the 3 % that tests/properties/kernels asks for off the lattice
constexpr int kRounds = 300;
constexpr double kStep = 0.5;  // by which the noise of the row with most blame grows in a round

/// Multiples of 128 up to 32768, two to a doubling, after `shorter` ones.
std::vector<std::int64_t> dimensions(std::vector<std::int64_t> shorter) {
  std::vector<std::int64_t> values = std::move(shorter);
  for (std::int64_t value = 128; value <= 32768; value *= 2) {
    if (value > 128) values.push_back(value / 4 * 3);
    values.push_back(value);
  }
  return values;
}

/// ln(time) of form and field over a lattice of shapes: rows of a matrix are (m, n), columns (k, batch).
class Lattice {
 public:
  /// @param with_quantise  what the time of a product in 8 or 4 bits holds: the field is one for both
  Lattice(const GemmFit& fit, const DeviceSpec& device, bool with_quantise) {
    const auto rows = static_cast<Eigen::Index>(fit.shapes.size());
    const auto widths = static_cast<Eigen::Index>(widths_.size());
    const auto lengths = static_cast<Eigen::Index>(lengths_.size());
    const auto batches = static_cast<Eigen::Index>(kBatches.size());
    form_.resize(widths * widths, lengths * batches);
    outer_.resize(form_.rows(), rows);
    inner_.resize(form_.cols(), rows);
    const ResidualField field = residual_field(fit, device);
    std::vector<ResidualField::Point> measured;
    for (const MeasuredGemm& row : fit.shapes) measured.push_back(residual_point(row.shape));
    GemmShape shape = fit.shapes.front().shape;
    shape.quantized_inputs = with_quantise;
    for (Eigen::Index r = 0; r < form_.rows(); ++r) {
      shape.m = width(r / widths), shape.n = width(r % widths);
      for (Eigen::Index c = 0; c < form_.cols(); ++c) {
        shape.k = length(c / batches), shape.batch = kBatches[static_cast<size_t>(c % batches)];
        form_(r, c) = std::log(gemm_pieces(fit.parameters, device, shape).total().base());
        if (r == 0) likeness(inner_, c, measured, field.within(residual_point(shape)), 2);
      }
      likeness(outer_, r, measured, field.within(residual_point(shape)), 0);
    }
  }

  /// What each row of the fit is to blame for; empty if no larger product is faster.
  /// @param weights of the rows in the residual field
  Eigen::VectorXd blame(const Eigen::VectorXd& weights) const {
    const Eigen::MatrixXd time = form_ + outer_ * weights.asDiagonal() * inner_.transpose();
    const auto widths = static_cast<Eigen::Index>(widths_.size());
    const auto lengths = static_cast<Eigen::Index>(lengths_.size());
    const auto batches = static_cast<Eigen::Index>(kBatches.size());
    Eigen::VectorXd total = Eigen::VectorXd::Zero(weights.size());
    const auto compare = [&](Eigen::Index r, Eigen::Index c, Eigen::Index larger_r, Eigen::Index larger_c) {
      const double excess = time(r, c) - kAllowed - time(larger_r, larger_c);
      if (excess <= 0.0) return;
      const Eigen::VectorXd pull =
          (weights.array() * (outer_.row(r).array() * inner_.row(c).array() -
                              outer_.row(larger_r).array() * inner_.row(larger_c).array())
                                 .transpose())
              .max(0.0);
      total += excess / pull.sum() * pull;
    };
    for (Eigen::Index r = 0; r < form_.rows(); ++r) {
      for (Eigen::Index c = 0; c < form_.cols(); ++c) {
        for (Eigen::Index further = 1; further <= 3; ++further) {
          if (r / widths + further < widths) compare(r, c, r + further * widths, c);
          if (r % widths + further < widths) compare(r, c, r + further, c);
          if (c / batches + further < lengths) compare(r, c, r, c + further * batches);
          if (c % batches + further < batches) compare(r, c, r, c + further);
        }
      }
    }
    return total;
  }

 private:
  static constexpr std::array<std::int64_t, 5> kBatches = {1, 2, 3, 4, 8};

  std::int64_t width(Eigen::Index i) const { return widths_[static_cast<size_t>(i)]; }
  std::int64_t length(Eigen::Index i) const { return lengths_[static_cast<size_t>(i)]; }

  /// Two coordinates' part of exp(-distance^2 / 2) between a point of the lattice and each measured one.
  static void likeness(Eigen::MatrixXd& part, Eigen::Index at,
                       const std::vector<ResidualField::Point>& measured, const ResidualField::Point& point,
                       size_t first) {
    for (size_t i = 0; i < measured.size(); ++i) {
      const double a = measured[i][first] - point[first], b = measured[i][first + 1] - point[first + 1];
      part(at, static_cast<Eigen::Index>(i)) = std::exp(-0.5 * (a * a + b * b));
    }
  }

  std::vector<std::int64_t> widths_ = dimensions({16, 32, 64});  ///< of m and n
  std::vector<std::int64_t> lengths_ = dimensions({});           ///< of k
  Eigen::MatrixXd form_, outer_, inner_;
};

}  // namespace

void believe_lawfully(GemmFit& fit, const DeviceSpec& device) {
  for (MeasuredGemm& row : fit.shapes) row.residual_noise = kLeastNoise;
  std::vector<Lattice> lattices = {Lattice(fit, device, true)};
  if (is_quantized(fit.precision)) lattices.emplace_back(fit, device, false);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> weights = residual_field(fit, device).weights();
    Eigen::VectorXd blame = Eigen::VectorXd::Zero(static_cast<Eigen::Index>(weights.size()));
    for (const Lattice& lattice : lattices) {
      blame += lattice.blame(Eigen::Map<const Eigen::VectorXd>(weights.data(), blame.size()));
    }
    const double most = blame.maxCoeff();
    if (most <= 0.0) break;
    for (size_t i = 0; i < fit.shapes.size(); ++i) {
      double& noise = fit.shapes[i].residual_noise;
      noise = std::min(kMostNoise, noise * (1.0 + kStep * blame(static_cast<Eigen::Index>(i)) / most));
    }
  }
  for (MeasuredGemm& row : fit.shapes) row.residual_noise = six_digits(row.residual_noise);
}

}  // namespace orrery
