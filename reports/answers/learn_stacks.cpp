#include "reports/answers/learn_stacks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "reports/answers/factor_rows.hpp"

namespace orrery {
namespace {

constexpr double kLeastGain = 0.001;  // of the cross-validated error, for factors to be shipped
constexpr size_t kFewestSiteRuns = 3;

/// A run and what is known of it.
struct Candidate {
  const RunRecord* record = nullptr;
  LinearisedRun linear;
};

using FactorRows = std::vector<const FactorRow*>;

/// Rows of candidates, after others, of all families or all but one.
FactorRows rows_of(const std::vector<Candidate>& candidates, const std::string& without_family = "",
                   const FactorRows& others = {}) {
  FactorRows rows;
  for (const FactorRow* other : others) {
    if (without_family.empty() || other->family != without_family) rows.push_back(other);
  }
  for (const Candidate& candidate : candidates) {
    if (without_family.empty() || candidate.linear.row.family != without_family)
      rows.push_back(&candidate.linear.row);
  }
  return rows;
}

std::vector<Candidate> linearise_all(const std::vector<const RunRecord*>& records,
                                     const PredictOptions& options, const FactorModel& at, int threads,
                                     CalibrationStore& calibrations,
                                     const std::vector<Candidate>& before = {}) {
  std::vector<std::optional<LinearisedRun>> linear(records.size());
  for_each_number(records.size(), threads, [&](size_t i) {
    const Factors factors = before.empty() ? Factors{} : at.factors_for(before[i].linear.row.traits);
    linear[i] = linearise(*records[i], options, factors, calibrations);
  });
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < records.size(); ++i) {
    if (linear[i]) candidates.push_back({records[i], std::move(*linear[i])});
  }
  return candidates;
}

/// Everything about one stack, once its runs are linear.
/// @param others  runs of all other stacks: its kernels' factors are learned from them too
StackProfile learn_stack(const std::string& software, std::vector<Candidate> candidates,
                         const FactorRows& others, const PredictOptions& options, int threads,
                         CalibrationStore& calibrations) {
  StackProfile profile;
  profile.software = software;
  std::vector<double> measured;
  for (const Candidate& candidate : candidates) {
    profile.runs.push_back({candidate.linear.row, candidate.linear.spread, candidate.linear.residual,
                            candidate.linear.residual});
    measured.push_back(candidate.linear.residual);
  }
  profile.measured = profile.cross_validated = summary_of_residuals(measured);
  profile.source =
      fmt::format("learned from the step times of {} runs (orrery_update_stacks)", measured.size());
  FactorModel model = learn_factors(rows_of(candidates, "", others), software);
  if (model.entries.empty()) return profile;

  std::vector<const RunRecord*> records;
  records.reserve(candidates.size());
  for (const Candidate& candidate : candidates) records.push_back(candidate.record);
  candidates = linearise_all(records, options, model, threads, calibrations, candidates);
  for (size_t i = 0; i < candidates.size(); ++i) profile.runs[i].row = candidates[i].linear.row;
  model = learn_factors(rows_of(candidates, "", others), software);

  std::map<std::string, std::string> families;  // and their sources
  for (const Candidate& candidate : candidates)
    families[candidate.linear.row.family] = candidate.linear.row.source_group;
  for (const auto& [family, source] : families) profile.folds.push_back({family, source, {}});
  for_each_number(profile.folds.size(), threads, [&](size_t f) {
    profile.folds[f].model = learn_factors(rows_of(candidates, profile.folds[f].family, others), software);
    profile.folds[f].model.covariance.clear();
  });
  std::vector<double> left_out(candidates.size());
  for_each_number(candidates.size(), threads, [&](size_t i) {
    const FactorRow& row = candidates[i].linear.row;
    const Factors factors = profile.fold(row.family)->model.factors_for(row.traits);
    left_out[i] = *residual_of(*candidates[i].record, options, factors, calibrations);
  });
  const ErrorSummary cross_validated = summary_of_residuals(left_out);
  if (model.entries.empty() || cross_validated.mape > profile.measured.mape - kLeastGain) {
    profile.folds.clear();
    return profile;
  }
  const bool pooled = std::any_of(model.entries.begin(), model.entries.end(),
                                  [](const FactorEntry& entry) { return entry.term.stack.empty(); });
  profile.source = fmt::format("learned from the step times of {} runs{} (orrery_update_stacks)",
                               measured.size(), pooled ? ", of kernels from those of other stacks, too" : "");
  profile.model = std::move(model);
  profile.cross_validated = cross_validated;
  for (size_t i = 0; i < left_out.size(); ++i) profile.runs[i].residual = left_out[i];
  return profile;
}

/// The one GPU that the runs are of.
std::string gpu_of_site(const std::vector<Candidate>& candidates, const std::string& asked) {
  std::set<std::string> gpus;
  for (const Candidate& candidate : candidates) gpus.insert(candidate.linear.row.traits.gpu);
  if (asked.empty() && gpus.size() > 1) {
    const std::vector<std::string> names(gpus.begin(), gpus.end());
    throw InputError(InputProblem{"--gpu", "", "nothing, but runs of " + list_names(names),
                                  "the GPU whose runs to learn from", ""});
  }
  if (!asked.empty()) return asked;
  return gpus.empty() ? "" : *gpus.begin();
}

}  // namespace

