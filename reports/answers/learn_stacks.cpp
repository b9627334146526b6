#include "reports/answers/learn_stacks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

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

/// Rows of candidates, of all families or all but one.
FactorRows rows_of(const std::vector<Candidate>& candidates, const std::string& without_family = "") {
  FactorRows rows;
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

/// What of a model moves one of some runs.
FactorModel part_of(const FactorModel& model, const std::vector<LearnedRun>& runs) {
  std::vector<size_t> kept;
  for (size_t j = 0; j < model.entries.size(); ++j) {
    const FactorTerm& term = model.entries[j].term;
    if (std::any_of(runs.begin(), runs.end(),
                    [&term](const LearnedRun& run) { return term.matches(run.row.traits); }))
      kept.push_back(j);
  }
  FactorModel part;
  for (const size_t j : kept) {
    part.entries.push_back(model.entries[j]);
    if (model.covariance.empty()) continue;
    part.covariance.emplace_back();
    for (const size_t k : kept) part.covariance.back().push_back(model.covariance[j][k]);
  }
  return part;
}

/// What all runs teach, and what they teach with one family left out, choice of factors included.
struct Learned {
  FactorModel model;
  std::map<std::string, FactorModel> without;  ///< by family
};

Learned learn_from(const std::vector<Candidate>& candidates, int threads) {
  Learned learned;
  learned.model = learn_factors(rows_of(candidates));
  for (const Candidate& candidate : candidates) learned.without[candidate.linear.row.family];
  std::vector<std::pair<const std::string, FactorModel>*> folds;
  for (auto& fold : learned.without) folds.push_back(&fold);
  for_each_number(folds.size(), threads, [&](size_t f) {
    folds[f]->second = learn_factors(rows_of(candidates, folds[f]->first));
    folds[f]->second.covariance.clear();
  });
  return learned;
}

/// One stack's part of what was learned; none of it where its runs are not predicted better by what other
/// families teach.
/// @param profile    with its runs at tier measured
/// @param residuals  of these under what their families took no part in
StackProfile with_factors(StackProfile profile, const Learned& learned,
                          const std::vector<double>& residuals) {
  const ErrorSummary cross_validated = summary_of_residuals(residuals);
  FactorModel model = part_of(learned.model, profile.runs);
  if (model.entries.empty() || cross_validated.mape > profile.measured.mape - kLeastGain) return profile;
  profile.model = std::move(model);
  profile.cross_validated = cross_validated;
  std::map<std::string, std::vector<LearnedRun>> families;
  for (size_t i = 0; i < residuals.size(); ++i) {
    profile.runs[i].residual = residuals[i];
    families[profile.runs[i].row.family].push_back(profile.runs[i]);
  }
  for (const auto& [family, runs] : families) {
    profile.folds.push_back(
        {family, runs.front().row.source_group, part_of(learned.without.at(family), runs)});
  }
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
  std::vector<Candidate> candidates = linearise_all(records, predict, {}, options.threads, calibrations);
  std::erase_if(candidates, [](const Candidate& c) { return c.linear.row.traits.stack.empty(); });
  std::vector<double> measured;
  measured.reserve(candidates.size());
  for (const Candidate& candidate : candidates) measured.push_back(candidate.linear.residual);

  const FactorModel first = learn_factors(rows_of(candidates));
  records.clear();
  for (const Candidate& candidate : candidates) records.push_back(candidate.record);
  candidates = linearise_all(records, predict, first, options.threads, calibrations, candidates);
  if (candidates.size() != measured.size())
    throw std::logic_error("a run's factors decide whether it is refused");
  tell("each family left out");
  const Learned learned = learn_from(candidates, options.threads);
  std::vector<double> left_out(candidates.size());
  for_each_number(candidates.size(), options.threads, [&](size_t i) {
    const FactorRow& row = candidates[i].linear.row;
    const Factors factors = learned.without.at(row.family).factors_for(row.traits);
    left_out[i] = *residual_of(*candidates[i].record, predict, factors, calibrations);
  });

  struct OfStack {
    StackProfile profile;
    std::vector<double> measured, left_out;
  };
  std::map<std::string, OfStack> parts;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const LinearisedRun& run = candidates[i].linear;
    OfStack& part = parts[run.row.traits.stack];
    part.profile.runs.push_back({run.row, run.spread, measured[i], measured[i]});
    part.measured.push_back(measured[i]);
    part.left_out.push_back(left_out[i]);
  }
  std::vector<StackProfile> profiles;
  profiles.reserve(parts.size());
  for (auto& [software, part] : parts) {
    part.profile.software = software;
    part.profile.source =
        fmt::format("learned from the step times of {} runs, {} of this stack (orrery_update_stacks)",
                    candidates.size(), part.measured.size());
    part.profile.measured = part.profile.cross_validated = summary_of_residuals(part.measured);
    profiles.push_back(with_factors(std::move(part.profile), learned, part.left_out));
  }
  return profiles;
}

