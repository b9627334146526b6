// How wide communication spreads that runs beside layers, and what a tier says beyond the runs that taught
// it.
#include <gtest/gtest.h>

#include <algorithm>

#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"

namespace orrery {
namespace {

Experiment sharded(int nodes) {
  return read_experiment(
      {{"cluster", {{"preset", "dgx-h100"}, {"nodes", nodes}}},
       {"model", "mpt-7b"},
       {"software", "llm-foundry"},
       {"training", {{"seq_length", 2048}, {"global_batch", 32 * nodes}, {"micro_batch", 4}}},
       {"parallel", {{"zero", 3}}}},
      "test");
}

// FSDP has no collective inside its layers: what its gathers and reductions spread is a mean of theirs, and
// it moves the step by the share of it that waits for them.
TEST(Spread, OfGathersBesideLayersIsAMeanOfTheirs) {
  const Experiment experiment = sharded(64);
  PredictOptions options;
  options.tier = Tier::measured;
  options.engine = EngineKind::estimate;
  options.echo = false;
  CalibrationStore calibrations;
  const CalibratedModels models = calibrations.models(experiment, options);
  const StepPlan plan = plan_of(experiment, models, experiment.shape);
  double least = 1.0, most = 0.0;
  for (const ShardedUnits::Unit& unit : plan.sharded.units) {
    for (const Exchange* one : {&unit.gather, &unit.reduce}) {
      least = std::min(least, one->time.relative_spread);
      most = std::max(most, one->time.relative_spread);
    }
  }
  for (const Exchange* one : {&plan.sharded.root_gather, &plan.sharded.root_reduce}) {
    least = std::min(least, one->time.relative_spread);
    most = std::max(most, one->time.relative_spread);
  }
  ASSERT_GT(least, 0.0);
  constexpr auto kData = static_cast<size_t>(BreakdownTerm::data_comm_exposed);
  EXPECT_GE(plan.communication_spread[kData], least);
  EXPECT_LE(plan.communication_spread[kData], most);

  const Prediction prediction = predict(experiment, options, calibrations);
  const double waits = prediction.breakdown[kData] / prediction.step_time.base();
  ASSERT_GT(waits, 0.0);
  EXPECT_GE(prediction.spread, waits * plan.communication_spread[kData] * (1.0 - 1e-12));
}

// llm-foundry's runs had up to 64 nodes (512 GPUs, calibration/data/runs.jsonl).
TEST(Spread, AWarningSaysWhereNoRunTaughtHowDataGroupsGrow) {
  PredictOptions options;
  options.tier = Tier::stack;
  options.engine = EngineKind::estimate;
  options.echo = false;
  for (const int nodes : {64, 65}) {
    const std::vector<std::string> warnings = predict(sharded(nodes), options).warnings;
    EXPECT_EQ(std::count_if(warnings.begin(), warnings.end(),
                            [](const std::string& text) {
                              return text.find("learned on up to 64 nodes") != text.npos;
                            }),
              nodes > 64 ? 1 : 0);
  }
}

}  // namespace
}  // namespace orrery
