#include "calibration/kernels/fit_attention.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

constexpr double kAttentionRowNoise = 0.05;  // as for products
constexpr double kMicrosecond = 1e-6;

/// Where a free parameter goes. Times are searched for in microseconds.
struct Slot {
  std::string key;  ///< in the profile
  double AttentionParameters::*number;
  Seconds AttentionParameters::*time;
};

/// The free parameters of attention_pieces.
class Search {
 public:
  Search(const AttentionParameters& start, const AttentionFreedom& freedom) : start_(start) {
    add("efficiency", true, {0.05, 1.0, start.efficiency, 0.15}, &AttentionParameters::efficiency);
    add("ramp", freedom.ramp, {0.0, 8000.0, start.ramp, 700.0}, &AttentionParameters::ramp);
    add("tail", freedom.tail, {0.0, 1.5, start.tail, 0.3}, &AttentionParameters::tail);
    add("full_ramp", freedom.full_ramp, {0.0, 1.0, start.full_ramp, 0.2}, &AttentionParameters::full_ramp);
    add("narrow", freedom.narrow, {-0.5, 2.0, start.narrow, 0.3}, &AttentionParameters::narrow);
    add("wide", freedom.wide, {0.3, 1.5, start.wide, 0.2}, &AttentionParameters::wide);
    add("throttle", freedom.throttle, {0.0, 0.5, start.throttle, 0.2}, &AttentionParameters::throttle);
    add("backward", freedom.backward, {0.3, 1.5, start.backward, 0.1}, &AttentionParameters::backward);
    add("backward_wide", freedom.wide && freedom.backward, {0.3, 1.5, start.backward_wide, 0.2},
        &AttentionParameters::backward_wide);
    if (!freedom.launch) return;
    free_.push_back({1.5, 60.0, start.launch.base() / kMicrosecond, 5.0});
    slots_.push_back({"launch_s", nullptr, &AttentionParameters::launch});
  }

  const std::vector<FreeParameter>& free() const { return free_; }

  /// @param values  at least as many as free(); more are ignored
  AttentionParameters parameters(std::span<const double> values) const {
    AttentionParameters parameters = start_;
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].time) {
        parameters.*slots_[i].time = Seconds(values[i] * kMicrosecond);
      } else {
        parameters.*slots_[i].number = values[i];
      }
    }
    return parameters;
  }

  /// @param values of a fit
  ParameterCovariance covariance(size_t rows, const LogError& log_error,
                                 std::span<const double> values) const {
    ParameterCovariance result;
    std::vector<double> scales;
    for (const Slot& slot : slots_) {
      result.names.push_back(slot.key);
      scales.push_back(slot.time ? kMicrosecond : 1.0);
    }
    result.matrix = log_error_covariance(free_, rows, log_error, kAttentionRowNoise, values, scales);
    return result;
  }

 private:
  void add(std::string key, bool free, const FreeParameter& range, double AttentionParameters::*number) {
    if (!free) return;
    free_.push_back(range);
    slots_.push_back({std::move(key), number, nullptr});
  }

  AttentionParameters start_;
  std::vector<Slot> slots_;
  std::vector<FreeParameter> free_;  ///< `expected` is the start's value
};

double total_log_error(const AttentionParameters& parameters, const DeviceSpec& device,
                       const MeasuredAttention& row) {
  return std::log((attention_pieces(parameters, device, row.shape).total() + row.overhead) /
                  (row.time + row.overhead));
}

struct Fitted {
  AttentionParameters parameters;
  ParameterCovariance covariance;
};

