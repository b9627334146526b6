#pragma once

#include <span>
#include <vector>

#include "calibration/collectives/collective_rows.hpp"
#include "sim/collectives/collective_constants.hpp"

namespace orrery {

/// How far predictions lie from measured rows, in log time.
struct FitErrors {
  int rows = 0;
  double geometric_mean = 0;    ///< exp(mean |log ratio|) - 1
  double root_mean_square = 0;  ///< of the log ratio
  double bias = 0;              ///< exp(mean log ratio) - 1: predicted over measured
};
FitErrors errors_of(std::span<const double> log_ratios);

/// Log ratios of predicted over measured for rows inside one domain.
std::vector<double> domain_log_ratios(const DomainConstants& domain, std::span<const CollectiveRow> rows);
FitErrors domain_errors(const DomainConstants& domain, std::span<const CollectiveRow> rows);

}  // namespace orrery
