// What a stack's or a site's factors do to a step, by hand and in both engines.
#include <gtest/gtest.h>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

/// Products take 1 ms, attention 2 ms, memory-bound kernels 0.1 ms each.
class CostByKind : public NamedCost {
 public:
  CostByKind() : NamedCost({}) {}
  KernelTime time(const Operator& op) const override {
    const bool product = std::holds_alternative<GemmShape>(op.shape);
    const bool attention = std::holds_alternative<AttentionShape>(op.shape);
    return {Seconds(product ? 1e-3 : attention ? 2e-3 : 1e-4), 0.0, Evidence::measured};
  }
};

struct Step {
  StepEstimate estimate;
  double simulated_s = 0;
  double term(BreakdownTerm t) const { return estimate.breakdown[static_cast<size_t>(t)]; }
};

Step step_with(Factor factor, double value, const ParallelPlan& parallel, const SoftwareStack& stack) {
  static const CostByKind kCost;
  static const AlphaBeta kNetwork(10e-6);
  Factors factors;
  factors[factor] = value;
  const ModelSpec model = plain_model(8);
  const StepPlan plan = make_step_plan(model, plain_training(4L * parallel.data), stack, parallel,
                                       eight_gpu_nodes(parallel.gpus()), kCost, kNetwork, nullptr, factors);
  const WorkloadGraph graph = lower(plan, Scope::folded);
  return {estimate_step(plan), run_contention_free(graph).makespan_s};
}

// One GPU, nothing overlaps: doubling a kind's times adds that kind's share once more, so what the three
// kinds add is the whole step.
TEST(FactorsStep, KindsOfKernelsAddUpToAStepOfOneGpu) {
  const ParallelPlan one = plain_plan(plain_model(8), 1, 1, 1);
  const SoftwareStack stack;
  const double base = step_with(Factor::products, 1.0, one, stack).estimate.step_time.base();
  double added = 0;
  for (const Factor factor : {Factor::products, Factor::attention, Factor::memory}) {
    const Step doubled = step_with(factor, 2.0, one, stack);
    EXPECT_GT(doubled.estimate.step_time.base(), base);
    EXPECT_NEAR(doubled.simulated_s, doubled.estimate.step_time.base(), 1e-9);
    added += doubled.estimate.step_time.base() - base;
  }
  EXPECT_NEAR(added, base, 1e-9);
  EXPECT_EQ(step_with(Factor::tensor_communication, 2.0, one, stack).estimate.step_time.base(), base);
}

// 8 layers, 4 micro-batches, forward and backward each as long as the host: 3 ms x 2 x 8 x 4 and 5 ms a step.
TEST(FactorsStep, HostTimeIsMultipliedLaunchesAndStepAlike) {
  SoftwareStack stack;
  stack.host.per_layer_forward = stack.host.per_layer_backward = Seconds(1.0);
  stack.host.per_step = Seconds(5e-3);
  const ParallelPlan one = plain_plan(plain_model(8), 1, 1, 1);
  const Step base = step_with(Factor::host, 1.0, one, stack);
  const Step faster = step_with(Factor::host, 0.5, one, stack);
  EXPECT_NEAR((base.estimate.step_time - faster.estimate.step_time).base(), 0.5 * (2 * 8 * 4 + 5e-3), 1e-9);
  EXPECT_NEAR(faster.simulated_s, faster.estimate.step_time.base(), 1e-9);
}

// 8 layers, 4 micro-batches: the host's 1 ms forward and 2 ms backward stand beside nothing, 96 ms in all
// (and 5 ms a step). Kernels keep their times.
TEST(FactorsStep, WhereLaunchesBlockHostAndKernelsAddUp) {
  SoftwareStack stack;
  const ParallelPlan one = plain_plan(plain_model(8), 1, 1, 1);
  const Step kernels = step_with(Factor::host, 1.0, one, stack);
  stack.host.per_layer_forward = Seconds(1e-3);
  stack.host.per_layer_backward = Seconds(2e-3);
  stack.host.per_step = Seconds(5e-3);
  stack.blocking_launches = true;
  const Step blocked = step_with(Factor::host, 1.0, one, stack);
  EXPECT_NEAR((blocked.estimate.step_time - kernels.estimate.step_time).base(), 8 * 4 * 3e-3 + 5e-3, 1e-9);
  EXPECT_NEAR(blocked.simulated_s, blocked.estimate.step_time.base(), 1e-9);
}

// 8 layers, 4 micro-batches, groups of four ranks (a check with them: 10 + 2 x 1 ms). A layer has two
// all-reduces forward and two backward (Shoeybi et al. 2019, figure 4), a micro-batch one for the embedding,
// three in the loss and one for the head's input (Megatron-LM, core/tensor_parallel: layers.py,
// cross_entropy.py), a step one over the data-parallel ranks.
TEST(FactorsStep, EveryCollectiveIsChecked) {
  const ParallelPlan plan = plain_plan(plain_model(8), 4, 1, 4);
  SoftwareStack stack;
  stack.host.per_layer_forward = stack.host.per_layer_backward = Seconds(1.0);
  stack.host.per_check = Seconds(10e-3);
  stack.host.per_checked_rank = Seconds(1e-3);
  const Step plain = step_with(Factor::host, 1.0, plan, stack);
  stack.checked_collectives = true;
  const Step checked = step_with(Factor::host, 1.0, plan, stack);
  stack.host.per_check += Seconds(12e-3);
  const Step twice = step_with(Factor::host, 1.0, plan, stack);
  EXPECT_GT(checked.estimate.step_time.base(), plain.estimate.step_time.base());
  EXPECT_NEAR((twice.estimate.step_time - checked.estimate.step_time).base(),
              (8 * 4 * 4 + 4 * (1 + 3 + 1) + 1) * 12e-3, 1e-9);
  EXPECT_NEAR(checked.simulated_s, checked.estimate.step_time.base(), 1e-9);
}

// Nothing hides them: exposed time is the collectives' own, and grows with the factor alone.
TEST(FactorsStep, CommunicationIsMultipliedGroupByGroup) {
  const ModelSpec model = plain_model(8);
  struct Case {
    Factor factor;
    BreakdownTerm term;
    double expected;  ///< of a factor of 3
  };
  // Two nodes of data-parallel ranks: one doubling.
  const Case cases[] = {{Factor::tensor_communication, BreakdownTerm::tensor_comm_exposed, 3.0},
                        {Factor::data_communication, BreakdownTerm::data_comm_exposed, 3.0},
                        {Factor::data_per_doubling, BreakdownTerm::data_comm_exposed, 3.0}};
  const ParallelPlan plan = plain_plan(model, 4, 1, 4);
  const SoftwareStack stack;
  for (const Case& c : cases) {
    const Step base = step_with(c.factor, 1.0, plan, stack);
    const Step slow = step_with(c.factor, 3.0, plan, stack);
    ASSERT_GT(base.term(c.term), 0.0);
    EXPECT_NEAR(slow.term(c.term), c.expected * base.term(c.term), 1e-12);
    EXPECT_NEAR((slow.estimate.step_time - base.estimate.step_time).base(),
                (c.expected - 1) * base.term(c.term), 1e-9);
    EXPECT_NEAR(slow.simulated_s, slow.estimate.step_time.base(), 1e-9);
  }
}

}  // namespace
}  // namespace orrery
