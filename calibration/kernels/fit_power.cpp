#include "calibration/kernels/fit_power.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

constexpr size_t kFewestPowerRows = 6;
constexpr double kPowerRowNoise = 0.05;  // a board's draw moves by this much with its temperature

struct PowerRow {
  Utilisation use;
  Watts power;
};

/// Rows by class of kernel: how many of which the source says.
class PowerRows {
 public:
  PowerRows(const DeviceSpec& device, const MeasurementSet& set) : device_(device) {
    for (const GemmMeasurement& row : set.gemm) add("products", row, row.shape, row.time);
    for (const AttentionMeasurement& row : set.attention) add("attention", row, row.shape, row.time);
    for (const MemoryMeasurement& row : set.memory) {
      if (!row.share) add("memory-bound kernels", row, row.shape, row.time);
    }
  }
  const std::vector<PowerRow>& rows() const { return rows_; }

  std::string source() const {
    std::string text = fmt::format("mean board draw of {} rows (", rows_.size());
    for (const auto& [kind, powers] : by_class_) {
      double sum = 0.0;
      for (const double power : powers) sum += power;
      text += fmt::format("{}{} {}, mean {:.0f} W", kind == by_class_.begin()->first ? "" : "; ",
                          powers.size(), kind, sum / static_cast<double>(powers.size()));
    }
    text += ") of ";
    for (const std::string& source : sources_) text += (source == *sources_.begin() ? "" : "; ") + source;
    return text;
  }

 private:
  template <typename Shape>
  void add(const std::string& kind, const MeasurementOrigin& row, const Shape& shape, Seconds time) {
    if (row.gpu != device_.name || !row.power) return;
    if constexpr (!std::is_same_v<Shape, MemoryShape>) {
      if (!device_.peak_for(shape.precision)) return;
    }
    Operator op;
    op.name = "measured";
    op.shape = shape;
    rows_.push_back({utilisation_of(device_, op, time), *row.power});
    by_class_[kind].push_back(row.power->base());
    sources_.insert(row.source);
  }

  const DeviceSpec& device_;
  std::vector<PowerRow> rows_;
  std::map<std::string, std::vector<double>> by_class_;
  std::set<std::string> sources_;
};

PowerParameters parameters_of(std::span<const double> values) {
  return {Watts(values[0]), Watts(values[1]), Watts(values[2])};
}

}  // namespace

std::optional<PowerFit> fit_power(const DeviceSpec& device, const MeasurementSet& measurements) {
  const PowerRows rows(device, measurements);
  if (rows.rows().size() < kFewestPowerRows) return std::nullopt;
  double most = device.board_power.base();
  for (const PowerRow& row : rows.rows()) most = std::max(most, row.power.base());
  // Priors as wide as the board's limit: they decide only what the rows leave open.
  const std::vector<FreeParameter> free = {{0.0, most, 0.15 * most, 0.3 * most},
                                           {0.0, 3.0 * most, 0.8 * most, most},
                                           {0.0, 3.0 * most, 0.4 * most, most}};
  const LogError log_error = [&](std::span<const double> values, size_t index) {
    const PowerRow& row = rows.rows()[index];
    const Watts predicted = kernel_power(parameters_of(values), device.board_power, row.use);
    return std::log(std::max(predicted.base(), 1e-3 * most) / row.power.base());
  };
  const std::vector<double> best = fit_log_errors(free, rows.rows().size(), log_error, kPowerRowNoise);
  PowerFit fit;
  fit.parameters = parameters_of(best);
  std::vector<double> errors;
  for (size_t row = 0; row < rows.rows().size(); ++row) errors.push_back(log_error(best, row));
  FitError error;
  fit.relative_spread = summarize(errors, error);
  fit.covariance = {{"idle_w", "compute_w", "memory_w"},
                    log_error_covariance(free, rows.rows().size(), log_error, kPowerRowNoise, best)};
  fit.source.text = rows.source();
  return fit;
}

}  // namespace orrery
