// A step against hand calculations: kernels have times by name, collectives cost alpha + bytes / rate.
#include "models/step_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kForward = 1e-3;   // a layer
constexpr double kBackward = 2e-3;  // a layer
constexpr double kAlpha = 10e-6;

/// A network that costs nothing.
class Free : public AlphaBeta {
 public:
  Free() : AlphaBeta(0.0) {}
  CollectiveTime time(CollectiveOp, Bytes, const GroupShape&) const override { return {}; }
};

NamedCost layer_cost() { return NamedCost({{"qkv_projection", kForward}, {"qkv_dgrad", kBackward}}); }

struct Result {
  StepEstimate estimate;
  StepTimeline timeline;
  WorkloadGraph graph;
};

Result run(const ModelSpec& model, const TrainingSpec& training, const ParallelPlan& parallel,
           const CostModel& cost, const CollectiveModel& collectives, const SoftwareStack& stack = {}) {
  const ClusterShape cluster = eight_gpu_nodes(parallel.gpus());
  const StepPlan plan = make_step_plan(model, training, stack, parallel, cluster, cost, collectives);
  Result result;
  result.estimate = estimate_step(plan);
  result.graph = lower(plan, Scope::folded);
  result.timeline = run_contention_free(result.graph);
  return result;
}

double term(const StepEstimate& estimate, BreakdownTerm t) {
  return estimate.breakdown[static_cast<size_t>(t)];
}

// SC21 section 2.2: with equal stages, no head and free communication the bubble is (p-1)/(m v) of the ideal
// time.
TEST(StepPlan, BubbleEqualsTheClosedFormOfEachSchedule) {
  struct Case {
    ScheduleKind kind;
    int pipeline, interleave, micro_batches;
  };
  const Case cases[] = {{ScheduleKind::gpipe, 4, 1, 8},        {ScheduleKind::one_f_one_b, 2, 1, 3},
                        {ScheduleKind::one_f_one_b, 4, 1, 64}, {ScheduleKind::one_f_one_b, 8, 1, 5},
                        {ScheduleKind::one_f_one_b, 8, 1, 96}, {ScheduleKind::interleaved, 4, 2, 8},
                        {ScheduleKind::interleaved, 4, 3, 64}, {ScheduleKind::interleaved, 8, 2, 8},
                        {ScheduleKind::interleaved, 2, 6, 30}};
  for (const Case& c : cases) {
    const ModelSpec model = plain_model(48);
    ParallelPlan plan = plain_plan(model, 1, c.pipeline, 1, c.interleave);
    plan.schedule = c.kind;
    const double ideal = c.micro_batches * (kForward + kBackward) * 48 / c.pipeline;
    const Result free = run(model, plain_training(c.micro_batches), plan, layer_cost(), Free());
    const double expected = static_cast<double>(c.pipeline - 1) / (c.micro_batches * c.interleave);
    EXPECT_NEAR(free.estimate.step_time.base() / ideal - 1.0, expected, 1e-9)
        << c.pipeline << " stages, " << c.micro_batches << " micro-batches, interleave " << c.interleave;
    EXPECT_NEAR(free.timeline.makespan_s / ideal - 1.0, expected, 1e-9);
    EXPECT_NEAR(term(free.estimate, BreakdownTerm::pipeline_bubble) / ideal, expected, 1e-9);
    EXPECT_NEAR(bubble_fraction(c.kind, c.pipeline, c.interleave, c.micro_batches), expected, 1e-12);
  }
}

TEST(StepPlan, OneMicroBatchMoreCostsOneForwardAndBackwardOfAStage) {
  const ModelSpec model = plain_model(16);
  const ParallelPlan plan = plain_plan(model, 1, 4, 1);
  const double at_20 =
      run(model, plain_training(20), plan, layer_cost(), AlphaBeta(0.0)).estimate.step_time.base();
  const double at_21 =
      run(model, plain_training(21), plan, layer_cost(), AlphaBeta(0.0)).estimate.step_time.base();
  // 4 layers a stage: 4 ms + 8 ms; blocking sends of 1024 tokens x 1024 x 2 B over 400 GB/s add one send each
  // way.
  const double send = 1024.0 * 1024 * 2 / 400e9;
  EXPECT_NEAR(at_21 - at_20, 12e-3 + 2 * send, 2 * send);
  EXPECT_GE(at_21 - at_20, 12e-3);
}

