// nanotron's sweep of plans, calibration/data/runs_nanotron.jsonl.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "reports/answers/validate.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

/// Scores the runs against what was accepted under a name.
void score(const std::vector<RunRecord>& runs, const std::string& name) {
  const std::filesystem::path source = ORRERY_SOURCE_DIR;
  const Json accepted = read_json_file((source / "tests/validation/accepted_error.json").string())[name];
  ValidateOptions options;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  options.mfu_above = 0.05;
  const ValidationSummary all = validate(runs, options).summary.front();
  std::printf(
      "%s, %d rows: median %.1f %% (goal 8), concordance %.3f of %d pairs (goal 0.90), median regret %.1f %% "
      "(goal 2), mean %.1f %%\n",
      name.c_str(), all.scored, 100 * *all.median, *all.plans.concordance, all.plans.pairs,
      100 * *all.plans.median_regret, 100 * *all.plans.mean_regret);
  constexpr double kHalfAPoint = 0.005;
  EXPECT_LE(*all.median, accepted["median"].get<double>() + kHalfAPoint);
  EXPECT_GE(*all.plans.concordance, accepted["concordance"].get<double>() - kHalfAPoint);
  EXPECT_LE(*all.plans.median_regret, accepted["median_regret"].get<double>() + kHalfAPoint);
}

// As described, and without the checks of collectives, which were inferred from these runs' times.
TEST(BulkAccuracy, OfPlansStaysWhatWasAccepted) {
  const std::filesystem::path source = ORRERY_SOURCE_DIR;
  std::vector<RunRecord> runs =
      select_runs(read_runs({(source / "calibration/data/runs_nanotron.jsonl").string()}),
                  {.ids = {}, .confidences = {"high"}, .sources = {"nanotron playbook"}});
  score(runs, "nanotron");
  size_t checked = 0;
  for (RunRecord& run : runs) checked += run.experiment["software"].erase("checked_collectives");
  EXPECT_GT(checked, 0U);
  score(runs, "nanotron_unchecked");
}

}  // namespace
}  // namespace orrery
