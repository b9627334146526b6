// Folded and full scope of the same plan: a representative a stage against every GPU.
#include <gtest/gtest.h>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

struct Case {
  int tensor, pipeline, data, interleave, zero;
  bool overlap;
};

class StepScope : public ::testing::TestWithParam<Case> {};

TEST_P(StepScope, FoldedEqualsFullWhereNothingContends) {
  const Case c = GetParam();
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plain_plan(model, c.tensor, c.pipeline, c.data, c.interleave);
  plan.zero = c.zero;
  plan.overlap = {c.overlap, c.overlap, false, c.overlap};
  plan.bucket = 3e6;
  const NamedCost cost(
      {{"qkv_projection", 1e-3}, {"qkv_dgrad", 2e-3}, {"logits", 1e-3}, {"optimizer_update", 1e-3}});
  const StepPlan step = make_step_plan(model, plain_training(c.data * 8), SoftwareStack{}, plan,
                                       eight_gpu_nodes(plan.gpus()), cost, AlphaBeta(5e-6));
  const WorkloadGraph folded = lower(step, Scope::folded);
  const WorkloadGraph full = lower(step, Scope::full);
  EXPECT_EQ(folded.ranks, c.pipeline);
  EXPECT_EQ(full.ranks, plan.gpus());
  const StepTimeline few = run_contention_free(folded);
  const StepTimeline all = run_contention_free(full);
  EXPECT_NEAR(few.makespan_s, all.makespan_s, 1e-12 * all.makespan_s);
  EXPECT_NEAR(estimate_step(step).step_time.base(), all.makespan_s, 1e-9 * all.makespan_s);
  // Every GPU computes as long as its stage's representative.
  size_t segments = 0;
  size_t representative_segments = 0;
  for (const Task& task : full.tasks) segments += task.kind == TaskKind::segment;
  for (const Task& task : folded.tasks) representative_segments += task.kind == TaskKind::segment;
  EXPECT_EQ(segments, representative_segments * static_cast<size_t>(plan.gpus() / c.pipeline));
}

INSTANTIATE_TEST_SUITE_P(Plans, StepScope,
                         ::testing::Values(Case{1, 1, 8, 1, 0, false}, Case{2, 2, 4, 1, 0, true},
                                           Case{2, 4, 2, 2, 1, true}, Case{8, 2, 2, 1, 1, false},
                                           Case{1, 1, 16, 1, 3, true}, Case{2, 1, 8, 1, 2, true},
                                           Case{1, 8, 1, 1, 0, false}, Case{16, 1, 2, 1, 0, true},
                                           Case{16, 2, 2, 2, 1, true}, Case{16, 1, 4, 1, 3, true}));

// Tensor groups over two nodes send through NICs of their own: one communication a layer and pass.
TEST(StepScope, TensorGroupsAcrossNodesAreCommunicationsOfTheirOwn) {
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plain_plan(model, 16, 1, 2);
  const NamedCost cost({{"qkv_projection", 1e-3}, {"qkv_dgrad", 2e-3}});
  const StepPlan step = make_step_plan(model, plain_training(2 * 3), SoftwareStack{}, plan,
                                       eight_gpu_nodes(plan.gpus()), cost, AlphaBeta(5e-6));
  const WorkloadGraph graph = lower(step, Scope::folded);
  int tensor_tasks = 0;
  double bytes = 0;
  for (const Task& task : graph.tasks) {
    if (task.kind != TaskKind::communication) continue;
    const Communication& what = graph.communications[static_cast<size_t>(task.index)];
    if (what.group != GroupKind::tensor) continue;
    ++tensor_tasks;
    EXPECT_EQ(what.groups.size(), 2u);  // the simulated group and its twin
    EXPECT_EQ(what.groups.front().size(), 16u);
    bytes += what.payload.base() * bus_factor(what.op, 16);
  }
  // 3 micro-batches, forward and backward; the head has a collective of its own, and so may the embedding.
  EXPECT_GE(tensor_tasks, 3 * 2 * 8);
  EXPECT_LE(tensor_tasks, 3 * 2 * (8 + 2));
  // What the plan's collectives put on the wire.
  double planned = 0;
  for (const CommunicationTotal& line : inline_communications(step, 0)) {
    planned += line.payload.base() * bus_factor(line.op, line.ranks) * static_cast<double>(line.count);
  }
  EXPECT_NEAR(bytes, planned, 1e-9 * planned);
  // With the gradients of the same ranks on the same NICs both are slower than alone, and no slower than one
  // after the other.
  plan.overlap.gradient = true;
  plan.bucket = layer_parameters_per_rank(model, plan) / 4;
  const StepPlan busy = make_step_plan(model, plain_training(2 * 3), SoftwareStack{}, plan,
                                       eight_gpu_nodes(plan.gpus()), cost, AlphaBeta(5e-6));
  const WorkloadGraph both = lower(busy, Scope::folded);
  const Topology topology = testing::SmallFabric{.nodes = 4, .gpus = 8, .nics = 8, .nodes_a_leaf = 4}.build();
  const double alone_s = run_contention_free(both).makespan_s;
  const StepTimeline together = run_simgrid(both, topology);
  EXPECT_TRUE(together.contended);
  EXPECT_GT(together.makespan_s, alone_s);
  double gradients_s = 0;
  for (const Task& task : both.tasks) {
    if (task.kind != TaskKind::communication) continue;
    const Communication& what = both.communications[static_cast<size_t>(task.index)];
    if (what.group == GroupKind::data) gradients_s += (what.latency + what.transfer).base();
  }
  EXPECT_LT(together.makespan_s, alone_s + gradients_s);
}

}  // namespace
}  // namespace orrery
