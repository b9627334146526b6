// The profiles that ship are what the code learns, and a few runs of one's own bring a site nearer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>
#include <thread>

#include "reports/answers/learn_stacks.hpp"
#include "sim/base/data_files.hpp"
#include "tests/validation/generated_part.hpp"
#include "tests/validation/site_trial.hpp"

namespace orrery {
namespace {

std::vector<RunRecord> good_runs(const std::vector<std::string>& sources = {}) {
  return select_runs(read_runs({}), {.ids = {}, .confidences = {"high", "medium"}, .sources = sources});
}

int threads() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

std::string stack_of(const RunRecord& run) {
  const auto software = run.experiment.find("software");
  if (software == run.experiment.end()) return "megatron-core";
  if (software->is_string()) return software->get<std::string>();
  return software->value("preset", "megatron-core");
}

std::vector<std::string> shipped_profiles() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(data_root() / "calibration/profiles/stacks")) {
    if (file.path().extension() == ".json") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Run orrery_update_stacks calibration/profiles/stacks after a change that moves predictions at tier
// measured.
TEST(Stacks, ProfilesAreWhatTheRunsTeach) {
  const std::vector<StackProfile> learned = learn_stacks(good_runs(), {.threads = threads(), .progress = {}});
  ASSERT_EQ(learned.size(), shipped_profiles().size());
  for (const StackProfile& profile : learned) {
    const std::filesystem::path file =
        data_root() / "calibration/profiles/stacks" / (profile.software + ".json");
    // Not EXPECT_EQ: a difference would print half a megabyte.
    EXPECT_TRUE(stack_profile_text(profile) == read_text_file(file.string()))
        << profile.software << ": run orrery_update_stacks calibration/profiles/stacks";
    if (!profile.model.entries.empty()) {
      EXPECT_LT(profile.cross_validated.mape, profile.measured.mape);
    }
  }
}

TEST(Stacks, EveryStackOfARunHasAProfile) {
  std::set<std::string> stacks;
  for (const RunRecord& run : good_runs()) stacks.insert(stack_of(run));
  EXPECT_EQ(std::vector<std::string>(stacks.begin(), stacks.end()), shipped_profiles());
}

// llm-foundry's factors of the A100 rest on BLOOM's runs: one of these described under llm-foundry is
// predicted without its family, which that profile has no fold for.
TEST(Stacks, ARunUnderAnotherStackIsPredictedWithoutItsFamily) {
  std::vector<RunRecord> runs = good_runs({"BLOOM prequel"});
  runs.resize(1);
  runs[0].experiment["software"] = {{"preset", "llm-foundry"}};
  ValidateOptions options;
  options.predict.tier = Tier::stack;
  const Validation validation = validate(runs, options);
  ASSERT_EQ(validation.summary[0].scored, 1) << validation.rows[0].reason;
  Problems problems("the test");
  const Experiment experiment = read_experiment(SpecReader(runs[0].experiment, "", problems));
  problems.throw_if_any();
  options.predict.engine = EngineKind::estimate;
  CalibrationStore calibrations;
  const double with_its_family = predict(experiment, options.predict, calibrations).step_time.base();
  EXPECT_NE(validation.rows[0].predicted_step_s, with_its_family);
  EXPECT_NEAR(validation.rows[0].predicted_step_s, with_its_family, 0.03 * with_its_family);
}

// Ten random runs of a source that the stack's profile does not know bring its others to 6 % in the median
// and a third below tier measured (issue 7), where the source is one place; docs/accuracy.md has all.
TEST(Stacks, TenRunsOfASiteBringItsOthersNearer) {
  const std::vector<SiteTrial> trials = try_sites(good_runs());
  const std::string document = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/docs/accuracy.md");
  EXPECT_EQ(document, with_generated_part(document, generated_part::sites, site_trial_table(trials)))
      << "run orrery_update_accuracy docs/accuracy.md";
  for (const char* source : {"BLOOM prequel", "SimuMax real runs"}) {
    const auto trial = std::find_if(trials.begin(), trials.end(),
                                    [source](const SiteTrial& one) { return one.source == source; });
    ASSERT_NE(trial, trials.end()) << source;
    EXPECT_LE(trial->site.median, 0.06) << source;
    EXPECT_LE(trial->site.mape, trial->measured.mape * 2 / 3) << source;
  }
}

// 75 to 85 % of all runs inside the interval that their own families took no part in, 65 to 95 % in each of
// the five largest sources (issue 7).
TEST(Stacks, IntervalsHoldEightTenthsOfTheRuns) {
  for (const Tier tier : {Tier::measured, Tier::stack}) {
    ValidateOptions options;
    options.threads = threads();
    options.predict.tier = tier;
    const Validation validation = validate(good_runs(), options);
    std::vector<ValidationSummary> sources;
    for (const ValidationSummary& line : validation.summary) {
      if (line.by == "source") sources.push_back(line);
    }
    std::sort(sources.begin(), sources.end(),
              [](const ValidationSummary& a, const ValidationSummary& b) { return a.scored > b.scored; });
    sources.resize(5);
    EXPECT_GE(*validation.summary[0].interval_coverage, 0.75) << name_of(tier);
    EXPECT_LE(*validation.summary[0].interval_coverage, 0.85) << name_of(tier);
    for (const ValidationSummary& line : sources) {
      std::printf("%s %-28s %.0f %%\n", std::string(name_of(tier)).c_str(), line.group.c_str(),
                  100 * *line.interval_coverage);
      EXPECT_GE(*line.interval_coverage, 0.65) << line.group;
      EXPECT_LE(*line.interval_coverage, 0.95) << line.group;
    }
  }
}

}  // namespace
}  // namespace orrery