// Data parallel over 16 nodes, gradients after the backward: T = m (f + b) L + alpha + 2 (n-1)/n bytes / NIC
// rate.
TEST(StepPlan, AnEighthOfTheNicBandwidthTakesEightTimesTheGradientTransfer) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(128 * 2);
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.tensor = 8;
  const NamedCost cost = layer_cost();
  const AlphaBeta collectives(kAlpha);
  ClusterShape cluster = eight_gpu_nodes(plan.gpus());
  SoftwareStack stack;  // fp32 gradients, no overlap
  const double parameters = layer_parameters_per_rank(model, plan) * 8 +
                            embedding_parameters_per_rank(model, training, plan) +
                            head_parameters_per_rank(model, plan);
  const double full = estimate_step(make_step_plan(model, training, stack, plan, cluster, cost, collectives))
                          .step_time.base();
  cluster.nic_bandwidth = cluster.nic_bandwidth / 8.0;
  const double eighth =
      estimate_step(make_step_plan(model, training, stack, plan, cluster, cost, collectives))
          .step_time.base();
  const double transfer = 2.0 * 15 / 16 * parameters * 4 / 50e9;  // each rank has a NIC of 50 GB/s
  EXPECT_NEAR(eighth - full, 7 * transfer, 1e-9 * eighth);
}

// nanotron's ZeRO 1 all-reduces: a rank sends (n-1)/n of the gradients once more than for its shard alone.
TEST(StepPlan, ZeroOneMayReduceToAll) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 2);
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.zero = 1;
  SoftwareStack stack;  // fp32 gradients, no overlap
  const Result shards = run(model, training, plan, layer_cost(), AlphaBeta(kAlpha, true), stack);
  stack.sharding.reduces_to_all = true;
  const Result all = run(model, training, plan, layer_cost(), AlphaBeta(kAlpha, true), stack);
  const double parameters = layer_parameters_per_rank(model, plan) * 8 +
                            embedding_parameters_per_rank(model, training, plan) +
                            head_parameters_per_rank(model, plan);
  const double longer = 15.0 / 16 * parameters * 4 / 50e9;
  EXPECT_NEAR(all.estimate.step_time.base() - shards.estimate.step_time.base(), longer, 1e-9);
  EXPECT_NEAR(all.timeline.makespan_s, all.estimate.step_time.base(), 1e-9);
}

// Eight layers of six tensors on 16 ranks: 768 copies, each started by the host, after whose last the step
// ends.
TEST(StepPlan, GatheredSharesAreCopiedOneByOne) {
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.zero = 1;
  SoftwareStack stack;
  const Result plain = run(model, plain_training(32), plan, layer_cost(), AlphaBeta(kAlpha, true), stack);
  stack.sharding.gather_copies_per_layer = 6;
  stack.host.per_gather_copy = microseconds(5);
  const Result copies = run(model, plain_training(32), plan, layer_cost(), AlphaBeta(kAlpha, true), stack);
  EXPECT_NEAR(copies.estimate.step_time.base() - plain.estimate.step_time.base(), 768 * 5e-6, 1e-9);
  EXPECT_NEAR(copies.timeline.makespan_s, copies.estimate.step_time.base(), 1e-9);
  plan.zero = 0;
  const Result whole = run(model, plain_training(32), plan, layer_cost(), AlphaBeta(kAlpha, true), stack);
  EXPECT_NEAR(whole.estimate.breakdown[static_cast<size_t>(BreakdownTerm::other)], 0.0, 1e-12);
}

// With overlap the reduction of all buckets but the last hides behind the backward of the layers before it.
TEST(StepPlan, OverlappedGradientsExposeOnlyTheLastBucket) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 2);
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.overlap.gradient = true;
  const double layer = layer_parameters_per_rank(model, plan);
  plan.bucket =
      layer / 2;  // bf16 transfer of half a layer: 15/16*2*.5*1.6e6*4/50e9 = 0.12 ms < 1 ms of backward
  const Result r = run(model, training, plan, layer_cost(), AlphaBeta(kAlpha, true));
  const double buckets = std::floor((layer * 8 + embedding_parameters_per_rank(model, training, plan) +
                                     head_parameters_per_rank(model, plan)) /
                                    plan.bucket);
  const double parameters = layer * 8 + embedding_parameters_per_rank(model, training, plan) +
                            head_parameters_per_rank(model, plan);
  const double bucket_s = kAlpha + 2.0 * 15 / 16 * parameters / buckets * 4 / 50e9;
  EXPECT_NEAR(r.estimate.step_time.base(), 2 * 8 * (kForward + kBackward) + bucket_s, 1e-9);
  EXPECT_NEAR(term(r.estimate, BreakdownTerm::data_comm_exposed), bucket_s, 1e-9);
  EXPECT_NEAR(r.timeline.makespan_s, r.estimate.step_time.base(), 1e-9);
}

