#include "calibration/kernels/fit_gemm.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "calibration/kernels/lawful_residuals.hpp"
#include "calibration/kernels/log_error_fit.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

constexpr double kGemmRowNoise =
    0.05;  // repeats and neighbours of the burst tables scatter by about this much

// In the order of the search's vector.
enum Index : size_t {
  kEfficiency,
  kRamp,
  kQuantisation,
  kLaunch,
  kMemory,
  kSplit,
  kFeed,
  kOverlap,
  kQuantize
};

// Priors: sizes found by fitting A100, H100 and B200 without any (README.md); they only decide what a small
// table leaves open. A product that quantises has several launches, and the kernels of 8 and 4 bits seldom
// split k.
std::vector<FreeParameter> free_parameters(bool quantized) {
  std::vector<FreeParameter> free(quantized ? 9 : 8);
  free[kEfficiency] = {0.2, 1.0, quantized ? 0.72 : 0.82, 0.15};
  free[kRamp] = {0.0, 20.0, quantized ? 4.0 : 0.5, quantized ? 4.0 : 1.0};  // hundreds of elements
  free[kQuantisation] = {0.1, 1.0, 0.35, 0.12};
  free[kLaunch] = {0.5, 30.0, quantized ? 4.0 : 2.7, quantized ? 4.0 : 1.0};  // microseconds
  free[kMemory] = {0.2, 1.0, 0.75, 0.15};
  free[kSplit] = {0.0, 20.0, quantized ? 4.0 : 2.0, 1.0};  // microseconds
  free[kFeed] = {0.3, 30.0, 4.0, 2.0};    // rate of an SM's loads over its share of the memory bandwidth
  free[kOverlap] = {1.0, 8.0, 3.0, 1.5};  // p of the norm
  if (quantized) free[kQuantize] = {0.1, 1.0, 0.6, 0.15};
  return free;
}

/// An SM's share of the memory bandwidth.
double share_of(const DeviceSpec& device) { return device.memory_bandwidth.base() / device.sms; }

GemmParameters parameters_of(std::span<const double> values, const DeviceSpec& device, bool square_tiles) {
  GemmParameters parameters;
  parameters.efficiency = values[kEfficiency];
  parameters.ramp = 100.0 * values[kRamp];
  parameters.quantisation = values[kQuantisation];
  parameters.launch = microseconds(values[kLaunch]);
  parameters.memory = values[kMemory];
  parameters.split_launch = microseconds(values[kSplit]);
  parameters.feed = 1.0 / (values[kFeed] * share_of(device));
  parameters.contention = 1.0 / values[kOverlap];
  parameters.quantize_memory = values.size() > kQuantize ? values[kQuantize] : 1.0;
  parameters.square_tiles = square_tiles;
  return parameters;
}

std::vector<double> values_of(const GemmParameters& parameters, const DeviceSpec& device, bool quantized) {
  std::vector<double> values = {parameters.efficiency,
                                parameters.ramp / 100.0,
                                parameters.quantisation,
                                parameters.launch.base() * 1e6,
                                parameters.memory,
                                parameters.split_launch.base() * 1e6,
                                1.0 / (parameters.feed * share_of(device)),
                                1.0 / parameters.contention};
  if (quantized) values.push_back(parameters.quantize_memory);
  return values;
}

/// What the form's parameters alone decide. A search asks for row after row under the same few sets of
/// values: a point, and each value moved up and down.
class RecentParameters {
 public:
  struct Entry {
    std::vector<double> values;
    GemmParameters parameters;
    TileTimes tiles;
  };

  Entry& of(std::span<const double> values, const DeviceSpec& device, bool square_tiles) {
    for (size_t tried = 0; tried < entries_.size(); ++tried) {
      last_ = (last_ + 1) % entries_.size();
      if (std::equal(values.begin(), values.end(), entries_[last_].values.begin(),
                     entries_[last_].values.end())) {
        return entries_[last_];
      }
    }
    last_ = oldest_++ % entries_.size();
    entries_[last_] = {
        {values.begin(), values.end()}, parameters_of(values, device, square_tiles), TileTimes{}};
    return entries_[last_];
  }

 private:
  std::array<Entry, 2 * (kQuantize + 1) + 1> entries_;
  size_t last_ = 0, oldest_ = 0;
};

