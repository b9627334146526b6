#include "calibration/kernels/fit_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/log_error_fit.hpp"

namespace orrery {
namespace {

constexpr double kMemoryRowNoise = 0.05;  // as for products
constexpr double kSharesSpread = 0.1;     // the shares of one architecture differ by this much and less

bool by_index(MemoryKind kind) {
  return kind == MemoryKind::gather || kind == MemoryKind::scatter || kind == MemoryKind::permute;
}

/// Which parameters the rows tell: the share of every kind that they hold, then the launch.
class MemoryForm {
 public:
  MemoryForm(const DeviceSpec& device, std::vector<MemoryMeasurement> rows)
      : device_(device), rows_(std::move(rows)) {
    std::set<MemoryKind> kinds;
    for (const MemoryMeasurement& row : rows_) kinds.insert(row.shape.kind);
    kinds_.assign(kinds.begin(), kinds.end());
    for (size_t i = 0; i < kinds_.size(); ++i) free_.push_back({0.02, 1.0, 0.8, 0.3});
    free_.push_back({0.0, 60.0, 3.0, 5.0});  // microseconds
  }

  const std::vector<MemoryMeasurement>& rows() const { return rows_; }
  const std::vector<MemoryKind>& kinds() const { return kinds_; }
  const std::vector<FreeParameter>& free() const { return free_; }

  double log_error(std::span<const double> values, size_t row) const {
    MemoryParameters parameters;
    for (size_t i = 0; i < kinds_.size(); ++i) parameters.share[static_cast<size_t>(kinds_[i])] = values[i];
    parameters.launch = microseconds(values[kinds_.size()]);
    return std::log(memory_time(parameters, device_, rows_[row].shape) / rows_[row].time);
  }

  std::vector<double> fit(const std::vector<size_t>& which) const {
    return fit_log_errors(
        free_, which.size(),
        [&](std::span<const double> values, size_t row) { return log_error(values, which[row]); },
        kMemoryRowNoise);
  }

  ParameterCovariance covariance(std::span<const double> optimum) const {
    ParameterCovariance result;
    std::vector<double> scales;
    for (const MemoryKind kind : kinds_) {
      result.names.push_back("share/" + std::string(name_of(kind)));
      scales.push_back(1.0);
    }
    result.names.emplace_back("launch_s");
    scales.push_back(1e-6);
    result.matrix = log_error_covariance(
        free_, rows_.size(),
        [this](std::span<const double> values, size_t row) { return log_error(values, row); },
        kMemoryRowNoise, optimum, scales);
    return result;
  }

  LearnAndPredict learner(const std::vector<size_t>& of_kind) const {
    // Other kinds stay in the training rows: they share the launch.
    return [this, of_kind](const std::vector<size_t>& /*train*/, const std::vector<size_t>& test) {
      std::set<size_t> left_out;
      for (const size_t row : test) left_out.insert(of_kind[row]);
      std::vector<size_t> rest;
      for (size_t row = 0; row < rows_.size(); ++row) {
        if (!left_out.count(row)) rest.push_back(row);
      }
      const std::vector<double> values = fit(rest);
      std::vector<double> errors;
      errors.reserve(test.size());
      for (const size_t row : test) errors.push_back(log_error(values, of_kind[row]));
      return errors;
    };
  }

