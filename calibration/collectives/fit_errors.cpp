#include "calibration/collectives/fit_errors.hpp"

#include <cmath>

#include "sim/collectives/domain_times.hpp"

namespace orrery {

FitErrors errors_of(std::span<const double> log_ratios) {
  FitErrors errors;
  errors.rows = static_cast<int>(log_ratios.size());
  if (log_ratios.empty()) return errors;
  double size = 0.0;
  double square = 0.0;
  double sum = 0.0;
  for (const double ratio : log_ratios) {
    size += std::abs(ratio);
    square += ratio * ratio;
    sum += ratio;
  }
  const auto count = static_cast<double>(log_ratios.size());
  errors.geometric_mean = std::expm1(size / count);
  errors.root_mean_square = std::sqrt(square / count);
  errors.bias = std::expm1(sum / count);
  return errors;
}

std::vector<double> domain_log_ratios(const DomainConstants& domain, std::span<const CollectiveRow> rows) {
  const DomainTimes times(domain);
  std::vector<double> ratios;
  for (const CollectiveRow& row : rows) {
    if (times.covers(row.op))
      ratios.push_back(std::log(times.time(row.op, row.bytes, row.ranks, 1.0).total / row.seconds));
  }
  return ratios;
}

FitErrors domain_errors(const DomainConstants& domain, std::span<const CollectiveRow> rows) {
  return errors_of(domain_log_ratios(domain, rows));
}

}  // namespace orrery