std::vector<StackProfile> learn_stacks(const std::vector<RunRecord>& runs,
                                       const LearnStacksOptions& options) {
  PredictOptions predict;
  predict.engine = EngineKind::estimate;
  predict.tier = Tier::measured;
  predict.echo = false;
  CalibrationStore calibrations;
  const auto tell = [&options](const std::string& what) {
    if (options.progress) options.progress(what);
  };
  tell("slopes of all runs");
  std::vector<const RunRecord*> records;
  records.reserve(runs.size());
  for (const RunRecord& run : runs) records.push_back(&run);
  std::map<std::string, std::vector<Candidate>> stacks;
  for (Candidate& candidate : linearise_all(records, predict, {}, options.threads, calibrations)) {
    const std::string software = candidate.linear.row.traits.stack;
    if (!software.empty()) stacks[software].push_back(std::move(candidate));
  }
  std::vector<StackProfile> profiles;
  profiles.reserve(stacks.size());
  for (const auto& [software, candidates] : stacks) {
    tell(software);
    FactorRows others;
    for (const auto& [other, of_other] : stacks) {
      if (other != software) others = rows_of(of_other, "", others);
    }
    profiles.push_back(learn_stack(software, candidates, others, predict, options.threads, calibrations));
  }
  return profiles;
}

SiteProfile learn_site(const std::vector<RunRecord>& runs, const LearnSiteOptions& options) {
  CalibrationStore calibrations;
  std::vector<const RunRecord*> records;
  records.reserve(runs.size());
  for (const RunRecord& run : runs) records.push_back(&run);
  std::vector<Candidate> candidates =
      linearise_all(records, options.predict, {}, options.threads, calibrations);
  SiteProfile site;
  site.gpu = gpu_of_site(candidates, options.gpu);
  std::erase_if(candidates, [&site](const Candidate& c) { return c.linear.row.traits.gpu != site.gpu; });
  if (candidates.size() < kFewestSiteRuns) {
    throw InputError(InputProblem{"--runs", "",
                                  fmt::format("{} runs{} that can be predicted", candidates.size(),
                                              site.gpu.empty() ? "" : " of " + site.gpu),
                                  fmt::format("at least {}", kFewestSiteRuns), ""});
  }
  std::set<std::string> stacks;
  for (const Candidate& candidate : candidates) stacks.insert(candidate.linear.row.traits.stack);
  site.software = fmt::format("{}", fmt::join(stacks, ", "));

  // Few runs, one place: what they share is what is asked for, so that no family's own error is taken out.
  FactorPriors priors;
  priors.noise = 0.03;
  priors.family = 0.0;
  std::vector<FactorTerm> terms;
  terms.reserve(kFactors);
  for (int factor = 0; factor < kFactors; ++factor) terms.push_back({.factor = static_cast<Factor>(factor)});
  std::vector<double> before;
  before.reserve(candidates.size());
  for (const Candidate& candidate : candidates) before.push_back(candidate.linear.residual);
  site.stack = summary_of_residuals(before);
  const FactorModel first = fit_factors(rows_of(candidates), terms, priors);
  records.clear();
  for (const Candidate& candidate : candidates) records.push_back(candidate.record);
  candidates = linearise_all(records, options.predict, first, options.threads, calibrations, candidates);
  site.model = fit_factors(rows_of(candidates), terms, priors);
  std::vector<double> left_out;
  for (size_t i = 0; i < candidates.size(); ++i) {
    FactorRows others = rows_of(candidates);
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    FactorModel model = fit_factors(others, terms, priors);
    model.covariance.clear();
    const FactorRow& row = candidates[i].linear.row;
    left_out.push_back(
        *residual_of(*candidates[i].record, options.predict, model.factors_for(row.traits), calibrations));
    site.runs.push_back({row.id, candidates[i].linear.spread, before[i], left_out.back(), std::move(model)});
  }
  site.left_out = summary_of_residuals(left_out);
  return site;
}

}  // namespace orrery
