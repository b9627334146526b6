#include "tests/validation/expected_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "reports/answers/statistics.hpp"

namespace orrery {
namespace {

constexpr const char* kSource = "**tier `stack`, without the runs of its source**";
constexpr const char* kModel = "tier `stack`, without the runs of its model";
constexpr const char* kNothing = "tier `measured`, without any run";

std::string percent(std::optional<double> fraction) {
  return fraction ? fmt::format("{:.1f}", 100.0 * *fraction) : "-";
}

std::string plans_of(const std::string& name, const Validation& validation) {
  const PlanRanking& plans = validation.summary.front().plans;
  return fmt::format("| {} | {} | {} | {} | {} | {} |\n", name, plans.pairs, percent(plans.concordance),
                     plans.groups, percent(plans.median_regret), percent(plans.mean_regret));
}

std::string line_of(const std::string& name, const Validation& validation) {
  const ValidationSummary& all = validation.summary.front();
  return fmt::format("| {} | {} | {} | {} | {} | {:+.1f} | {} |\n", name,
                     percent(mean_over_sources(validation, &ValidationSummary::mape)), percent(all.mape),
                     percent(all.median), percent(all.p90), 100.0 * all.bias.value_or(0.0),
                     percent(all.interval_coverage));
}

/// Lines of the summary of one kind, by the name of their group.
std::map<std::string, const ValidationSummary*> groups_by(const Validation& validation,
                                                          const std::string& kind) {
  std::map<std::string, const ValidationSummary*> groups;
  for (const ValidationSummary& line : validation.summary) {
    if (line.by == kind) groups[line.group] = &line;
  }
  return groups;
}

std::string table_by(const std::string& kind, const std::string& title, const BothEngines& both,
                     const LeftOut& left_out) {
  const auto measured = groups_by(both.estimate, kind);
  const auto families = groups_by(left_out.families, kind);
  const auto sources = groups_by(left_out.sources, kind);
  const auto both_of = [](const ValidationSummary& of) {
    return fmt::format(" | {} | {}", percent(of.mape), percent(of.interval_coverage));
  };
  std::string text = fmt::format(
      "| {} | rows | without the runs of its source | inside the interval | without the runs of its model | "
      "inside "
      "the interval | tier `measured` | inside the interval | null model "
      "|\n|---|---|---|---|---|---|---|---|---|\n",
      title);
  for (const auto& [group, line] : families) {
    text += fmt::format("| {} | {}{}{}{} | {} |\n", group, line->scored, both_of(*sources.at(group)),
                        both_of(*line), both_of(*measured.at(group)), percent(line->null_mape));
  }
  return text;
}

}  // namespace

LeftOut validate_left_out(const std::vector<RunRecord>& runs) {
  ValidateOptions options;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  options.predict.tier = Tier::stack;
  LeftOut result;
  result.families = validate(runs, options);
  options.predict.scored = std::make_shared<const ScoredRun>(ScoredRun{"", "", "", LeaveOut::source});
  result.sources = validate(runs, options);
  return result;
}

double mean_over_sources(const Validation& validation, std::optional<double> ValidationSummary::*error) {
  std::vector<double> errors;
  for (const auto& [source, line] : groups_by(validation, "source")) {
    if (line->*error) errors.push_back(*(line->*error));
  }
  return mean(errors).value_or(0.0);
}

std::string expected_error_tables(const BothEngines& both, const LeftOut& left_out) {
  std::string text =
      "| predicted by | mean over sources | mean over rows | median | 90th percentile | bias | "
      "inside "
      "the 80 % interval |\n|---|---|---|---|---|---|---|\n";
  text += line_of(kSource, left_out.sources) + line_of(kModel, left_out.families) +
          line_of(kNothing, both.estimate);
  text += fmt::format("| null model | {} | {} | - | - | - | - |\n\n",
                      percent(mean_over_sources(both.estimate, &ValidationSummary::null_mape)),
                      percent(both.estimate.summary.front().null_mape));
  text +=
      "| plans of one model, predicted by | pairs at least 10 % apart | in the measured order "
      "| groups "
      "of plans | median regret | mean regret |\n|---|---|---|---|---|---|\n";
  text += plans_of(kSource, left_out.sources) + plans_of(kModel, left_out.families) +
          plans_of(kNothing, both.estimate) + "\n";
  text += table_by("source", "source", both, left_out) + "\n";
  text += table_by("model_kind", "kind of model", both, left_out) + "\n";
  text += table_by("gpu", "GPU", both, left_out);
  return text;
}

}  // namespace orrery
