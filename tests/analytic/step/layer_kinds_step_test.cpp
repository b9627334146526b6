// Steps of models whose layers differ, against hand calculations.
#include <gtest/gtest.h>

#include <numeric>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "models/step_plan.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kFull = 3e-3;     // a layer that attends in full, forward
constexpr double kSliding = 1e-3;  // one within its window
constexpr double kLayerBack = 4e-3;
constexpr double kHeadTime = 5e-3;  // forward; the backward costs as much
constexpr double kProjection = 0.5e-3;

/// Attention takes what its window says, some named products take time, all else nothing.
class KindCost : public NamedCost {
 public:
  KindCost()
      : NamedCost({{"output_dgrad", kLayerBack},
                   {"logits", kHeadTime},
                   {"logits_dgrad", kHeadTime},
                   {"token_prediction_projection", kProjection},
                   {"token_prediction_dgrad", kProjection}}) {}
  KernelTime time(const Operator& op) const override {
    const auto* attention = std::get_if<AttentionShape>(&op.shape);
    if (attention == nullptr) return NamedCost::time(op);
    if (attention->pass == AttentionPass::backward) return {Seconds(0), 0.0, Evidence::measured};
    return {Seconds(attention->window > 0 ? kSliding : kFull), 0.0, Evidence::measured};
  }
};

class NoNetwork : public AlphaBeta {
 public:
  NoNetwork() : AlphaBeta(0.0) {}
  CollectiveTime time(CollectiveOp, Bytes, const GroupShape&) const override { return {}; }
};

ModelSpec sliding_model(int layers) {
  ModelSpec model = plain_model(layers);
  model.attention = AttentionKind::sliding;
  model.window = 128;
  model.full_every = 2;
  return model;
}

StepPlan plan_of(const ModelSpec& model, const TrainingSpec& training, const ParallelPlan& parallel) {
  static const KindCost kCost;
  static const NoNetwork kNetwork;
  static const SoftwareStack kStack;
  return make_step_plan(model, training, kStack, parallel, eight_gpu_nodes(parallel.gpus()), kCost, kNetwork);
}

/// The engine, having checked that the estimate says the same.
double step_time(const StepPlan& plan) {
  const double engine = run_contention_free(lower(plan, Scope::folded)).makespan_s;
  const StepEstimate estimate = estimate_step(plan);
  EXPECT_NEAR(estimate.step_time.base(), engine, 1e-12 * engine);
  EXPECT_NEAR(std::accumulate(estimate.breakdown.begin(), estimate.breakdown.end(), 0.0), engine,
              1e-12 * engine);
  return engine;
}

TEST(LayerKinds, StandInOrderOnTheirStages) {
  // Layers 0 2 4 6 slide, 1 3 5 7 attend in full; the first stage has 0 to 2, the second the rest.
  const ModelSpec model = sliding_model(8);
  ParallelPlan parallel = plain_plan(model, 1, 2, 1);
  parallel.stage_layers = {3, 5};
  const StepPlan plan = plan_of(model, plain_training(2), parallel);
  const auto forward = [&](size_t stage) {
    return plan
        .segments[static_cast<size_t>(
            plan.virtual_stages[stage].segment_of[static_cast<size_t>(PassKind::forward)])]
        .duration.base();
  };
  EXPECT_NEAR(forward(0), 2 * kSliding + kFull, 1e-15);
  EXPECT_NEAR(forward(1), 2 * kSliding + 3 * kFull + kHeadTime, 1e-15);
  // A piece of attention knows its layer.
  const int segment = plan.virtual_stages[1].segment_of[static_cast<size_t>(PassKind::forward)];
  const Segment expanded = expand_segment(plan, segment, 0.0, forward(1));
  std::vector<int> layers;
  for (const Piece& piece : expanded.pieces) {
    if (piece.name == "attention_core") layers.push_back(piece.layer);
  }
  EXPECT_EQ(layers, (std::vector<int>{3, 4, 5, 6, 7}));
}

TEST(LayerKinds, AddUpInAStepOfAnySharding) {
  const ModelSpec model = sliding_model(6);
  const double micro_batch = 3 * kSliding + 3 * kFull + 6 * kLayerBack + 2 * kHeadTime;
  for (const int zero : {0, 1, 2, 3}) {
    ParallelPlan parallel = plain_plan(model, 1, 1, 4);
    parallel.zero = zero;
    EXPECT_NEAR(step_time(plan_of(model, plain_training(4 * 3), parallel)), 3 * micro_batch, 1e-12) << zero;
  }
}

TEST(TokenPrediction, AddsProjectionLayerAndHeadToTheLastStage) {
  ModelSpec model = plain_model(4);
  model.mtp_layers = 2;
  const double layers = 6 * (kFull + kLayerBack);
  const double micro_batch = layers + 3 * 2 * kHeadTime + 2 * 2 * kProjection;
  for (const int zero : {0, 1, 2, 3}) {
    ParallelPlan parallel = plain_plan(model, 1, 1, 4);
    parallel.zero = zero;
    EXPECT_NEAR(step_time(plan_of(model, plain_training(4 * 3), parallel)), 3 * micro_batch, 1e-12) << zero;
  }
  // Two stages of two layers: the second has all predictions. One micro-batch passes both.
  const ParallelPlan halves = plain_plan(model, 1, 2, 1);
  const StepPlan plan = plan_of(model, plain_training(1), halves);
  EXPECT_NEAR(step_time(plan), micro_batch, 1e-12);
  const auto parameters = [&](size_t stage) { return plan.virtual_stages[stage].parameters; };
  const double own = 2.0 * 1024 * 1024 + 3 * 2 * 1024;  // projection, three layer norms of two vectors
  // Embedding of 1024 x 1024; on the second stage the head's, the final norm, and the embedding's copy.
  EXPECT_DOUBLE_EQ(parameters(0), 2 * layer_parameters_per_rank(model, halves) + 1024.0 * 1024);
  EXPECT_DOUBLE_EQ(parameters(1),
                   4 * layer_parameters_per_rank(model, halves) + 2 * own + 2 * 1024.0 * 1024 + 2 * 1024);
  EXPECT_TRUE(plan.tied_embedding_reduce.payload > Bytes(0));
}

TEST(TokenPrediction, RecomputesWithAllLayersAndNotWithSome) {
  ModelSpec model = plain_model(4);
  model.mtp_layers = 1;
  TrainingSpec training = plain_training(1);
  training.recompute = Recompute::full;
  const ParallelPlan parallel = plain_plan(model, 1, 1, 1);
  const double once = 5 * (kFull + kLayerBack) + 2 * 2 * kHeadTime + 2 * kProjection;
  EXPECT_NEAR(step_time(plan_of(model, training, parallel)), once + 5 * kFull + kProjection, 1e-12);
  training.recompute_layers = 3;
  EXPECT_NEAR(step_time(plan_of(model, training, parallel)), once + 3 * kFull, 1e-12);
}

TEST(TokenPrediction, SplitsItsBackwardUnderZeroBubble) {
  ModelSpec model = plain_model(4);
  model.mtp_layers = 1;
  for (const ScheduleKind kind : {ScheduleKind::zero_bubble_h1, ScheduleKind::one_f_one_b}) {
    ParallelPlan parallel = plain_plan(model, 1, 2, 1);
    parallel.schedule = kind;
    EXPECT_GT(step_time(plan_of(model, plain_training(8), parallel)), 0.0);
  }
}

}  // namespace
}  // namespace orrery
