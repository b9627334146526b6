#include "reports/answers/effects.hpp"

#include <gtest/gtest.h>

#include <set>

#include "reports/answers/predict.hpp"

namespace orrery {
namespace {

Json experiment_json() {
  return Json::parse(R"({
    "name": "small", "cluster": {"preset": "dgx-a100-80gb", "nodes": 2}, "model": "gpt3-1.7b",
    "training": {"seq_length": 2048, "global_batch": 64, "micro_batch": 1, "recompute": "full"},
    "software": "megatron-core",
    "parallel": {"tensor": 2, "pipeline": 4, "interleave": 2}
  })");
}

double step_of(const Experiment& experiment, EngineKind engine, std::optional<Effect> without) {
  PredictOptions options;
  options.engine = engine;
  options.echo = false;
  options.without = without;
  return predict(experiment, options).step_time.base();
}

TEST(Effects, HaveNamesOfTheirOwnThatAreFoundAgain) {
  std::set<std::string_view> names;
  for (int i = 0; i < kEffects; ++i) {
    const auto effect = static_cast<Effect>(i);
    names.insert(name_of(effect));
    EXPECT_EQ(effect_named(std::string(name_of(effect))), effect);
    EXPECT_FALSE(effects()[static_cast<size_t>(i)].without.empty());
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kEffects));
}

// What costs time makes the step no longer when it is left out, and what saves time no shorter; the engines
// agree about it within 1 % (nothing contends on two nodes; contention itself leaves the estimate alone).
TEST(Effects, MoveTheStepTheirWayInBothEngines) {
  const Experiment experiment = read_experiment(experiment_json(), "small");
  const double estimate = step_of(experiment, EngineKind::estimate, std::nullopt);
  const std::set<Effect> saving = {Effect::interleaving, Effect::overlap};
  const std::set<Effect> either = {Effect::gemm_curve};
  for (int i = 0; i < kEffects; ++i) {
    const auto effect = static_cast<Effect>(i);
    const double estimated = step_of(experiment, EngineKind::estimate, effect);
    const double simulated = step_of(experiment, EngineKind::simulate, effect);
    EXPECT_NEAR(simulated / estimated, 1.0, 0.01) << name_of(effect);
    if (either.count(effect)) continue;
    if (saving.count(effect)) {
      EXPECT_GT(estimated, estimate) << name_of(effect);
    } else {
      EXPECT_LE(estimated, estimate * (1 + 1e-12)) << name_of(effect);
    }
  }
}

// By hand from the breakdown: nothing but that term changes.
TEST(Effects, TakeTheBubbleOffTheStep) {
  const Experiment experiment = read_experiment(experiment_json(), "small");
  PredictOptions options;
  options.engine = EngineKind::estimate;
  const Prediction whole = predict(experiment, options);
  const double bubble = whole.breakdown[static_cast<size_t>(BreakdownTerm::pipeline_bubble)];
  ASSERT_GT(bubble, 0.0);
  EXPECT_NEAR(step_of(experiment, EngineKind::estimate, Effect::pipeline_bubble),
              whole.step_time.base() - bubble, 1e-12);
}

// A run's MFU and memory stay those of the run: only the step becomes shorter.
TEST(Effects, LeaveTheWorkOfTheRunAlone) {
  const Experiment experiment = read_experiment(experiment_json(), "small");
  PredictOptions options;
  options.engine = EngineKind::estimate;
  const Prediction whole = predict(experiment, options);
  options.without = Effect::recompute;
  const Prediction without = predict(experiment, options);
  EXPECT_LT(without.step_time, whole.step_time);
  EXPECT_EQ(without.hardware_flops.base(), whole.hardware_flops.base());
  EXPECT_EQ(without.memory.peak.base(), whole.memory.peak.base());
}

}  // namespace
}  // namespace orrery
