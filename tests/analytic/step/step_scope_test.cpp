// Folded and full scope of the same plan: a representative a stage against every GPU.
#include <gtest/gtest.h>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

struct Case {
  int tensor, pipeline, data, interleave, zero;
  bool overlap;
};

class StepScope : public testing::TestWithParam<Case> {};

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
                         testing::Values(Case{1, 1, 8, 1, 0, false}, Case{2, 2, 4, 1, 0, true},
                                         Case{2, 4, 2, 2, 1, true}, Case{8, 2, 2, 1, 1, false},
                                         Case{1, 1, 16, 1, 3, true}, Case{2, 1, 8, 1, 2, true},
                                         Case{1, 8, 1, 1, 0, false}));

}  // namespace
}  // namespace orrery
