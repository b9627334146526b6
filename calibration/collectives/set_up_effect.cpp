#include "calibration/collectives/set_up_effect.hpp"

#include <array>
#include <cmath>

#include "calibration/least_squares/least_squares.hpp"

namespace orrery {
namespace {

constexpr double kSetUpRowSpread = 0.2;      // of rows around such an effect, log time
const double kFactorSpread = std::log(2.0);  // of either factor around one
constexpr double kLogBound = 3.0;            // a factor of twenty

SetUpEffect effect_of_logs(std::span<const double> logs) { return {std::exp(logs[0]), std::exp(logs[1])}; }

}  // namespace

double SetUpEffect::log_effect(double transfer_share) const {
  return std::log(start * (1.0 - transfer_share) + transfer * transfer_share);
}

SetUpEffect fit_set_up(std::span<const SetUpRow> rows) {
  const FitParameter factor{0.0, -kLogBound, kLogBound};
  const std::array parameters = {factor, factor};
  const Residual residual = [&](std::span<const double> logs, size_t index) {
    if (index >= rows.size()) return logs[index - rows.size()] / kFactorSpread;
    const SetUpRow& row = rows[index];
    const double off = row.log_ratio + effect_of_logs(logs).log_effect(row.transfer_share);
    return row.weight * off / kSetUpRowSpread;
  };
  return effect_of_logs(
      robust_least_squares(parameters, rows.size(), rows.size() + parameters.size(), residual).values);
}

}  // namespace orrery