// Megatron-core gathers parameters bucket by bucket behind the optimizer, too: a latency each, the same
// bytes.
TEST(StepPlan, ExposedGathersByBucketCostALatencyEach) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 2);
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.zero = 1;
  plan.bucket = layer_parameters_per_rank(model, plan) / 2;
  const double parameters = layer_parameters_per_rank(model, plan) * 8 +
                            embedding_parameters_per_rank(model, training, plan) +
                            head_parameters_per_rank(model, plan);
  const double buckets = std::floor(parameters / plan.bucket);
  for (const bool overlap : {false, true}) {
    plan.overlap.gradient = overlap;
    SoftwareStack stack;
    const AlphaBeta collectives(kAlpha, true);
    const Result at_once = run(model, training, plan, layer_cost(), collectives, stack);
    stack.sharding.gathers_by_bucket = true;
    const Result by_bucket = run(model, training, plan, layer_cost(), collectives, stack);
    // Gradients that are reduced in one bucket leave one to gather.
    const double more = overlap ? (buckets - 1) * kAlpha : 0.0;
    EXPECT_NEAR((by_bucket.estimate.step_time - at_once.estimate.step_time).base(), more, 1e-9);
    EXPECT_NEAR(by_bucket.timeline.makespan_s, by_bucket.estimate.step_time.base(), 1e-9);
  }
}

// A kernel beside a collective runs at 1 / (1 + s): hiding H seconds of it costs H s / (1 + s).
TEST(StepPlan, HiddenCommunicationSlowsTheKernelsBesideIt) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 2);
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.overlap.gradient = true;
  plan.bucket = layer_parameters_per_rank(model, plan) / 2;
  SoftwareStack stack;
  const AlphaBeta collectives(kAlpha, true);
  const Result without = run(model, training, plan, layer_cost(), collectives, stack);
  stack.overlap_slowdown = 0.25;
  const Result with = run(model, training, plan, layer_cost(), collectives, stack);
  const double parameters = layer_parameters_per_rank(model, plan) * 8 +
                            embedding_parameters_per_rank(model, training, plan) +
                            head_parameters_per_rank(model, plan);
  const double buckets = std::floor(parameters / plan.bucket);
  // All buckets but the last, which is reduced after the backward; below the 16 ms of backward.
  const double reduced = (buckets - 1) / buckets * (buckets * kAlpha + 2.0 * 15 / 16 * parameters * 4 / 50e9);
  EXPECT_NEAR(with.estimate.step_time.base() - without.estimate.step_time.base(), reduced * 0.2, 1e-9);
  EXPECT_NEAR(term(with.estimate, BreakdownTerm::backward) - term(without.estimate, BreakdownTerm::backward),
              reduced * 0.2, 1e-9);
  EXPECT_NEAR(with.timeline.makespan_s, with.estimate.step_time.base(), 1e-9);
}

// Chunks of a collective hide behind the product that they are interleaved with, never behind more than it.
TEST(StepPlan, ATensorCollectiveHidesBehindItsOwnProductOnly) {
  const ModelSpec model = plain_model(1);
  ParallelPlan plan = plain_plan(model, 8, 1, 1);
  plan.sequence = plan.overlap.tensor = true;
  SoftwareStack stack;
  stack.tensor_overlap_exposed = 0.25;
  const double gathered_for = 1e-3, reduced_after = 2e-3;
  const NamedCost cost(
      {{"qkv_projection", gathered_for}, {"output_projection", reduced_after}, {"mlp_up_projection", 1.0}});
  for (const double alpha : {0.1e-3, 10e-3}) {
    const StepPlan step =
        make_step_plan(model, plain_training(1), stack, plan, eight_gpu_nodes(8), cost, AlphaBeta(alpha));
    // 1024 tokens x 1024 x 2 B over 8 GPUs at 400 GB/s.
    const double each = alpha + 7.0 / 8 * 1024 * 1024 * 2 / 400e9;
    // The gather before QKV, the scatter after attention's product, the gather before the MLP's first product
    // (a whole second), and the scatter after its second, which takes no time.
    const double exposed = std::max(0.25 * each, each - gathered_for) +
                           std::max(0.25 * each, each - reduced_after) + 0.25 * each + each;
    const PartCost& layer = step.costs->kinds.front().layer;
    EXPECT_NEAR(layer.forward.by_term[static_cast<size_t>(BreakdownTerm::tensor_comm_exposed)], exposed,
                1e-12);
  }
}

