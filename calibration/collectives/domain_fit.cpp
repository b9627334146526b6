#include "calibration/collectives/domain_fit.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "calibration/collectives/fit_errors.hpp"
#include "calibration/collectives/generation_fit.hpp"
#include "calibration/least_squares/least_squares.hpp"
#include "sim/collectives/domain_times.hpp"

namespace orrery {
namespace {

constexpr int kFirstOctave = 10;  // 1 KiB: every curve is flat below
constexpr int kLastOctave = 35;   // 32 GiB: every curve is at its asymptotic rate above
constexpr int kOctaves = kLastOctave - kFirstOctave + 1;
// Rows of different hosts differ by about this much (log time); beyond twice of it they count as outliers.
constexpr double kRowSpread = 0.06;
// How strongly the correction is kept smooth from octave to octave, and near zero. Leave-one-size-out
// cross-validation over all curves (0.03 to 3 and 0.005 to 0.1 tried): 8.0 % geometric mean here, 8.8 % at
// 1, 10.8 % for the form alone.
constexpr double kSmooth = 0.1;
constexpr double kShrink = 0.02;

/// A curve whose shortest payload is longer than this says nothing about the start-up.
constexpr double kShortEnough = 4.0 * 1024.0 * 1024.0;

struct Form {
  double alpha, inverse_rate, fill;
  double time(double bytes) const { return alpha + bytes * inverse_rate + fill * std::sqrt(bytes); }
};

Form fit_form(std::span<const CollectiveRow> rows) {
  double shortest = rows.front().seconds;
  double rate = 0.0;
  for (const CollectiveRow& row : rows) {
    shortest = std::min(shortest, row.seconds);
    rate = std::max(rate, row.bytes / row.seconds);
  }
  const double fill = 0.1 * std::sqrt(shortest / rate);
  const std::array<FitParameter, 3> parameters = {
      {{std::log(shortest), std::log(shortest) - 3.0, std::log(shortest) + 1.0},
       {-std::log(rate), -std::log(rate) - 0.3, -std::log(rate) + 0.5},
       {std::log(fill), std::log(fill) - 5.0, std::log(fill) + 5.0}}};
  const auto form_of = [](std::span<const double> p) {
    return Form{std::exp(p[0]), std::exp(p[1]), std::exp(p[2])};
  };
  const Residual residual = [&](std::span<const double> p, size_t row) {
    return std::log(form_of(p).time(rows[row].bytes) / rows[row].seconds) / (2.0 * kRowSpread);
  };
  return form_of(robust_least_squares(parameters, rows.size(), rows.size(), residual).values);
}

struct Knot {
  size_t low;
  double weight;  ///< of the knot above
};

Knot knot_of(double bytes) {
  const double place =
      std::clamp(std::log2(bytes) - kFirstOctave, 0.0, static_cast<double>(kOctaves) - 1.001);
  const auto low = static_cast<size_t>(place);
  return {low, place - static_cast<double>(low)};
}

/// Smooth correction in log time at every octave: ridge regression with Huber weights, iterated.
Eigen::VectorXd correction(const Form& form, std::span<const CollectiveRow> rows) {
  Eigen::VectorXd at_knots = Eigen::VectorXd::Zero(kOctaves);
  for (int pass = 0; pass < 8; ++pass) {
    Eigen::MatrixXd normal = Eigen::MatrixXd::Identity(kOctaves, kOctaves) * kShrink;
    Eigen::VectorXd right = Eigen::VectorXd::Zero(kOctaves);
    for (int k = 0; k + 1 < kOctaves; ++k) {
      normal(k, k) += kSmooth;
      normal(k + 1, k + 1) += kSmooth;
      normal(k, k + 1) -= kSmooth;
      normal(k + 1, k) -= kSmooth;
    }
    for (const CollectiveRow& row : rows) {
      const Knot knot = knot_of(row.bytes);
      const auto low = static_cast<Eigen::Index>(knot.low);
      const double wanted = std::log(row.seconds / form.time(row.bytes));
      const double found = (1.0 - knot.weight) * at_knots(low) + knot.weight * at_knots(low + 1);
      const double off = std::abs(wanted - found) / (2.0 * kRowSpread);
      const double weight = off <= 1.0 ? 1.0 : 1.0 / off;
      normal(low, low) += weight * (1.0 - knot.weight) * (1.0 - knot.weight);
      normal(low + 1, low + 1) += weight * knot.weight * knot.weight;
      normal(low, low + 1) += weight * knot.weight * (1.0 - knot.weight);
      normal(low + 1, low) += weight * knot.weight * (1.0 - knot.weight);
      right(low) += weight * (1.0 - knot.weight) * wanted;
      right(low + 1) += weight * knot.weight * wanted;
    }
    at_knots = normal.ldlt().solve(right);
  }
  return at_knots;
}

DomainCurve curve_of(const Form& form, const Eigen::VectorXd& at_knots, std::span<const CollectiveRow> rows) {
  DomainCurve curve;
  curve.op = rows.front().op;
  curve.ranks = rows.front().ranks;
  curve.first_octave = kFirstOctave;
  for (int k = 0; k < kOctaves; ++k) {
    curve.seconds.push_back(form.time(std::ldexp(1.0, kFirstOctave + k)) * std::exp(at_knots(k)));
  }
  make_monotone(curve.seconds);
  // The correction of the last octaves fades over the smoothing length, so the curve's own last slope is the
  // rate.
  const double last = curve.seconds.back();
  const double before = curve.seconds[curve.seconds.size() - 2];
  const double longest = std::ldexp(1.0, kLastOctave);
  curve.bandwidth = 0.5 * longest / std::max(last - before, 0.25 * last);
  curve.least_bytes = rows.front().bytes;
  curve.most_bytes = rows.front().bytes;
  for (const CollectiveRow& row : rows) {
    curve.least_bytes = std::min(curve.least_bytes, row.bytes);
    curve.most_bytes = std::max(curve.most_bytes, row.bytes);
  }
  for (double& value : curve.seconds) value = rounded(value, 4);
  curve.bandwidth = rounded(curve.bandwidth, 4);
  return curve;
}

}  // namespace

DomainCurve fit_parametric_curve(std::span<const CollectiveRow> rows) {
  return curve_of(fit_form(rows), Eigen::VectorXd::Zero(kOctaves), rows);
}

DomainCurve fit_domain_curve(std::span<const CollectiveRow> rows) {
  const Form form = fit_form(rows);
  return curve_of(form, correction(form, rows), rows);
}

DomainConstants fit_domain(const std::string& gpu, double scale_up_bandwidth,
                           std::span<const CollectiveRow> rows) {
  std::map<std::pair<CollectiveOp, int>, std::vector<CollectiveRow>> groups;
  for (const CollectiveRow& row : rows) groups[{row.op, row.ranks}].push_back(row);
  DomainConstants domain;
  domain.gpu = gpu;
  domain.scale_up_bandwidth = scale_up_bandwidth;
  for (const auto& [key, group] : groups) {
    std::set<double> sizes;
    for (const CollectiveRow& row : group) sizes.insert(row.bytes);
    if (sizes.size() < 4 || *sizes.rbegin() < 64.0 * *sizes.begin() || *sizes.begin() > kShortEnough)
      continue;
    DomainCurve curve = fit_domain_curve(group);
    DomainConstants alone;
    alone.scale_up_bandwidth = scale_up_bandwidth;
    alone.curves = {curve};
    curve.relative_spread = rounded(domain_errors(alone, group).root_mean_square, 2);
    domain.curves.push_back(std::move(curve));
  }
  return domain;
}

void borrow_pairs(DomainConstants& domain, const DomainConstants& other) {
  const DomainTimes times(other);
  const double speed = domain.scale_up_bandwidth / other.scale_up_bandwidth;
  for (DomainCurve curve : other.curves) {
    const bool own =
        std::any_of(domain.curves.begin(), domain.curves.end(), [&](const DomainCurve& existing) {
          return existing.op == curve.op && existing.ranks == curve.ranks;
        });
    if (curve.op != CollectiveOp::send_receive || curve.stands_in || own) continue;
    for (size_t i = 0; i < curve.seconds.size(); ++i) {
      const double bytes = std::ldexp(1.0, curve.first_octave + static_cast<int>(i));
      curve.seconds[i] = rounded(times.time(curve.op, bytes, curve.ranks, speed).total, 4);
    }
    curve.bandwidth = rounded(curve.bandwidth * speed, 4);
    curve.stands_in = true;
    domain.curves.push_back(std::move(curve));
  }
}

}  // namespace orrery