/// ln(form / measured) of a row, all of one precision, under the search's values. Not for several threads.
LogError log_error_of(const DeviceSpec& device, std::span<const MeasuredGemm> rows, bool square_tiles) {
  return [&device, rows, square_tiles, recent = std::make_shared<RecentParameters>()](
             std::span<const double> values, size_t row) {
    RecentParameters::Entry& entry = recent->of(values, device, square_tiles);
    const GemmPieces pieces = gemm_pieces(entry.parameters, device, rows[row].shape, 1.0, &entry.tiles);
    return std::log(pieces.total() / rows[row].time);
  };
}

bool has_quantise(std::span<const MeasuredGemm> rows) {
  return std::any_of(rows.begin(), rows.end(), [](const MeasuredGemm& row) {
    return row.shape.quantized_inputs && is_quantized(row.shape.precision);
  });
}

/// Covariance of the search's parameters at the optimum, under the names and in the units of a profile.
ParameterCovariance covariance_of(const DeviceSpec& device, std::span<const MeasuredGemm> rows,
                                  const GemmParameters& optimum) {
  const bool quantized = has_quantise(rows);
  const std::vector<double> values = values_of(optimum, device, quantized);
  ParameterCovariance result;
  result.names = {"efficiency", "ramp",           "quantisation",    "launch_s",
                  "memory",     "split_launch_s", "feed_s_per_byte", "contention"};
  // feed and contention are reciprocals of what the search varies: d(1/x) = -dx / x^2.
  std::vector<double> scales = {1,
                                100,
                                1,
                                1e-6,
                                1,
                                1e-6,
                                -1.0 / (share_of(device) * values[kFeed] * values[kFeed]),
                                -1.0 / (values[kOverlap] * values[kOverlap])};
  if (quantized) {
    result.names.emplace_back("quantize_memory");
    scales.push_back(1);
  }
  result.matrix =
      log_error_covariance(free_parameters(quantized), rows.size(),
                           log_error_of(device, rows, optimum.square_tiles), kGemmRowNoise, values, scales);
  return result;
}

/// A product in 8 or 4 bits starts like one in bf16; what its table has beyond that is the quantise's start.
GemmParameters split_quantize_launch(GemmParameters parameters, std::span<const MeasuredGemm> rows,
                                     const GemmFit* bf16) {
  if (bf16 == nullptr || !has_quantise(rows) || parameters.launch <= bf16->parameters.launch)
    return parameters;
  parameters.quantize_launch = Seconds(six_digits((parameters.launch - bf16->parameters.launch).base()));
  parameters.launch = bf16->parameters.launch;
  return parameters;
}

}  // namespace

GemmParameters fit_gemm_parameters(const DeviceSpec& device, std::span<const MeasuredGemm> rows,
                                   const std::optional<GemmParameters>& start) {
  const bool quantized = has_quantise(rows);
  const bool square_tiles = device.architecture == "blackwell";
  const std::vector<FreeParameter> free = free_parameters(quantized);
  std::vector<std::vector<double>> starts;
  if (start) {
    starts.push_back(values_of(*start, device, quantized));
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
  const std::vector<double> best =
      fit_log_errors(free, rows.size(), log_error_of(device, rows, square_tiles), kGemmRowNoise, starts);
  GemmParameters parameters = parameters_of(best, device, square_tiles);
  parameters.ramp = six_digits(parameters.ramp);
  parameters.launch = Seconds(six_digits(parameters.launch.base()));
  parameters.split_launch = Seconds(six_digits(parameters.split_launch.base()));
  parameters.feed = six_digits(parameters.feed);
  parameters.contention = six_digits(parameters.contention);
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
  error.log_errors = log_errors;
  error.median = six_digits(quantile(absolute, 0.5).value_or(0.0));
  error.p95 = six_digits(quantile(absolute, 0.95).value_or(0.0));
  return log_errors.empty() ? 0.0 : six_digits(std::sqrt(squares / static_cast<double>(log_errors.size())));
}

GemmFit fit_gemm(const DeviceSpec& device, std::vector<MeasuredGemm> rows, Source source, const GemmFit* bf16,
                 FitError& error) {
  GemmFit fit;
  fit.precision = rows.front().shape.precision;
  const GemmParameters optimum = fit_gemm_parameters(device, rows);
  fit.parameters = split_quantize_launch(optimum, rows, bf16);
  fit.covariance = covariance_of(device, rows, optimum);
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
    others.parameters =
        split_quantize_launch(fit_gemm_parameters(device, others.shapes, optimum), others.shapes, bf16);
    believe_lawfully(others, device);
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
  believe_lawfully(fit, device);
  return fit;
}

}  // namespace orrery