 private:
  const DeviceSpec& device_;
  std::vector<MemoryMeasurement> rows_;
  std::vector<MemoryKind> kinds_;
  std::vector<FreeParameter> free_;
};

/// Errors of one kind, whole kernels left out.
FittedMemoryKind judge(const MemoryForm& form, MemoryKind kind, std::uint64_t seed,
                       std::vector<double>& log_errors) {
  std::vector<size_t> of_kind;
  std::set<std::string> names;
  for (size_t row = 0; row < form.rows().size(); ++row) {
    if (form.rows()[row].shape.kind != kind) continue;
    of_kind.push_back(row);
    names.insert(form.rows()[row].name);
  }
  std::vector<HeldOutRow> rows;
  std::vector<std::string> families;
  for (const size_t row : of_kind) {
    const MemoryMeasurement& measured = form.rows()[row];
    const std::string size = fmt::format("{:.0f} B", measured.shape.traffic.base());
    families.push_back(names.size() > 1 ? measured.name : size);
    rows.push_back({families.back(), measured.name + " " + size, measured.time});
  }
  FittedMemoryKind result;
  result.kind = kind;
  const int all = static_cast<int>(std::set<std::string>(families.begin(), families.end()).size());
  const std::vector<double> errors =
      left_out_errors(family_folds(families, all, seed), form.learner(of_kind));
  summarize(errors, result.error);
  result.error.op = "memory";
  result.error.subset = name_of(kind);
  result.held_out = hold_out_a_fifth(rows, seed, form.learner(of_kind));
  log_errors.insert(log_errors.end(), errors.begin(), errors.end());
  return result;
}

/// Shares of the kinds that no row tells; says which.
std::string fill_other_kinds(MemoryParameters& parameters, const std::vector<MemoryKind>& measured,
                             const MemoryRules& rules, const MemoryFit& otherwise) {
  const auto has = [&](MemoryKind kind) {
    return std::find(measured.begin(), measured.end(), kind) != measured.end();
  };
  double sum = 0.0, count = 0.0;
  for (const MemoryKind kind : measured) {
    if (by_index(kind)) continue;
    sum += std::log(parameters.share_of(kind));
    count += 1.0;
  }
  const double in_order = has(MemoryKind::streaming) ? parameters.share_of(MemoryKind::streaming)
                          : count > 0.0              ? std::exp(sum / count)
                                                     : otherwise.parameters.share_of(MemoryKind::streaming);
  std::string in_order_names, index_names;
  for (int i = 0; i < kMemoryKinds; ++i) {
    const auto kind = static_cast<MemoryKind>(i);
    if (has(kind)) continue;
    std::string& names = by_index(kind) ? index_names : in_order_names;
    names += (names.empty() ? "" : ", ") + std::string(name_of(kind));
    parameters.share[static_cast<size_t>(i)] =
        six_digits(by_index(kind) ? in_order * rules.by_index : in_order);
  }
  std::string text;
  if (!in_order_names.empty()) {
    text += fmt::format("; not measured, assumed as {}: {}",
                        has(MemoryKind::streaming) ? "streaming" : "the kinds beside them", in_order_names);
  }
  if (!index_names.empty()) {
    text += fmt::format("; not measured, assumed {:.3g} of that: {} ({})", rules.by_index, index_names,
                        rules.by_index_source);
  }
  return text;
}

}  // namespace

MemoryFit fit_memory_shares(const DeviceSpec& device, std::span<const DeviceSpec> devices,
                            std::span<const MemoryMeasurement> rows, const MemoryRules& rules) {
  std::vector<double> shares;
  std::string names;
  bool own = false;
  const auto add = [&](double share, const std::string& source) {
    shares.push_back(share);
    names += fmt::format("{}{:.3g} ({})", names.empty() ? "" : ", ", share, source);
  };
  for (const MemoryMeasurement& row : rows) {
    const auto measured = std::find_if(devices.begin(), devices.end(),
                                       [&](const DeviceSpec& other) { return other.name == row.gpu; });
    if (!row.share || row.shape.kind != MemoryKind::streaming || measured == devices.end() ||
        measured->architecture != device.architecture)
      continue;
    own = own || row.gpu == device.name;
    add(*row.share, row.gpu + ": " + row.source);
  }
  const bool known = !shares.empty();
  if (shares.size() < 2) add(rules.any_share, rules.any_source);
  double sum = 0.0;
  for (const double share : shares) sum += std::log(share);

  MemoryFit fit;
  const double in_order = six_digits(std::exp(sum / static_cast<double>(shares.size())));
  fit.parameters.set_shares(in_order, six_digits(in_order * rules.by_index));
  fit.parameters.launch = rules.any_launch;
  fit.relative_spread = kSharesSpread;
  fit.evidence = own ? Evidence::interpolated : known ? Evidence::extrapolated : Evidence::assumed;
  fit.source.text = fmt::format("geometric mean of {}; gathers: {}", names, rules.by_index_source);
  if (fit.evidence == Evidence::assumed) fit.source.text = "assumed: " + fit.source.text;
  return fit;
}

std::optional<FittedMemory> fit_memory_rows(const DeviceSpec& device, std::span<const MemoryMeasurement> rows,
                                            const MemoryRules& rules, const MemoryFit& otherwise,
                                            std::uint64_t seed) {
  std::vector<MemoryMeasurement> own;
  std::set<std::string> sources;
  for (const MemoryMeasurement& row : rows) {
    if (row.gpu != device.name || row.share) continue;
    own.push_back(row);
    sources.insert(row.source);
  }
  if (own.size() < kFewestMemoryRows) return std::nullopt;
  const MemoryForm form(device, std::move(own));
  std::vector<size_t> all;
  for (size_t row = 0; row < form.rows().size(); ++row) all.push_back(row);
  const std::vector<double> values = form.fit(all);

  FittedMemory result;
  MemoryFit& fit = result.fit;
  for (size_t i = 0; i < form.kinds().size(); ++i) {
    fit.parameters.share[static_cast<size_t>(form.kinds()[i])] = values[i];
  }
  fit.parameters.launch = Seconds(six_digits(microseconds(values.back()).base()));
  fit.covariance = form.covariance(values);
  std::vector<double> log_errors;
  for (const MemoryKind kind : form.kinds()) {
    result.kinds.push_back(judge(form, kind, seed, log_errors));
    MemoryRange range{kind, Bytes(0), Bytes(0)};
    for (const MemoryMeasurement& row : form.rows()) {
      if (row.shape.kind != kind) continue;
      range.least = range.most == Bytes(0) ? row.shape.traffic : min(range.least, row.shape.traffic);
      range.most = max(range.most, row.shape.traffic);
    }
    fit.ranges.push_back(range);
  }
  FitError together;
  const double spread = summarize(log_errors, together);
  fit.relative_spread = log_errors.empty() ? kSharesSpread : spread;
  fit.evidence = Evidence::interpolated;
  fit.source.text = fmt::format("{} kernels of ", form.rows().size());
  for (const std::string& source : sources)
    fit.source.text += (source == *sources.begin() ? "" : "; ") + source;
  fit.source.text += fill_other_kinds(fit.parameters, form.kinds(), rules, otherwise);
  return result;
}

}  // namespace orrery
