#include "tests/validation/accuracy_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <thread>

#include "tests/validation/error_budget.hpp"

namespace orrery {
namespace {

std::string percent(double fraction) { return fmt::format("{:.1f}", 100.0 * fraction); }

std::string line(const std::string& name, const BothEngines& both,
                 const std::function<bool(const ValidationRow&)>& selects) {
  const MeanError estimate = mean_error(both.estimate, selects);
  const MeanError simulate = mean_error(both.simulate, selects);
  if (estimate.rows == 0) return "";
  return fmt::format("| {} | {} | {} | {} | {} | {} |\n", name, estimate.rows, percent(estimate.mape),
                     percent(simulate.mape), percent(simulate.bias),
                     estimate.null_mape > 0 ? percent(estimate.null_mape) : "-");
}

constexpr const char* kHeader =
    "| {} | rows scored | estimate, MAPE % | simulate, MAPE % | simulate, bias % | null model, MAPE % |\n"
    "|---|---|---|---|---|---|\n";

std::string grouped(const char* title, const BothEngines& both, std::string ValidationRow::*key) {
  std::set<std::string> groups;
  for (const ValidationRow& row : both.estimate.rows) {
    if (row.scored) groups.insert(row.*key);
  }
  std::string table = fmt::format(fmt::runtime(kHeader), title);
  for (const std::string& group : groups) {
    table += line(group, both, [&](const ValidationRow& row) { return row.*key == group; });
  }
  return table + "\n";
}

}  // namespace

BothEngines validate_shipped_runs() {
  BothEngines both;
  both.runs = select_runs(read_runs({}), {.ids = {}, .confidences = {"high", "medium"}, .sources = {}});
  ValidateOptions options;
  options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  both.estimate = validate(both.runs, options);
  options.predict.engine = EngineKind::simulate;
  both.simulate = validate(both.runs, options);
  return both;
}

MeanError mean_error(const Validation& validation, const std::function<bool(const ValidationRow&)>& selects) {
  MeanError result;
  int with_null = 0;
  for (const ValidationRow& row : validation.rows) {
    if (!row.scored || !selects(row)) continue;
    ++result.rows;
    result.mape += std::abs(row.error);
    result.bias += row.error;
    if (row.null_error) {
      ++with_null;
      result.null_mape += std::abs(*row.null_error);
    }
  }
  if (result.rows > 0) {
    result.mape /= result.rows;
    result.bias /= result.rows;
  }
  if (with_null > 0) result.null_mape /= with_null;
  return result;
}

std::vector<Goal> first_goals() {
  const auto of_source = [](std::string source) {
    return [source = std::move(source)](const ValidationRow& row) {
      return row.source_group == source && row.model_kind == "dense";
    };
  };
  std::vector<Goal> goals = {{"SC21 Table 1", 0.07, of_source("SC21 Table 1")},
                             {"vTrain, 64 to 512 GPUs", 0.09, of_source("vTrain")},
                             {"NeMo performance summary", 0.06, of_source("NeMo perf summary 24.0x")},
                             {"dgxc-benchmarking, H100, bf16, dense", 0.075, [](const ValidationRow& row) {
                                return row.source_group == "NVIDIA dgxc-benchmarking" &&
                                       row.model_kind == "dense" && row.gpu == "h100-sxm-80gb" &&
                                       row.precision == "bf16";
                              }}};
  const std::vector<Goal> parts = goals;
  goals.push_back({"these four together", 0.075, [parts](const ValidationRow& row) {
                     return std::any_of(parts.begin(), parts.end(),
                                        [&](const Goal& part) { return part.selects(row); });
                   }});
  return goals;
}

std::string accuracy_tables(const BothEngines& both) {
  std::string text;
  const auto all = [](const ValidationRow&) { return true; };
  const MeanError everything = mean_error(both.estimate, all);
  text += fmt::format("{} of {} shipped rows of high and medium confidence are scored.\n\n", everything.rows,
                      both.estimate.rows.size());
  text += fmt::format(fmt::runtime(kHeader), "goal rows");
  for (const Goal& goal : first_goals()) {
    text += line(fmt::format("{} (goal {} %)", goal.name, percent(goal.most)), both, goal.selects);
  }
  text += "\n" + fmt::format(fmt::runtime(kHeader), "everything scored") + line("all", both, all) + "\n";
  text += grouped("source", both, &ValidationRow::source_group);
  text += grouped("GPU", both, &ValidationRow::gpu);
  text += grouped("precision", both, &ValidationRow::precision);
  text += "| rows refused | why |\n|---|---|\n";
  for (const RefusalCount& refusal : both.estimate.refusals) {
    text += fmt::format("| {} | {} |\n", refusal.rows, refusal.reason);
  }
  return text + "\n" + error_budget(both);
}

}  // namespace orrery