// The memory-bound kernels of a layer move passes x tokens x hidden x 2 B: half the bandwidth doubles their
// time.
TEST(StepPlan, HalfTheMemoryBandwidthAddsTheTrafficOnceMore) {
  class Bandwidth : public NamedCost {
   public:
    explicit Bandwidth(double rate) : NamedCost({}), rate_(rate) {}
    KernelTime time(const Operator& op) const override {
      const bool residual = op.name.find("norm") != std::string_view::npos ||
                            op.name.find("residual") != std::string_view::npos;
      const auto* memory = std::get_if<MemoryShape>(&op.shape);
      if (memory == nullptr || !residual || op.name == "final_norm") return {};
      if (op.name.find("gradient_norm") != std::string_view::npos) return {};
      return {Seconds(memory->traffic.base() / rate_), 0.0, Evidence::measured};
    }

   private:
    double rate_;
  };
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(6);
  const ParallelPlan plan = plain_plan(model, 1, 1, 1);
  SoftwareStack stack;
  stack.forward_passes.hidden = 7;
  stack.backward_passes.hidden = 14;
  const double full = run(model, training, plan, Bandwidth(2e12), Free(), stack).estimate.step_time.base();
  const double half = run(model, training, plan, Bandwidth(1e12), Free(), stack).estimate.step_time.base();
  const double traffic =
      6.0 * 8 * (7 + 14) * 1024 * 1024 * 2;  // micro-batches x layers x passes x tokens x hidden x B
  EXPECT_NEAR(full, traffic / 2e12, 1e-12);
  EXPECT_NEAR(half - full, traffic / 2e12, 1e-12);
}

// GPipe runs its backwards from the last micro-batch to the first: gradients are complete with the first
// one's.
TEST(StepPlan, GpipeReducesItsGradientsAfterTheirLastBackward) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 4);
  double exposed[2];
  for (const bool gpipe : {false, true}) {
    ParallelPlan plan = plain_plan(model, 8, 2, 16);
    plan.schedule = gpipe ? ScheduleKind::gpipe : ScheduleKind::one_f_one_b;
    plan.overlap.gradient = true;
    plan.bucket = layer_parameters_per_rank(model, plan) / 2;
    const Result r = run(model, training, plan, layer_cost(), AlphaBeta(kAlpha, true));
    EXPECT_NEAR(r.timeline.makespan_s, r.estimate.step_time.base(), 1e-9);
    exposed[gpipe ? 1 : 0] = term(r.estimate, BreakdownTerm::data_comm_exposed);
  }
  EXPECT_GT(exposed[1], 0.0);
  EXPECT_NEAR(exposed[1], exposed[0], 1e-9);  // the last bucket of the same stage, under either schedule
}

// Turning overlap on with one bucket hides nothing and slows nothing.
TEST(StepPlan, OneBucketIsTheSameWithAndWithoutOverlap) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 4);
  SoftwareStack stack;
  stack.overlap_slowdown = 0.25;
  ParallelPlan plan = plain_plan(model, 8, 1, 16);
  plan.bucket = 1e12;
  const double off =
      run(model, training, plan, layer_cost(), AlphaBeta(kAlpha, true), stack).timeline.makespan_s;
  plan.overlap.gradient = true;
  const double on =
      run(model, training, plan, layer_cost(), AlphaBeta(kAlpha, true), stack).timeline.makespan_s;
  EXPECT_NEAR(on, off, 1e-12);
}

// Tensor groups of 6 on nodes of 8: every second one straddles two nodes and all wait for it.
TEST(StepPlan, AGroupThatStraddlesNodesSetsThePace) {
  ModelSpec model = plain_model(8);
  model.heads = model.kv_heads = 6;
  model.hidden = 768;
  model.ffn_hidden = 3072;
  model.vocab = 768;
  const TrainingSpec training = plain_training(4);
  const NamedCost nothing({});
  const ParallelPlan plan = plain_plan(model, 6, 1, 4);
  const ClusterShape cluster = eight_gpu_nodes(24);
  const StepPlan step =
      make_step_plan(model, training, SoftwareStack{}, plan, cluster, nothing, AlphaBeta(kAlpha, true));
  EXPECT_GT(step.costs->kinds.front().layer.forward.duration,
            Seconds(0));  // inside one node the collective would be free
}

