// Steps of models with experts against hand calculations: two kinds of gradient bucket, exchanges inside
// layers.
#include <gtest/gtest.h>

#include <algorithm>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "models/moe_shape.hpp"
#include "models/step_plan.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kCallStart = 10e-6;

/// Eight experts of width 2048, two of them for a token.
ModelSpec expert_model(int layers) {
  ModelSpec model = plain_model(layers);
  MoeSpec& moe = model.moe.emplace();
  moe.experts = 8;
  moe.top_k = 2;
  moe.ffn_hidden = 2048;
  return model;
}

ParallelPlan expert_plan(const ModelSpec& model, int pipeline, int data, int expert) {
  ParallelPlan plan = plain_plan(model, 1, pipeline, data);
  plan.expert = expert;
  return plan;
}

NamedCost expert_cost() {
  return NamedCost({{"qkv_projection", 1e-3},
                    {"qkv_dgrad", 2e-3},
                    {"expert_up_projection", 2e-3},
                    {"expert_up_dgrad", 3e-3}});
}

StepPlan expert_step(const ModelSpec& model, const ParallelPlan& parallel, const TrainingSpec& training,
                     const SoftwareStack& stack = {}, const ExpertExchangeConstants* exchange = nullptr) {
  static const NamedCost kCost = expert_cost();
  static const AlphaBeta kCollectives(kCallStart);
  const ClusterShape cluster = eight_gpu_nodes(parallel.gpus());
  return make_step_plan(model, training, stack, parallel, cluster, kCost, kCollectives, exchange);
}

TEST(ExpertPlanStep, ReducesExpertsOverTheRanksThatHoldTheSame) {
  // 16 GPUs, 4 of them share the experts: 4 hold the same ones. An expert has 2 x 1024 x 2048 weights.
  const ModelSpec model = expert_model(4);
  ParallelPlan parallel = expert_plan(model, 1, 16, 4);
  const TrainingSpec training = plain_training(16);
  const StepPlan plan = expert_step(model, parallel, training);
  const VirtualStage& stage = plan.virtual_stages.front();
  const double experts = 4.0 * 2 * 2 * 1024 * 2048;
  EXPECT_EQ(stage.expert_parameters, experts);
  EXPECT_EQ(stage.expert_reduce.members, Members::expert_data);
  EXPECT_EQ(stage.expert_reduce.ranks, 4);
  EXPECT_EQ(stage.expert_reduce.payload.base(), experts * 4);
  EXPECT_EQ(stage.reduce.ranks, 16);
  EXPECT_EQ(stage.reduce.payload.base(), (stage.parameters - experts) * 4);
  // ZeRO 1: reduce-scatter and gather of experts over the same four.
  parallel.zero = 1;
  const StepPlan sharded = expert_step(model, parallel, training);
  EXPECT_EQ(sharded.virtual_stages.front().expert_reduce.op, CollectiveOp::reduce_scatter);
  EXPECT_EQ(sharded.virtual_stages.front().expert_gather.ranks, 4);
  EXPECT_EQ(sharded.virtual_stages.front().expert_gather.payload.base(), experts * 2);
  // One rank for each expert: nobody else has its gradients.
  const ModelSpec wide = expert_model(4);
  EXPECT_FALSE(expert_step(wide, expert_plan(wide, 1, 8, 8), plain_training(8))
                   .virtual_stages.front()
                   .expert_reduce.exists());
}

TEST(ExpertPlanStep, ExpertsThatRunAgainWaitForTheirCountsAgain) {
  // Two experts a rank, 5 ms of the host each and pass: 10 ms for what runs again, 10 ms for the backward,
  // and before them the 1 ms of attention and the call that tells the counts, for which the host waits.
  const ModelSpec model = expert_model(4);
  TrainingSpec training = plain_training(8);
  training.recompute = Recompute::full;
  SoftwareStack stack;
  stack.host.per_expert = milliseconds(5);
  const StepPlan plan = expert_step(model, expert_plan(model, 1, 8, 4), training, stack);
  const PassCost& backward = plan.costs->kinds.front().layer.backward;
  EXPECT_NEAR(backward.duration.base(), 21e-3 + kCallStart, 2e-6);
}

