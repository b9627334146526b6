#include "calibration/kernels/fit_attention.hpp"

#include <cmath>
#include <set>
#include <utility>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

constexpr double kRowNoise = 0.05;  // as for products

/// A parameter that may be free: how it is searched for and where it goes.
struct Slot {
  bool free;
  FreeParameter range;  ///< `expected` is the start's value
  double AttentionParameters::*member;
};

std::vector<Slot> slots_of(const AttentionParameters& start, const AttentionFreedom& freedom) {
  return {
      {true, {0.05, 1.0, start.efficiency, 0.15}, &AttentionParameters::efficiency},
      {freedom.ramp, {0.0, 8000.0, start.ramp, 700.0}, &AttentionParameters::ramp},
      {freedom.tail, {0.0, 1.5, start.tail, 0.3}, &AttentionParameters::tail},
      {freedom.full_ramp, {0.0, 1.0, start.full_ramp, 0.2}, &AttentionParameters::full_ramp},
      {freedom.narrow, {-0.5, 2.0, start.narrow, 0.3}, &AttentionParameters::narrow},
      {freedom.wide, {0.3, 1.5, start.wide, 0.2}, &AttentionParameters::wide},
      {freedom.backward, {0.3, 1.5, start.backward, 0.1}, &AttentionParameters::backward},
      {freedom.wide && freedom.backward,
       {0.3, 1.5, start.backward_wide, 0.2},
       &AttentionParameters::backward_wide},
  };
}

AttentionParameters parameters_of(std::span<const double> values, const AttentionParameters& start,
                                  const std::vector<Slot>& slots, bool launch_free) {
  AttentionParameters parameters = start;
  size_t next = 0;
  for (const Slot& slot : slots) {
    if (slot.free) parameters.*slot.member = values[next++];
  }
  if (launch_free) parameters.launch = microseconds(values[next]);
  return parameters;
}

std::vector<FreeParameter> free_parameters(const std::vector<Slot>& slots, const AttentionParameters& start,
                                           bool launch_free) {
  std::vector<FreeParameter> free;
  for (const Slot& slot : slots) {
    if (slot.free) free.push_back(slot.range);
  }
  if (launch_free) free.push_back({1.5, 60.0, start.launch.base() * 1e6, 5.0});  // microseconds
  return free;
}

/// Rows that are left out together.
using Family = std::pair<std::int64_t, AttentionPass>;

double total_log_error(const AttentionParameters& parameters, const DeviceSpec& device,
                       const MeasuredAttention& row) {
  return std::log((attention_pieces(parameters, device, row.shape).total() + row.overhead) /
                  (row.time + row.overhead));
}

/// Time to move the keys and values of a call once at full bandwidth.
Seconds cache_pass(const DeviceSpec& device, const AttentionShape& shape) {
  const double elements = static_cast<double>(shape.batch * shape.seq_kv * shape.kv_heads) *
                          static_cast<double>(shape.head_dim + shape.value_dim);
  return Bytes(elements * activation_bytes(shape.precision)) / device.memory_bandwidth;
}

}  // namespace

AttentionRows kernel_times(const DeviceSpec& device, std::span<const AttentionMeasurement> measurements,
                           const AttentionParameters& start, const AttentionFreedom& freedom) {
  constexpr Seconds kModule = microseconds(10);
  constexpr double kLeastShare = 0.2;
  const auto overhead = [&](const AttentionMeasurement& row, double passes) {
    return row.module_overhead ? kModule + passes * cache_pass(device, row.shape) : Seconds(0);
  };
  AttentionRows result;
  bool module = false;
  for (const AttentionMeasurement& row : measurements) module = module || row.module_overhead;
  if (module) {
    const std::vector<Slot> slots = slots_of(start, freedom);
    std::vector<FreeParameter> free = free_parameters(slots, start, freedom.launch);
    free.push_back({0.0, 20.0, 2.0, 3.0});  // one read and one write without cost elsewhere
    const LogError log_error = [&](std::span<const double> values, size_t index) {
      const AttentionMeasurement& row = measurements[index];
      const AttentionParameters parameters = parameters_of(values, start, slots, freedom.launch);
      return std::log(
          (attention_pieces(parameters, device, row.shape).total() + overhead(row, values.back())) /
          row.time);
    };
    result.cache_passes = fit_log_errors(free, measurements.size(), log_error, kRowNoise).back();
  }
  for (const AttentionMeasurement& row : measurements) {
    const Seconds beside = overhead(row, result.cache_passes);
    if (beside > (1.0 - kLeastShare) * row.time) continue;
    result.rows.push_back({row.shape, row.time - beside, beside});
  }
  return result;
}

AttentionParameters fit_attention_parameters(const DeviceSpec& device,
                                             std::span<const MeasuredAttention> rows,
                                             const AttentionParameters& start,
                                             const AttentionFreedom& freedom) {
  const std::vector<Slot> slots = slots_of(start, freedom);
  const std::vector<FreeParameter> free = free_parameters(slots, start, freedom.launch);
  const LogError log_error = [&](std::span<const double> values, size_t row) {
    return total_log_error(parameters_of(values, start, slots, freedom.launch), device, rows[row]);
  };
  AttentionParameters best =
      parameters_of(fit_log_errors(free, rows.size(), log_error, kRowNoise), start, slots, freedom.launch);
  best.launch = Seconds(six_digits(best.launch.base()));
  return best;
}

AttentionFit fit_attention(const DeviceSpec& device, AttentionKernel kernel,
                           std::vector<MeasuredAttention> rows, const AttentionParameters& start,
                           const AttentionFreedom& freedom, Source source, FitError& forward,
                           FitError& backward) {
  AttentionFit fit;
  fit.kernel = kernel;
  fit.parameters = fit_attention_parameters(device, rows, start, freedom);
  fit.source = std::move(source);

  std::set<std::int64_t> lengths;
  for (const MeasuredAttention& row : rows) lengths.insert(row.shape.seq_q);
  constexpr size_t kFewLengths = 3;
  const auto family_of = [&](const AttentionShape& shape) {
    return Family(lengths.size() > kFewLengths ? shape.seq_q : shape.heads, shape.pass);
  };
  std::set<Family> families;
  for (const MeasuredAttention& row : rows) families.insert(family_of(row.shape));
  std::vector<double> forward_errors, backward_errors;
  for (const Family& family : families) {
    AttentionFit others = fit;
    std::vector<MeasuredAttention> left_out;
    for (const MeasuredAttention& row : rows) {
      (family_of(row.shape) == family ? left_out : others.shapes).push_back(row);
    }
    if (others.shapes.empty()) continue;
    others.parameters = fit_attention_parameters(device, others.shapes, start, freedom);
    const ResidualField field = residual_field(others, device);
    for (const MeasuredAttention& row : left_out) {
      const double correction = std::exp(field.at(residual_point(row.shape)));
      const Seconds predicted = attention_pieces(others.parameters, device, row.shape).total() * correction;
      const double log_error = std::log((predicted + row.overhead) / (row.time + row.overhead));
      (family.second == AttentionPass::forward ? forward_errors : backward_errors).push_back(log_error);
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