// FSDP whose gathers are shorter than a layer: only the first gathers and the last reduction are exposed.
TEST(StepPlan, ShardedUnitsHideTheirGathersBehindTheLayerBefore) {
  const ModelSpec model = plain_model(8);
  const TrainingSpec training = plain_training(16 * 3);
  ParallelPlan plan = plain_plan(model, 1, 1, 16);
  plan.zero = 3;
  const Result r = run(model, training, plan, layer_cost(), AlphaBeta(kAlpha));
  const double compute = 3 * 8 * (kForward + kBackward);
  EXPECT_GT(r.estimate.step_time.base(), compute);
  // Root gather and first layer's gather before each micro-batch's first layer, last reductions at the end.
  const double rate = 50e9 * 8;  // eight ranks a node share eight NICs
  const double layer_gather = kAlpha + 15.0 / 16 * layer_parameters_per_rank(model, plan) * 2 / rate;
  const double root =
      embedding_parameters_per_rank(model, training, plan) + head_parameters_per_rank(model, plan);
  const double root_gather = kAlpha + 15.0 / 16 * root * 2 / rate;
  const double layer_reduce = kAlpha + 15.0 / 16 * layer_parameters_per_rank(model, plan) * 4 / rate;
  const double root_reduce = kAlpha + 15.0 / 16 * root * 4 / rate;
  // Micro-batch 0: root + layer 0 gather exposed; backward's first gather exposed (limiter: two alive);
  // between micro-batches the next gathers queue behind the last reductions.
  const double bound = 3 * (root_gather + 2 * layer_gather + layer_reduce + root_reduce);
  EXPECT_LE(r.estimate.step_time.base(), compute + bound * 1.0001);
  EXPECT_GE(r.estimate.step_time.base(), compute + root_gather + layer_gather);
  EXPECT_NEAR(r.timeline.makespan_s, r.estimate.step_time.base(), 1e-9 * r.timeline.makespan_s);
}

TEST(StepPlan, SlowestGpuFollowsTheExpectedMaximumOfNormals) {
  EXPECT_DOUBLE_EQ(slowest_of(1, 0.05), 1.0);
  // Expected maximum of 2 normals 1/sqrt(pi) = 0.5642, of 8: 1.4236 (Harter 1961, table 1); Blom is within 1
  // %.
  EXPECT_NEAR(slowest_of(2, 1.0) - 1.0, 0.5642, 0.03);
  EXPECT_NEAR(slowest_of(8, 1.0) - 1.0, 1.4236, 0.015);
  EXPECT_NEAR(slowest_of(100, 0.01) - 1.0, 0.025076, 0.00026);
}

TEST(StepPlan, BreakdownOfEstimateAndTimelineAgreeTermByTerm) {
  const ModelSpec model = plain_model(16);
  for (const int interleave : {1, 2}) {
    ParallelPlan plan = plain_plan(model, 2, 4, 8, interleave);
    plan.zero = 1;
    plan.overlap.gradient = true;
    plan.overlap.parameter = true;
    plan.bucket = 1e6;
    NamedCost cost({{"qkv_projection", kForward},
                    {"qkv_dgrad", kBackward},
                    {"logits", 3e-3},
                    {"optimizer_update", 1e-3}});
    const Result r = run(model, plain_training(8 * 64), plan, cost, AlphaBeta(kAlpha));
    const int rank = slowest_rank(r.graph, r.timeline);
    const Breakdown from_timeline = breakdown_of_rank(r.graph, r.timeline, rank);
    double total = 0;
    for (size_t t = 0; t < from_timeline.size(); ++t) {
      EXPECT_NEAR(from_timeline[t], r.estimate.breakdown[t], 2e-3 * r.timeline.makespan_s) << t;
      total += from_timeline[t];
    }
    EXPECT_NEAR(total, r.timeline.makespan_s, 1e-9 * total);
    EXPECT_NEAR(r.estimate.step_time.base(), r.timeline.makespan_s, 1e-3 * total);
  }
}

}  // namespace
}  // namespace orrery