Fitted fit_rows(const DeviceSpec& device, std::span<const MeasuredAttention> rows,
                const AttentionParameters& start, const AttentionFreedom& freedom, bool covariance) {
  const Search search(start, freedom);
  const LogError log_error = [&](std::span<const double> values, size_t row) {
    return total_log_error(search.parameters(values), device, rows[row]);
  };
  const std::vector<double> values =
      fit_log_errors(search.free(), rows.size(), log_error, kAttentionRowNoise);
  Fitted fitted{search.parameters(values), {}};
  fitted.parameters.launch = Seconds(six_digits(fitted.parameters.launch.base()));
  if (covariance) fitted.covariance = search.covariance(rows.size(), log_error, values);
  return fitted;
}

/// Time to move the keys and values of a call once at full bandwidth.
Seconds cache_pass(const DeviceSpec& device, const AttentionShape& shape) {
  const double elements = static_cast<double>(shape.batch * shape.seq_kv * shape.kv_heads) *
                          static_cast<double>(shape.head_dim + shape.value_dim);
  return Bytes(elements * activation_bytes(shape.precision)) / device.memory_bandwidth;
}

/// What rows hold beside the kernel, in two unknowns of a module and two of a loop.
class Overheads {
 public:
  Overheads(const DeviceSpec& device, std::span<const AttentionMeasurement> rows) : device_(device) {
    for (const AttentionMeasurement& row : rows) {
      module_ = module_ || row.module_overhead;
      loop_ = loop_ || in_loop(row);
    }
  }

  bool any() const { return module_ || loop_; }

  /// The unknowns, in the order that time() takes them.
  std::vector<FreeParameter> unknowns() const {
    std::vector<FreeParameter> unknowns;
    if (module_) {
      unknowns.push_back({0.0, 20.0, 2.0, 3.0});  // passes: one read and one write if nothing else
      unknowns.push_back({0.0, 30.0, 0.0, 5.0});  // nanoseconds a position
    }
    if (loop_) {  // microseconds forward and backward: a round trip of PyTorch
      unknowns.push_back({0.0, 80.0, 20.0, 30.0});
      unknowns.push_back({0.0, 80.0, 20.0, 30.0});
    }
    return unknowns;
  }

  Seconds time(const AttentionMeasurement& row, std::span<const double> unknowns) const {
    const AttentionShape& shape = row.shape;
    if (row.module_overhead) {
      const double positions = static_cast<double>(shape.batch * shape.seq_kv);
      const double unshared = shape.heads == shape.kv_heads ? positions * unknowns[1] * 1e-9 : 0.0;
      return kModule + unknowns[0] * cache_pass(device_, shape) + Seconds(unshared);
    }
    if (!in_loop(row)) return Seconds(0);
    return microseconds(unknowns[first_of_loop() + (shape.pass == AttentionPass::forward ? 0 : 1)]);
  }

  std::string text(std::span<const double> unknowns) const {
    std::string text;
    if (module_) {
      text = fmt::format(
          "10 us, {:.3g} passes over keys and values and, where no heads share them, {:.3g} ns a position "
          "taken off",
          unknowns[0], unknowns[1]);
    }
    if (loop_) {
      text += fmt::format("{}{:.3g} us a forward and {:.3g} us a backward call taken off (the host's start)",
                          text.empty() ? "" : "; ", unknowns[first_of_loop()], unknowns[first_of_loop() + 1]);
    }
    return text;
  }

 private:
  static constexpr Seconds kModule = microseconds(10);

  static bool in_loop(const AttentionMeasurement& row) {
    return row.campaign == Campaign::sustained && !row.states_conditions;
  }

  size_t first_of_loop() const { return module_ ? 2 : 0; }

  const DeviceSpec& device_;
  bool module_ = false, loop_ = false;
};

}  // namespace

