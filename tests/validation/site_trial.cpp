#include "tests/validation/site_trial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "reports/answers/factor_rows.hpp"
#include "reports/answers/learn_stacks.hpp"
#include "reports/answers/statistics.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

constexpr size_t kSiteTrialRuns = 10;  // learned from
constexpr int kSiteTrialDraws = 5;     // of these, at random
constexpr size_t kFewestRuns = 20;     // of a source and GPU on trial

/// Adds a share of the median and mean error of some rows.
void add(const Validation& validation, const std::vector<size_t>& rows, double share,
         SiteTrial::Error& error) {
  std::vector<double> sizes;
  sizes.reserve(rows.size());
  for (const size_t row : rows) sizes.push_back(std::abs(validation.rows[row].error));
  error.mape += share * mean(sizes).value_or(0.0);
  error.median += share * median(std::move(sizes)).value_or(0.0);
}

/// Removes a file when it goes out of scope.
struct TemporaryFile {
  std::string path;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

/// @param runs  all of one source and GPU, more than kSiteTrialRuns
SiteTrial try_site(const std::vector<RunRecord>& runs) {
  const TemporaryFile file{(std::filesystem::temp_directory_path() /
                            fmt::format("orrery_site_trial_{}.json", std::random_device{}()))
                               .string()};
  ValidateOptions scoring;
  scoring.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  scoring.predict.scored = std::make_shared<const ScoredRun>(ScoredRun{"", "", "", LeaveOut::source});
  const Validation measured = validate(runs, scoring);
  scoring.predict.tier = Tier::stack;
  const Validation stack = validate(runs, scoring);
  LearnSiteOptions learning;
  learning.threads = scoring.threads;
  learning.predict.tier = Tier::stack;
  learning.predict.scored = scoring.predict.scored;
  scoring.predict.tier = Tier::site;
  scoring.predict.site = file.path;
  std::vector<std::string> configurations;
  configurations.reserve(runs.size());
  for (const RunRecord& run : runs) configurations.push_back(configuration_of(run));

  SiteTrial trial;
  trial.source = runs.front().source_group;
  trial.gpu = measured.rows.front().gpu;
  trial.runs = static_cast<int>(runs.size());
  std::mt19937 random(7);
  for (int draw = 0; draw < kSiteTrialDraws; ++draw) {
    std::vector<size_t> order(runs.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random() % (i + 1)]);
    std::vector<RunRecord> own;
    std::set<std::string> known;
    for (size_t i = 0; i < kSiteTrialRuns; ++i) {
      own.push_back(runs[order[i]]);
      known.insert(configurations[order[i]]);
    }
    std::vector<size_t> others;
    std::vector<RunRecord> scored;
    for (size_t i = kSiteTrialRuns; i < order.size(); ++i) {
      if (known.count(configurations[order[i]]) != 0) continue;
      others.push_back(order[i]);
      scored.push_back(runs[order[i]]);
    }
    write_text_file_atomically(file.path, site_profile_text(learn_site(own, learning).profile));
    const Validation site = validate(scored, scoring);
    std::vector<size_t> all(scored.size());
    std::iota(all.begin(), all.end(), size_t{0});
    add(measured, others, 1.0 / kSiteTrialDraws, trial.measured);
    add(stack, others, 1.0 / kSiteTrialDraws, trial.stack);
    add(site, all, 1.0 / kSiteTrialDraws, trial.site);
  }
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
      "| source and GPU | runs | tier measured | tier stack, without its source's runs | tier site, with ten "
      "of them |\n"
      "|---|---|---|---|---|\n";
  for (const SiteTrial& trial : trials) {
    text += fmt::format("| {}, {} | {} | {} | {} | {} |\n", trial.source, trial.gpu, trial.runs,
                        both(trial.measured), both(trial.stack), both(trial.site));
  }
  return text;
}

}  // namespace orrery
