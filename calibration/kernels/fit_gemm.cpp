#include "calibration/kernels/fit_gemm.hpp"

#include <cmath>
#include <set>
#include <utility>

#include "calibration/kernels/log_error_fit.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

constexpr double kRowNoise = 0.05;  // repeats and neighbours of the burst tables scatter by about this much

// In the order of the search's vector. Priors: sizes found by fitting A100, H100 and B200 without any
// (README.md); they only decide what a small table leaves open.
enum Index : size_t { kEfficiency, kHalving, kRamp, kQuantisation, kLaunch, kMemory, kSplit, kQuantize };

std::vector<FreeParameter> free_parameters(bool quantized) {
  std::vector<FreeParameter> free(quantized ? 8 : 7);
  free[kEfficiency] = {0.2, 1.0, quantized ? 0.72 : 0.82, 0.15};
  free[kHalving] = {0.5, 1.0, 0.9, 0.1};
  free[kRamp] = {0.0, 20.0, quantized ? 4.0 : 0.5, quantized ? 4.0 : 1.0};  // hundreds of elements
  free[kQuantisation] = {0.1, 1.0, 0.35, 0.12};
  free[kLaunch] = {0.5, 30.0, 4.0, 4.0};  // microseconds
  free[kMemory] = {0.2, 1.0, 0.7, 0.15};
  free[kSplit] = {0.0, 20.0, 1.0, 3.0};  // microseconds
  if (quantized) free[kQuantize] = {0.1, 1.0, 0.6, 0.15};
  return free;
}

GemmParameters parameters_of(std::span<const double> values, bool square_tiles) {
  GemmParameters parameters;
  parameters.efficiency = values[kEfficiency];
  parameters.halving = values[kHalving];
  parameters.ramp = 100.0 * values[kRamp];
  parameters.quantisation = values[kQuantisation];
  parameters.launch = microseconds(values[kLaunch]);
  parameters.memory = values[kMemory];
  parameters.split_launch = microseconds(values[kSplit]);
  parameters.quantize_memory = values.size() > kQuantize ? values[kQuantize] : 1.0;
  parameters.square_tiles = square_tiles;
  return parameters;
}

std::vector<double> values_of(const GemmParameters& parameters, bool quantized) {
  std::vector<double> values = {parameters.efficiency,
                                parameters.halving,
                                parameters.ramp / 100.0,
                                parameters.quantisation,
                                parameters.launch.base() * 1e6,
                                parameters.memory,
                                parameters.split_launch.base() * 1e6};
  if (quantized) values.push_back(parameters.quantize_memory);
  return values;
}

}  // namespace

GemmParameters fit_gemm_parameters(const DeviceSpec& device, std::span<const MeasuredGemm> rows,
                                   const std::optional<GemmParameters>& start) {
  bool quantized = false;
  for (const MeasuredGemm& row : rows) {
    quantized = quantized || (row.shape.quantized_inputs && is_quantized(row.shape.precision));
  }
  const bool square_tiles = device.architecture == "blackwell";
  const std::vector<FreeParameter> free = free_parameters(quantized);
  std::vector<std::vector<double>> starts;
  if (start) {
    starts.push_back(values_of(*start, quantized));
  } else {
    for (const double ramp : {0.2, 6.0}) {
      for (const double quantisation : {0.1, 0.7}) {
        std::vector<double> values;
        values.reserve(free.size());
        for (const FreeParameter& parameter : free) values.push_back(parameter.expected);
        values[kRamp] = ramp;
        values[kQuantisation] = quantisation;
        starts.push_back(values);
      }
    }
  }
  const LogError log_error = [&](std::span<const double> values, size_t row) {
    const Seconds predicted =
        gemm_pieces(parameters_of(values, square_tiles), device, rows[row].shape).total();
    return std::log(predicted / rows[row].time);
  };
  const std::vector<double> best = fit_log_errors(free, rows.size(), log_error, kRowNoise, starts);
  GemmParameters parameters = parameters_of(best, square_tiles);
  parameters.ramp = six_digits(parameters.ramp);
  parameters.launch = Seconds(six_digits(parameters.launch.base()));
  parameters.split_launch = Seconds(six_digits(parameters.split_launch.base()));
  return parameters;
}

double summarize(const std::vector<double>& log_errors, FitError& error) {
  constexpr double kClip = 0.5;  // one odd row in a table of 25 must not set the spread of all
  std::vector<double> absolute;
  double squares = 0.0;
  for (const double value : log_errors) {
    absolute.push_back(std::abs(std::expm1(value)));
    squares += std::pow(std::min(std::abs(value), kClip), 2);
  }
  error.rows = static_cast<int>(log_errors.size());
  error.median = six_digits(quantile(absolute, 0.5).value_or(0.0));
  error.p95 = six_digits(quantile(absolute, 0.95).value_or(0.0));
  return log_errors.empty() ? 0.0 : six_digits(std::sqrt(squares / static_cast<double>(log_errors.size())));
}

GemmFit fit_gemm(const DeviceSpec& device, std::vector<MeasuredGemm> rows, Source source, FitError& error) {
  GemmFit fit;
  fit.precision = rows.front().shape.precision;
  fit.parameters = fit_gemm_parameters(device, rows);
  fit.source = std::move(source);

  std::set<std::pair<std::int64_t, std::int64_t>> families;
  for (const MeasuredGemm& row : rows) families.emplace(row.shape.n, row.shape.k);
  std::vector<double> log_errors;
  for (const auto& family : families) {
    GemmFit others = fit;
    std::vector<MeasuredGemm> left_out;
    for (const MeasuredGemm& row : rows) {
      (std::pair(row.shape.n, row.shape.k) == family ? left_out : others.shapes).push_back(row);
    }
    if (others.shapes.empty()) continue;
    others.parameters = fit_gemm_parameters(device, others.shapes, fit.parameters);
    const ResidualField field = residual_field(others, device);
    for (const MeasuredGemm& row : left_out) {
      const Seconds predicted = gemm_pieces(others.parameters, device, row.shape).total();
      log_errors.push_back(std::log(predicted / row.time) + field.at(residual_point(row.shape)));
    }
  }
  error.op = "gemm";
  error.subset = name_of(fit.precision);
  fit.relative_spread = summarize(log_errors, error);
  fit.shapes = std::move(rows);
  return fit;
}

}  // namespace orrery