TEST(ExpertPlanStep, DualPipeHidesExchangesInItsPairsInBothEngines) {
  const ModelSpec model = expert_model(8);
  const TrainingSpec training = plain_training(16 * 8);
  ParallelPlan parallel = expert_plan(model, 4, 8, 8);
  const auto exposed = [&](ScheduleKind schedule) {
    parallel.schedule = schedule;
    const StepPlan plan = expert_step(model, parallel, training);
    const StepEstimate estimate = estimate_step(plan);
    double sum = 0;
    for (const double seconds : estimate.breakdown) sum += seconds;
    EXPECT_NEAR(sum, estimate.step_time.base(), 1e-9);
    for (const Scope scope : {Scope::folded, Scope::full}) {
      const WorkloadGraph graph = lower(plan, scope);
      const StepTimeline timeline = run_contention_free(graph);
      // 1e-9: no model error between the two.
      EXPECT_NEAR(timeline.makespan_s / estimate.step_time.base(), 1.0, 1e-9) << static_cast<int>(schedule);
    }
    return estimate.breakdown[static_cast<size_t>(BreakdownTerm::expert_comm_exposed)];
  };
  const double alone = exposed(ScheduleKind::one_f_one_b);
  const double paired = exposed(ScheduleKind::dualpipe);
  // 16 micro-batches: what runs alone while the pipeline fills and drains is still exposed, the rest is not
  // (kernels of 8 ms a pair and layer, exchanges of microseconds).
  EXPECT_GT(paired, 0.0);
  EXPECT_LT(paired, 0.5 * alone);
}

TEST(ExpertPlanStep, HybridShardsReduceExpertsAcrossTheirReplicas) {
  const ModelSpec model = expert_model(4);
  ParallelPlan parallel = expert_plan(model, 1, 16, 2);
  parallel.zero = 1;
  parallel.shard_group = 8;  // two of them; so two shards of four of the eight ranks that share experts
  const StepPlan plan = expert_step(model, parallel, plain_training(16));
  const VirtualStage& stage = plan.virtual_stages.front();
  EXPECT_EQ(stage.expert_reduce.ranks, 4);
  EXPECT_EQ(stage.expert_replica_reduce.ranks, 2);
  EXPECT_EQ(stage.expert_replica_reduce.payload.base(), stage.expert_parameters * 4 / 4);
}

TEST(ExpertPlanStep, ExchangesOfALayerAreExposedAsTheirOwnTerm) {
  // Four GPUs of a node: each exchange moves 3/4 of 1024 tokens x 2 x 1024 x 2 B over 400 GB/s; the counts of
  // tokens 3/4 of 8 B x 8 x 4.
  const ModelSpec model = expert_model(4);
  const StepEstimate estimate =
      estimate_step(expert_step(model, expert_plan(model, 1, 4, 4), plain_training(4 * 3)));
  const double exchange = kCallStart + 0.75 * 1024 * 2 * 1024 * 2 / 400e9;
  const double counts = kCallStart + 0.75 * 8 * 8 * 4 / 400e9;
  const double expected = 3 * 4 * (4 * exchange + counts);
  EXPECT_NEAR(estimate.breakdown[static_cast<size_t>(BreakdownTerm::expert_comm_exposed)], expected, 1e-12);
  double total = 0;
  for (const CommunicationTotal& c : estimate.communications) {
    if (c.group == GroupKind::expert) total += c.total.base();
  }
  EXPECT_NEAR(total, expected, 1e-12);
}

