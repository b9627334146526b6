#include "tests/validation/site_trial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "reports/answers/learn_stacks.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr int kSiteTrialRuns = 10;  // learned from
constexpr int kSiteTrialDraws = 5;  // of these, at random
constexpr size_t kFewestRuns = 20;  // of a source and GPU on trial

void add(const Validation& validation, double share, SiteTrial::Error& error) {
  const ValidationSummary& all = validation.summary.front();
  error.median += share * all.median.value_or(0.0);
  error.mape += share * all.mape.value_or(0.0);
}

/// @param runs  all of one source and GPU, more than kSiteTrialRuns
SiteTrial try_site(const std::vector<RunRecord>& runs) {
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto left_out = std::make_shared<const ScoredRun>(ScoredRun{"", "", "", LeaveOut::source});
  const std::string file = (std::filesystem::temp_directory_path() /
                            fmt::format("orrery_site_trial_{}.json", std::random_device{}()))
                               .string();
  SiteTrial trial;
  trial.source = runs.front().source_group;
  trial.runs = static_cast<int>(runs.size());
  std::mt19937 random(7);
  for (int draw = 0; draw < kSiteTrialDraws; ++draw) {
    std::vector<RunRecord> drawn = runs;
    for (size_t i = drawn.size() - 1; i > 0; --i) std::swap(drawn[i], drawn[random() % (i + 1)]);
    const std::vector<RunRecord> own(drawn.begin(), drawn.begin() + kSiteTrialRuns);
    const std::vector<RunRecord> others(drawn.begin() + kSiteTrialRuns, drawn.end());
    LearnSiteOptions learning;
    learning.threads = threads;
    learning.predict.tier = Tier::stack;
    learning.predict.scored = left_out;
    const SiteProfile profile = learn_site(own, learning).profile;
    trial.gpu = profile.gpu;
    write_text_file_atomically(file, site_profile_text(profile));
    ValidateOptions scoring;
    scoring.threads = threads;
    scoring.predict.scored = left_out;
    const auto score = [&](Tier tier, SiteTrial::Error& error) {
      scoring.predict.tier = tier;
      add(validate(others, scoring), 1.0 / kSiteTrialDraws, error);
    };
    score(Tier::measured, trial.measured);
    score(Tier::stack, trial.stack);
    scoring.predict.site = file;
    score(Tier::site, trial.site);
  }
  std::filesystem::remove(file);
  return trial;
}

}  // namespace

std::vector<SiteTrial> try_sites(const std::vector<RunRecord>& runs) {
  ValidateOptions options;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const Validation validation = validate(runs, options);
  std::map<std::pair<std::string, std::string>, std::vector<RunRecord>> places;
  for (size_t i = 0; i < runs.size(); ++i) {
    const ValidationRow& row = validation.rows[i];
    if (row.scored) places[{row.source_group, row.gpu}].push_back(runs[i]);
  }
  std::vector<SiteTrial> trials;
  for (const auto& [place, of_place] : places) {
    if (of_place.size() >= kFewestRuns) trials.push_back(try_site(of_place));
  }
  return trials;
}

std::string site_trial_table(const std::vector<SiteTrial>& trials) {
  const auto both = [](const SiteTrial::Error& error) {
    return fmt::format("{:.1f} / {:.1f}", 100.0 * error.median, 100.0 * error.mape);
  };
  std::string text =
      "| source and GPU | runs | no step time taught anything | others' runs had | ten of its own had |\n"
      "|---|---|---|---|---|\n";
  for (const SiteTrial& trial : trials) {
    text += fmt::format("| {}, {} | {} | {} | {} | {} |\n", trial.source, trial.gpu, trial.runs,
                        both(trial.measured), both(trial.stack), both(trial.site));
  }
  return text;
}

}  // namespace orrery
