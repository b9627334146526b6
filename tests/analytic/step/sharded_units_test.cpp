// ZeRO 3 / FSDP: what a stack prefetches, and its pipelines.
#include <gtest/gtest.h>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "models/memory.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kUnitForward = 1e-3;
constexpr double kUnitBackward = 2e-3;
constexpr double kUnitAlpha = 10e-6;
constexpr int kUnitLayers = 8;

class Sharded : public testing::Test {
 protected:
  Sharded() : model_(plain_model(kUnitLayers)) {}

  ParallelPlan plan(int tensor, int pipeline, int data) const {
    ParallelPlan plan = plain_plan(model_, tensor, pipeline, data);
    plan.zero = 3;
    return plan;
  }

  /// Step of `micro_batches`, the same from the estimate and the engine.
  double step(const ParallelPlan& parallel, int micro_batches, const SoftwareStack& stack) {
    const NamedCost cost({{"qkv_projection", kUnitForward}, {"qkv_dgrad", kUnitBackward}});
    plan_ = make_step_plan(model_, plain_training(std::int64_t{micro_batches} * parallel.data), stack,
                           parallel, eight_gpu_nodes(parallel.gpus()), cost, AlphaBeta(kUnitAlpha, true));
    estimate_ = estimate_step(plan_);
    const WorkloadGraph graph = lower(plan_, Scope::folded);
    const StepTimeline timeline = run_contention_free(graph);
    EXPECT_NEAR(timeline.makespan_s, estimate_.step_time.base(), 1e-9);
    return estimate_.step_time.base();
  }

  /// A gather over 2 nodes of bf16 parameters, and the reduction of their fp32 gradients: half the bytes
  /// cross, each of the eight tensor ranks of a node has a NIC of 50 GB/s.
  static double gather(double parameters) { return kUnitAlpha + 0.5 * parameters * 2 / 50e9; }
  static double reduce(double parameters) { return kUnitAlpha + 0.5 * parameters * 4 / 50e9; }

  ModelSpec model_;
  StepPlan plan_;
  StepEstimate estimate_;
};

TEST_F(Sharded, WithoutPrefetchEveryGatherAndReductionIsExposed) {
  const ParallelPlan parallel = plan(8, 1, 2);
  SoftwareStack stack;
  stack.sharding.prefetch_forward = stack.sharding.prefetch_backward = 0;
  const double with_all = step(parallel, 3, stack);
  const double layer = layer_parameters_per_rank(model_, parallel);
  const double root = embedding_parameters_per_rank(model_, plain_training(6), parallel) +
                      head_parameters_per_rank(model_, parallel);
  const double micro_batch = gather(root) + kUnitLayers * (2 * gather(layer) + reduce(layer)) + reduce(root) +
                             kUnitLayers * (kUnitForward + kUnitBackward);
  EXPECT_NEAR(with_all, 3 * micro_batch, 1e-9);
  // A last layer that stays gathered saves its second gather in every micro-batch.
  stack.sharding.keeps_last = true;
  EXPECT_NEAR(step(parallel, 3, stack), 3 * (micro_batch - gather(layer)), 1e-9);
}

TEST_F(Sharded, PrefetchHidesTheGathersOfAllLayersButTheFirst) {
  const ParallelPlan parallel = plan(8, 1, 2);
  const double layer = layer_parameters_per_rank(model_, parallel);
  const double root = embedding_parameters_per_rank(model_, plain_training(6), parallel) +
                      head_parameters_per_rank(model_, parallel);
  // Compute of a layer is longer than any gather. Before the first layer its gather and the root's; the last
  // layer's second gather is issued when its forward ends and is exposed, unless it was kept; at the end the
  // last layer's and the root's reductions, and behind the root's nothing.
  SoftwareStack stack;
  const double compute = kUnitLayers * (kUnitForward + kUnitBackward);
  const double one = step(parallel, 1, stack);
  EXPECT_NEAR(one, gather(root) + gather(layer) + compute + gather(layer) + reduce(layer) + reduce(root),
              1e-9);
  stack.sharding.keeps_last = true;
  EXPECT_NEAR(step(parallel, 1, stack), one - gather(layer), 1e-9);
}

// torchtitan: with a pipeline parameters are gathered once a step, a unit at a time before the first forward,
// and reduced once, all units after the stage's last backward.
TEST_F(Sharded, WithAPipelineEveryUnitIsGatheredAndReducedOnce) {
  ParallelPlan parallel = plan(4, 2, 2);
  parallel.placement = {"tensor", "context", "pipeline", "data"};  // sends stay in the node and cost nothing
  const int micro_batches = 6;
  const double time = step(parallel, micro_batches, {});
  const double parameters = 4 * layer_parameters_per_rank(model_, parallel) +
                            embedding_parameters_per_rank(model_, plain_training(12), parallel);
  const double unit = parameters / 5;  // four layers, and the embedding for itself
  const double stage = 4 * (kUnitForward + kUnitBackward);
  EXPECT_NEAR(time, gather(unit) + (micro_batches + 1) * stage + 5 * reduce(unit), 1e-9);
  for (const CommunicationTotal& total : estimate_.communications) {
    if (total.group == GroupKind::data) {
      EXPECT_EQ(total.count, 5);
    }
  }
}

TEST_F(Sharded, WithAPipelineWeightsAndGradientsStayWhole) {
  const SoftwareStack stack;
  const TrainingSpec training = plain_training(12);
  ParallelPlan parallel = plan(8, 2, 2);
  const MemoryUse whole = memory_use(model_, training, stack, parallel, Bytes(0));
  parallel.zero = 1;
  const MemoryUse unsharded = memory_use(model_, training, stack, parallel, Bytes(0));
  // Gradients as without ZeRO 3; weights gathered as buffers, and their fp32 shards in place of the
  // optimizer's master weights.
  EXPECT_NEAR(whole.gradients.base(), unsharded.gradients.base(), 1.0);
  EXPECT_NEAR(whole.peak.base(), unsharded.peak.base(), 1.0);
}

}  // namespace
}  // namespace orrery