AttentionRows kernel_times(const DeviceSpec& device, std::span<const AttentionMeasurement> measurements,
                           const AttentionParameters& start, const AttentionFreedom& freedom) {
  constexpr double kLeastShare = 0.2;
  const Overheads overheads(device, measurements);
  AttentionRows result;
  std::vector<double> unknowns(overheads.unknowns().size(), 0.0);
  if (overheads.any()) {
    const Search search(start, freedom);
    std::vector<FreeParameter> free = search.free();
    const size_t own = free.size();
    for (const FreeParameter& unknown : overheads.unknowns()) free.push_back(unknown);
    const LogError log_error = [&](std::span<const double> values, size_t index) {
      const AttentionMeasurement& row = measurements[index];
      return std::log((attention_pieces(search.parameters(values), device, row.shape).total() +
                       overheads.time(row, values.subspan(own))) /
                      row.time);
    };
    const std::vector<double> values =
        fit_log_errors(free, measurements.size(), log_error, kAttentionRowNoise);
    std::copy(values.begin() + static_cast<std::ptrdiff_t>(own), values.end(), unknowns.begin());
    result.taken_off = overheads.text(unknowns);
  }
  for (const AttentionMeasurement& row : measurements) {
    if (row.shape.window > 0) continue;
    const Seconds beside = overheads.time(row, unknowns);
    if (beside > (1.0 - kLeastShare) * row.time) continue;
    result.rows.push_back({row.shape, row.time - beside, beside});
  }
  return result;
}

AttentionParameters fit_attention_parameters(const DeviceSpec& device,
                                             std::span<const MeasuredAttention> rows,
                                             const AttentionParameters& start,
                                             const AttentionFreedom& freedom) {
  return fit_rows(device, rows, start, freedom, false).parameters;
}

std::vector<std::int64_t> attention_families(std::span<const MeasuredAttention> rows) {
  constexpr size_t kFewLengths = 3;
  std::set<std::int64_t> lengths;
  for (const MeasuredAttention& row : rows) lengths.insert(row.shape.seq_q);
  std::vector<std::int64_t> families;
  for (const MeasuredAttention& row : rows) {
    families.push_back(lengths.size() > kFewLengths ? row.shape.seq_q : row.shape.batch * row.shape.heads);
  }
  return families;
}

AttentionFit fit_attention(const DeviceSpec& device, AttentionKernel kernel,
                           std::vector<MeasuredAttention> rows, const AttentionParameters& start,
                           const AttentionFreedom& freedom, Source source, FitError& forward,
                           FitError& backward) {
  AttentionFit fit;
  fit.kernel = kernel;
  const Fitted fitted = fit_rows(device, rows, start, freedom, true);
  fit.parameters = fitted.parameters;
  fit.covariance = fitted.covariance;
  fit.source = std::move(source);

  const std::vector<std::int64_t> family_of = attention_families(rows);
  std::set<std::pair<std::int64_t, AttentionPass>> families;
  for (size_t i = 0; i < rows.size(); ++i) families.emplace(family_of[i], rows[i].shape.pass);
  std::vector<double> forward_errors, backward_errors;
  for (const auto& [family, pass] : families) {
    AttentionFit others = fit;
    std::vector<MeasuredAttention> left_out;
    for (size_t i = 0; i < rows.size(); ++i) {
      const bool out = family_of[i] == family && rows[i].shape.pass == pass;
      (out ? left_out : others.shapes).push_back(rows[i]);
    }
    if (others.shapes.empty()) continue;
    others.parameters = fit_attention_parameters(device, others.shapes, start, freedom);
    const ResidualField field = residual_field(others, device);
    for (const MeasuredAttention& row : left_out) {
      const double correction = std::exp(field.at(residual_point(row.shape)));
      const Seconds predicted = attention_pieces(others.parameters, device, row.shape).total() * correction;
      const double log_error = std::log((predicted + row.overhead) / (row.time + row.overhead));
      (pass == AttentionPass::forward ? forward_errors : backward_errors).push_back(log_error);
    }
  }
  forward.op = "attention forward";
  backward.op = "attention backward";
  forward.subset = backward.subset = name_of(kernel);
  fit.relative_spread = summarize(forward_errors, forward);
  summarize(backward_errors, backward);
  fit.shapes = std::move(rows);
  return fit;
}

}  // namespace orrery