namespace {

/// Why runs cannot be predicted, a problem each.
std::vector<InputProblem> why_not_predicted(const std::vector<RunRecord>& failed,
                                            const LearnSiteOptions& options) {
  ValidateOptions why;
  why.predict = options.predict;
  why.predict.engine = EngineKind::estimate;
  why.threads = options.threads;
  const std::vector<ValidationRow> rows = validate(failed, why).rows;
  std::vector<InputProblem> problems;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].scored) problems.push_back({failed[i].file, "", "", "", rows[i].reason});
  }
  return problems;
}

/// One term for each factor, for all runs.
std::vector<FactorTerm> terms_of_site(const std::vector<Candidate>& candidates) {
  std::vector<FactorTerm> terms;
  terms.reserve(kFactors);
  for (int factor = 0; factor < kFactors; ++factor) terms.push_back({.factor = static_cast<Factor>(factor)});
  FactorTerm& per_doubling = terms[static_cast<size_t>(Factor::data_per_doubling)];
  for (const Candidate& candidate : candidates)
    per_doubling.most_nodes = std::max(per_doubling.most_nodes, candidate.linear.row.traits.nodes);
  return terms;
}

}  // namespace

LearnedSite learn_site(const std::vector<RunRecord>& runs, const LearnSiteOptions& options) {
  CalibrationStore calibrations;
  std::vector<const RunRecord*> records;
  records.reserve(runs.size());
  for (const RunRecord& run : runs) records.push_back(&run);
  std::vector<Candidate> candidates =
      linearise_all(records, options.predict, {}, options.threads, calibrations);
  std::set<const RunRecord*> predicted;
  for (const Candidate& candidate : candidates) predicted.insert(candidate.record);
  std::vector<RunRecord> failed;
  for (const RunRecord& run : runs) {
    if (predicted.count(&run) == 0) failed.push_back(run);
  }
  LearnedSite learned;
  SiteProfile& site = learned.profile;
  site.gpu = gpu_of_site(candidates, options.gpu);
  const size_t others =
      std::erase_if(candidates, [&site](const Candidate& c) { return c.linear.row.traits.gpu != site.gpu; });
  std::vector<InputProblem> problems = why_not_predicted(failed, options);
  if (candidates.size() < kFewestSiteRuns) {
    problems.insert(problems.begin(), {"--runs", "",
                                       fmt::format("{} runs{} that can be predicted", candidates.size(),
                                                   site.gpu.empty() ? "" : " of " + site.gpu),
                                       fmt::format("at least {}", kFewestSiteRuns), ""});
    throw InputError(std::move(problems));
  }
  for (const InputProblem& problem : problems)
    learned.warnings.push_back("not learned from: " + problem.line());
  if (others > 0)
    learned.warnings.push_back(fmt::format("not learned from: {} run{} of other GPUs than {}", others,
                                           others == 1 ? "" : "s", site.gpu));
  std::set<std::string> stacks, kernel_profiles;
  std::vector<std::string> configurations;
  for (const Candidate& candidate : candidates) {
    stacks.insert(candidate.linear.row.traits.stack);
    kernel_profiles.insert(candidate.linear.kernel_profile);
    configurations.push_back(configuration_of(*candidate.record));
    site.most_nodes = std::max(site.most_nodes, candidate.linear.nodes);
  }
  site.software = fmt::format("{}", fmt::join(stacks, ", "));
  site.kernel_profiles.assign(kernel_profiles.begin(), kernel_profiles.end());
  if (std::set<std::string>(configurations.begin(), configurations.end()).size() == 1) {
    learned.warnings.emplace_back(
        "all runs are of one configuration: nothing tests what they say of any other, and intervals stay "
        "wide");
  }

  const FactorPriors priors = FactorPriors::of_a_site();
  const std::vector<FactorTerm> terms = terms_of_site(candidates);
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
    FactorRows rest;
    for (size_t j = 0; j < candidates.size(); ++j) {
      if (configurations[j] != configurations[i]) rest.push_back(&candidates[j].linear.row);
    }
    FactorModel model = fit_factors(rest, terms, priors);
    model.covariance.clear();
    const FactorRow& row = candidates[i].linear.row;
    left_out.push_back(
        *residual_of(*candidates[i].record, options.predict, model.factors_for(row.traits), calibrations));
    site.runs.push_back({row.id, configurations[i], candidates[i].linear.spread, before[i], left_out.back(),
                         std::move(model)});
  }
  site.left_out = summary_of_residuals(left_out);
  return learned;
}

}  // namespace orrery
