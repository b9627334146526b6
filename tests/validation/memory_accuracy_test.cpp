// Predicted memory against the peaks that shipped runs publish, and what the verdict makes of them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "reports/answers/validate.hpp"
#include "reports/experiment/settings.hpp"
#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

// Rows that the verdicts get wrong, counted; the printed lists name them.
constexpr int kDoNotFitAtMore = 0;
/// Of the 28 BLOOM runs: nvidia-smi shows what the caching allocator reserves, which is more than it hands
/// out and than the run needs (docs/accuracy.md), and one row (tp 8, pp 6, micro-batch 2) is above its own
/// twin with micro-batch 4.
constexpr int kFitAtLess = 21;

const PredictOptions kEstimate{.engine = EngineKind::estimate, .echo = false};

ValidateOptions with_estimate() {
  ValidateOptions options;
  options.predict = kEstimate;
  options.threads = 2;
  return options;
}

std::vector<RunRecord> runs_with_peak() {
  std::vector<RunRecord> runs = read_runs({});
  std::erase_if(runs, [](const RunRecord& run) { return !run.measured.contains("peak_memory_bytes"); });
  return runs;
}

bool fits_in(const RunRecord& run, double capacity, CalibrationStore& calibrations) {
  Json document = run.experiment;
  apply_setting(document, "cluster.node.gpu.memory_capacity=\"" + shortest_number(capacity) + " B\"");
  return predict(read_experiment(document, run.file), kEstimate, calibrations).fits();
}

TEST(MemoryAccuracy, OfThePublishedPeaksBySource) {
  // Goals of issue 6: 3 % of allocator peaks; of the whole GPU as nvidia-smi rounds it 8 %.
  const std::map<std::string, double> most = {{"SimuMax real runs", 0.03}, {"BLOOM prequel", 0.08}};
  const Validation validation = validate(runs_with_peak(), with_estimate());
  int sources = 0;
  for (const ValidationSummary& line : validation.summary) {
    if (line.by != "source") continue;
    ++sources;
    std::printf("%-20s %3d rows  memory MAPE %.1f %%  bias %+.1f %%\n", line.group.c_str(), line.memory_rows,
                100 * line.memory_mape.value(), 100 * line.memory_bias.value());
    ASSERT_TRUE(most.count(line.group)) << line.group;
    EXPECT_LE(line.memory_mape.value(), most.at(line.group)) << line.group;
  }
  EXPECT_EQ(sources, 2);
  for (const ValidationRow& row : validation.rows) {
    EXPECT_EQ(row.memory_of_gpu, row.source_group == "BLOOM prequel") << row.id;
  }
}

TEST(MemoryAccuracy, OfNanotronsReservedPool) {
  // Goal of issue 6: 8 %. Near twins publish pools up to twice as large, as the host was ahead or not:
  // twins, plans alike but for their data ranks, predict one another no better than to 6.6 %.
  const std::filesystem::path file =
      std::filesystem::path(ORRERY_SOURCE_DIR) / "calibration/data/runs_nanotron.jsonl";
  const std::vector<RunRecord> runs =
      select_runs(read_runs({file.string()}), {.ids = {}, .confidences = {"high"}, .sources = {}});
  std::vector<double> errors;
  for (const ValidationRow& row : validate(runs, with_estimate()).rows) {
    ASSERT_TRUE(row.peak_memory_error) << row.id;
    errors.push_back(std::abs(*row.peak_memory_error));
  }
  const double mean = std::accumulate(errors.begin(), errors.end(), 0.0) / static_cast<double>(errors.size());
  const double median = quantile(errors, 0.5).value();
  std::printf("nanotron             %3zu rows  memory MAPE %.1f %%  median %.1f %%\n", errors.size(),
              100 * mean, 100 * median);
  EXPECT_LE(mean, 0.08);
  EXPECT_LE(median, 0.05);
}

TEST(MemoryAccuracy, VerdictTurnsAtThePublishedPeak) {
  // At 1.1 of the published peak a run fits, at 0.9 it does not.
  CalibrationStore calibrations;
  int not_at_more = 0;
  int at_less = 0;
  for (const RunRecord& run : runs_with_peak()) {
    const double peak = run.measured["peak_memory_bytes"].get<double>();
    if (!fits_in(run, 1.1 * peak, calibrations)) {
      ++not_at_more;
      std::printf("does not fit in 1.1 of its peak: %s\n", run.id.c_str());
    }
    if (fits_in(run, 0.9 * peak, calibrations)) {
      ++at_less;
      std::printf("fits in 0.9 of its peak: %s\n", run.id.c_str());
      EXPECT_EQ(run.source_group, "BLOOM prequel") << run.id;
    }
  }
  EXPECT_LE(not_at_more, kDoNotFitAtMore);
  EXPECT_LE(at_less, kFitAtLess);
}

TEST(MemoryAccuracy, PublishedRunsFitTheirGpus) {
  int refuted = 0;
  for (const ValidationRow& row : validate(read_runs({}), with_estimate()).rows) {
    if (!row.scored || row.fits) continue;
    ++refuted;
    std::printf("does not fit: %s\n", row.id.c_str());
  }
  EXPECT_EQ(refuted, 0);
}

}  // namespace
}  // namespace orrery
