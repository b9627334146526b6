#include "reports/answers/validation.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "reports/answers/statistics.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

using Rows = std::vector<const ValidationRow*>;

std::map<std::string, Rows> grouped(const Rows& rows, const std::string ValidationRow::*key) {
  std::map<std::string, Rows> groups;
  for (const ValidationRow* row : rows) groups[row->*key].push_back(row);
  return groups;
}

std::optional<double> correlation_within_sources(const Rows& scored) {
  double weighted = 0.0;
  double weight = 0.0;
  for (const auto& [source, rows] : grouped(scored, &ValidationRow::source_group)) {
    std::vector<double> measured;
    std::vector<double> predicted;
    for (const ValidationRow* row : rows) {
      measured.push_back(row->measured_step_s);
      predicted.push_back(row->predicted_step_s);
    }
    if (const auto correlation = rank_correlation(measured, predicted)) {
      weighted += *correlation * static_cast<double>(rows.size());
      weight += static_cast<double>(rows.size());
    }
  }
  if (weight == 0.0) return std::nullopt;
  return weighted / weight;
}

ValidationSummary summarize_group(const std::string& by, const std::string& group, const Rows& rows) {
  ValidationSummary summary;
  summary.by = by;
  summary.group = group;
  summary.rows = static_cast<int>(rows.size());
  Rows scored;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(scored),
               [](const ValidationRow* row) { return row->scored; });
  summary.scored = static_cast<int>(scored.size());
  if (scored.empty()) return summary;
  std::vector<double> errors;
  std::vector<double> sizes;
  std::vector<double> null_sizes;
  std::vector<double> memory;
  double inside = 0.0;
  for (const ValidationRow* row : scored) {
    errors.push_back(row->error);
    sizes.push_back(std::abs(row->error));
    if (row->null_error) null_sizes.push_back(std::abs(*row->null_error));
    if (row->inside_interval()) inside += 1.0;
    if (row->peak_memory_error) memory.push_back(*row->peak_memory_error);
  }
  summary.mape = mean(sizes);
  summary.median = median(sizes);
  summary.p90 = quantile(sizes, 0.9);
  summary.bias = mean(errors);
  summary.worst = *std::max_element(errors.begin(), errors.end(),
                                    [](double a, double b) { return std::abs(a) < std::abs(b); });
  summary.interval_coverage = inside / static_cast<double>(scored.size());
  summary.rank_correlation = correlation_within_sources(scored);
  summary.plans = rank_plans(scored);
  summary.null_mape = mean(null_sizes);
  summary.memory_rows = static_cast<int>(memory.size());
  summary.memory_bias = mean(memory);
  for (double& error : memory) error = std::abs(error);
  summary.memory_mape = mean(memory);
  std::vector<double> at_measured, sizes_at_measured;
  for (const ValidationRow* row : scored) {
    if (!row->error_at_measured) continue;
    at_measured.push_back(*row->error_at_measured);
    sizes_at_measured.push_back(std::abs(*row->error_at_measured));
  }
  summary.measured_mape = mean(sizes_at_measured);
  summary.measured_bias = mean(at_measured);
  return summary;
}

}  // namespace

void score_null_model(std::vector<ValidationRow>& rows) {
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<size_t>> twins;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].measured_mfu) twins[{rows[i].source_group, rows[i].gpu, rows[i].precision}].push_back(i);
  }
  for (const auto& [key, members] : twins) {
    for (const size_t row : members) {
      if (!rows[row].scored) continue;
      std::vector<double> others;
      for (const size_t other : members) {
        if (other != row) others.push_back(*rows[other].measured_mfu);
      }
      if (const auto usual = median(std::move(others)))
        rows[row].null_error = *rows[row].measured_mfu / *usual - 1.0;
    }
  }
}

std::vector<ValidationSummary> summarize(const std::vector<ValidationRow>& rows) {
  Rows all;
  for (const ValidationRow& row : rows) all.push_back(&row);
  std::vector<ValidationSummary> summary = {summarize_group("all", "all", all)};
  const std::vector<std::pair<std::string, const std::string ValidationRow::*>> keys = {
      {"source", &ValidationRow::source_group},
      {"gpu", &ValidationRow::gpu},
      {"precision", &ValidationRow::precision},
      {"model_kind", &ValidationRow::model_kind},
      {"parallel", &ValidationRow::parallel}};
  for (const auto& [by, key] : keys) {
    for (const auto& [group, members] : grouped(all, key))
      summary.push_back(summarize_group(by, group, members));
  }
  return summary;
}

std::vector<RefusalCount> count_refusals(const std::vector<ValidationRow>& rows) {
  std::map<std::string, int> counts;
  for (const ValidationRow& row : rows) {
    if (!row.scored) ++counts[row.reason];
  }
  std::vector<RefusalCount> refusals;
  refusals.reserve(counts.size());
  for (const auto& [reason, count] : counts) refusals.push_back({reason, count});
  std::stable_sort(refusals.begin(), refusals.end(),
                   [](const RefusalCount& a, const RefusalCount& b) { return a.rows > b.rows; });
  return refusals;
}

}  // namespace orrery