TEST(ExpertPlanStep, BothEnginesAgree) {
  struct Case {
    int pipeline, data, expert, zero, interleave;
    bool overlapped;
  };
  const Case cases[] = {{1, 8, 8, 0, 1, false}, {1, 16, 4, 1, 1, true}, {1, 32, 8, 2, 1, true},
                        {2, 16, 8, 1, 1, true}, {2, 8, 2, 1, 2, true},  {1, 16, 4, 3, 1, true},
                        {1, 32, 32, 1, 1, true}};
  for (const Case& c : cases) {
    ModelSpec model = expert_model(8);
    model.moe->experts = 32;
    model.moe->every = 2;  // dense and mixture in turn
    ParallelPlan parallel = expert_plan(model, c.pipeline, c.data, c.expert);
    parallel.interleave = c.interleave;
    if (c.interleave > 1) parallel.schedule = ScheduleKind::interleaved;
    parallel.stage_layers.assign(static_cast<size_t>(c.pipeline * c.interleave),
                                 8 / (c.pipeline * c.interleave));
    parallel.zero = c.zero;
    parallel.overlap.gradient = parallel.overlap.parameter = c.overlapped;
    parallel.bucket = 1e6;
    const StepPlan plan = expert_step(model, parallel, plain_training(c.data * 4));
    const StepEstimate estimate = estimate_step(plan);
    double sum = 0;
    for (const double term : estimate.breakdown) sum += term;
    EXPECT_NEAR(sum, estimate.step_time.base(), 1e-12);
    for (const Scope scope : {Scope::folded, Scope::full}) {
      const StepTimeline timeline = run_contention_free(lower(plan, scope));
      EXPECT_NEAR(timeline.makespan_s / estimate.step_time.base(), 1.0, 1e-9)
          << c.pipeline << " x " << c.data << ", expert " << c.expert << ", zero " << c.zero;
    }
  }
}

TEST(ExpertPlanStep, AnotherMicroBatchHidesExchangesUpToItsKernels) {
  // 64 micro-batches on one stage: all but the first forward run beside a backward, 63/64 of the exchanges
  // hide behind kernels that are much longer.
  const ModelSpec model = expert_model(4);
  const TrainingSpec training = plain_training(4 * 64);
  ParallelPlan parallel = expert_plan(model, 1, 4, 4);
  const auto exposed = [&] {
    return estimate_step(expert_step(model, parallel, training))
        .breakdown[static_cast<size_t>(BreakdownTerm::expert_comm_exposed)];
  };
  const double alone = exposed();
  parallel.overlap.expert = true;
  EXPECT_NEAR(exposed(), alone / 64, 1e-9 * alone);
}

TEST(ExpertPlanStep, MoreImbalanceIsNeverFaster) {
  double previous = 0;
  for (const double imbalance : {1.0, 1.2, 2.0}) {
    ModelSpec model = expert_model(4);
    model.moe->imbalance = imbalance;
    const double step =
        estimate_step(expert_step(model, expert_plan(model, 1, 16, 8), plain_training(32))).step_time.base();
    EXPECT_GT(step, previous);
    previous = step;
  }
}

TEST(ExpertPlanStep, TimesKernelsOfADispatcherByItsConstants) {
  // One token in each of two nodes of eight: with 8 experts on 8 ranks of one node NVLink alone decides.
  const ModelSpec model = expert_model(4);
  SoftwareStack stack;
  stack.moe_dispatcher = MoeDispatcher::deepep;
  ExpertExchangeConstants constants;
  constants.dispatch.start = constants.combine.start = 40e-6;
  constants.dispatch.nvlink_share = constants.combine.nvlink_share = 0.5;
  const StepEstimate estimate =
      estimate_step(expert_step(model, expert_plan(model, 1, 8, 8), plain_training(8), stack, &constants));
  // Two of eight experts: a token reaches 2 ranks, 7/8 of the copies leave their own; 1024 tokens x 1024 x 2
  // B.
  const double exchange = 40e-6 + 2.0 * 7 / 8 * 1024 * 1024 * 2 / (0.5 * 400e9);
  EXPECT_NEAR(estimate.breakdown[static_cast<size_t>(BreakdownTerm::expert_comm_exposed)], 4 * 4 * exchange,
              1e-12);
  EXPECT_THROW(expert_step(model, expert_plan(model, 1, 8, 8), plain_training(8), stack),
               std::invalid_argument);
}

}  // namespace
}  // namespace orrery
