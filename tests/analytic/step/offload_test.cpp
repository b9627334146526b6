// What is kept on the host (training.offload) against hand calculations, in both engines.
#include <gtest/gtest.h>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "models/memory.hpp"
#include "models/offload.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kRounding = 1e-9;  // relative: no model error between the two

/// A layer's activations for one sequence of 1024: inputs of two norms and two products 8 x 1024 x 1024,
/// queries, keys and values 6 x 1024 x 1024, attention's output 2 x 1024 x 1024 and its 8 heads' fp32 sums,
/// the MLP's two inner activations 4 x 1024 x 4096.
constexpr double kKept = 16.0 * 1024 * 1024 + 4.0 * 1024 * 8 + 4.0 * 1024 * 4096;

struct Offloading {
  ModelSpec model = plain_model(4);
  TrainingSpec training = plain_training(16);
  ParallelPlan parallel;
  ClusterShape cluster = eight_gpu_nodes(8);
  SoftwareStack stack;
  bool free_inside = true;  ///< collectives take no time
  /// Forward 1 ms and backward 2 ms a layer, head nothing, optimizer 1 ms.
  NamedCost cost{{{"qkv_projection", 1e-3}, {"qkv_dgrad", 2e-3}, {"optimizer_update", 1e-3}}};

  Offloading() {
    parallel = plain_plan(model, 1, 1, 8);
    stack.attention_kernel = AttentionKernel::flash2;
    cluster.host_memory_link = Bytes(2 * kKept) / milliseconds(6);
    cluster.host_memory_bandwidth = gigabytes_per_second(100);
  }
  double step() const {
    const StepPlan plan =
        make_step_plan(model, training, stack, parallel, cluster, cost, AlphaBeta(0.0, free_inside));
    const StepEstimate estimate = estimate_step(plan);
    double sum = 0;
    for (const double seconds : estimate.breakdown) sum += seconds;
    EXPECT_NEAR(sum, estimate.step_time.base(), kRounding);
    for (const Scope scope : {Scope::folded, Scope::full}) {
      const StepTimeline timeline = run_contention_free(lower(plan, scope));
      EXPECT_NEAR(timeline.makespan_s, estimate.step_time.base(), kRounding * timeline.makespan_s);
    }
    return estimate.step_time.base();
  }
};

/// Passes alone: 2 micro-batches of 4 layers of 3 ms, and the optimizer.
constexpr double kPasses = 2 * 4 * 3e-3 + 1e-3;

TEST(ActivationOffload, WaitsForWhatOutlastsThePass) {
  Offloading run;
  EXPECT_NEAR(layer_activation_bytes(run.model, run.training, run.stack, run.parallel, false).base() / kKept,
              1.0, 1e-12);
  EXPECT_NEAR(run.step(), kPasses, kRounding);
  // Two layers take 6 ms over the link: 2 ms more than a forward of 4, less than a backward of 8.
  run.training.offload.activations_layers = 2;
  EXPECT_NEAR(run.step(), kPasses + 2 * 2e-3, kRounding);
  // Three take 9 ms: 5 and 1 ms more.
  run.training.offload.activations_layers = 3;
  EXPECT_NEAR(run.step(), kPasses + 2 * 6e-3, kRounding);
}

TEST(ActivationOffload, IsSharedByTheUnitsOfZero3) {
  Offloading run;
  run.parallel.zero = 3;
  const double without = run.step();
  run.training.offload.activations_layers = 2;
  // Each of the four layers carries half a copy, 1.5 ms, beside 1 and 2 ms.
  EXPECT_NEAR(run.step(), without + 2 * 4 * 0.5e-3, kRounding);
}

TEST(OptimizerOffload, IsBoundByTheHostsMemory) {
  Offloading run;
  run.training.offload.optimizer = true;
  run.stack.offloads.host_bandwidth_share = 0.8;
  // 4 layers of 12 x 1024^2 + 2 norms of two vectors; embedding and head of 1024 x 1024 each and a norm.
  const double parameters = 4 * (12.0 * 1024 * 1024 + 4 * 1024) + 2.0 * 1024 * 1024 + 2 * 1024;
  // Gradients in fp32 down before it; then 30 bytes a parameter for all 8 GPUs at 0.8 of 100 GB/s (the 16-bit
  // weights come up in less).
  const double down = 4 * parameters / run.cluster.host_memory_link.base();
  const double update = 8 * 30 * parameters / 80e9;
  EXPECT_NEAR(run.step(), kPasses - 1e-3 + down + update, kRounding);
  run.parallel.overlap.gradient = true;  // the copies down are beside the backward
  EXPECT_NEAR(run.step(), kPasses - 1e-3 + update, kRounding);
}

TEST(MuonStep, GathersMomentaBesideNothing) {
  Offloading run;
  run.free_inside = false;
  run.parallel.zero = 1;
  const double with_adam = run.step();
  run.training.optimizer = Optimizer::muon;
  // 2 bytes of the layers' matrices over 8 ranks on NVLink of 400 GB/s; the rest is AdamW's as before.
  const double matrices = 4 * 12.0 * 1024 * 1024;
  EXPECT_NEAR(run.step(), with_adam + 2 * matrices * 7 / 8 / 400e9, kRounding);
}

}  // namespace
}  // namespace orrery
