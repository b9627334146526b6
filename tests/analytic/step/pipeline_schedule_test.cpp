// Zero-bubble and DualPipe schedules through the whole chain: plan, estimate, step graph, contention-free
// engine.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "models/estimate.hpp"
#include "models/lowering.hpp"
#include "models/memory.hpp"
#include "sim/engine/engine.hpp"
#include "tests/analytic/step/step_fixture.hpp"

namespace orrery {
namespace {

constexpr double kLayer = 1e-3;  // a layer

class FreeNetwork : public AlphaBeta {
 public:
  FreeNetwork() : AlphaBeta(0.0) {}
  CollectiveTime time(CollectiveOp, Bytes, const GroupShape&) const override { return {}; }
};

NamedCost pass_costs(double forward, double input_gradient, double weight_gradient) {
  return NamedCost(
      {{"qkv_projection", forward}, {"qkv_dgrad", input_gradient}, {"qkv_wgrad", weight_gradient}});
}

ParallelPlan plan_of(ScheduleKind schedule, const ModelSpec& model, int tensor, int pipeline, int data) {
  ParallelPlan plan =
      plain_plan(model, tensor, pipeline, data, schedule == ScheduleKind::zero_bubble_v ? 2 : 1);
  plan.schedule = schedule;
  return plan;
}

struct Ran {
  StepPlan plan;
  StepEstimate estimate;
  WorkloadGraph graph;
  StepTimeline timeline;
};

Ran ran(const ModelSpec& model, const TrainingSpec& training, const ParallelPlan& parallel,
        const CostModel& cost, const CollectiveModel& collectives, const SoftwareStack& stack = {}) {
  Ran result;
  result.plan =
      make_step_plan(model, training, stack, parallel, eight_gpu_nodes(parallel.gpus()), cost, collectives);
  result.estimate = estimate_step(result.plan);
  result.graph = lower(result.plan, Scope::folded);
  result.timeline = run_contention_free(result.graph);
  return result;
}

double bubble_of(const Ran& step) {
  return step.estimate.breakdown[static_cast<size_t>(BreakdownTerm::pipeline_bubble)];
}

/// The bubble in seconds, in the estimate's step, its breakdown and the engine's timeline. 1e-9 s: round-off
/// of sums of milliseconds.
void expect_bubble(const Ran& step, double ideal, double bubble, const std::string& what) {
  EXPECT_NEAR(step.estimate.step_time.base(), ideal + bubble, 1e-9) << what;
  EXPECT_NEAR(step.timeline.makespan_s, ideal + bubble, 1e-9) << what;
  EXPECT_NEAR(bubble_of(step), bubble, 1e-9) << what;
}

// Qi et al. 2023 (arXiv 2401.10241), section 2.3.1: (p-1)(T_F + T_B - T_W), T of a stage of 48 / p layers.
TEST(PipelineSchedule, ZeroBubbleH1LeavesThePapersBubble) {
  const ModelSpec model = plain_model(48);
  for (const int pipeline : {2, 4, 8}) {
    for (const int micro_batches : {pipeline, 3 * pipeline + 1, 96}) {
      const double layers = 48.0 / pipeline;
      const Ran step = ran(model, plain_training(micro_batches),
                           plan_of(ScheduleKind::zero_bubble_h1, model, 1, pipeline, 1),
                           pass_costs(kLayer, 1.25 * kLayer, 0.75 * kLayer), FreeNetwork());
      expect_bubble(step, micro_batches * 3.0 * kLayer * layers, (pipeline - 1) * 1.5 * kLayer * layers,
                    std::to_string(pipeline) + " stages, " + std::to_string(micro_batches));
    }
  }
}

// The same, section 6: nobody idles between first and last pass when T_F = T_B = T_W; a step that all begin
// together has the way of the first micro-batch to the last stage, p - 1 forwards of half a stage.
TEST(PipelineSchedule, ZeroBubbleVLeavesTheWayDown) {
  const ModelSpec model = plain_model(48);
  for (const int pipeline : {2, 4, 8}) {
    for (const int micro_batches : {2 * pipeline - 1, 3 * pipeline + 1, 97}) {
      const double layers = 48.0 / pipeline;
      const Ran step = ran(model, plain_training(micro_batches),
                           plan_of(ScheduleKind::zero_bubble_v, model, 1, pipeline, 1),
                           pass_costs(kLayer, kLayer, kLayer), FreeNetwork());
      expect_bubble(step, micro_batches * 3.0 * kLayer * layers, (pipeline - 1) * kLayer * layers / 2,
                    std::to_string(pipeline) + " stages, " + std::to_string(micro_batches));
    }
  }
}

// DeepSeek-V3 (arXiv 2412.19437), table 2: (PP/2 - 1)(F&B + B - 3W), F&B = F + B where communication is free.
TEST(PipelineSchedule, DualPipeLeavesTheTablesBubble) {
  const ModelSpec model = plain_model(48);
  for (const int pipeline : {2, 4, 8}) {
    for (const int micro_batches : {2 * pipeline, 2 * pipeline + 2, 98}) {
      const double layers = 48.0 / pipeline;
      const Ran step =
          ran(model, plain_training(micro_batches), plan_of(ScheduleKind::dualpipe, model, 1, pipeline, 1),
              pass_costs(kLayer, kLayer, 0.5 * kLayer), FreeNetwork());
      const double f = kLayer * layers;
      expect_bubble(step, micro_batches * 2.5 * f, (pipeline / 2.0 - 1) * (2.5 * f + 1.5 * f - 3 * 0.5 * f),
                    std::to_string(pipeline) + " stages, " + std::to_string(micro_batches));
    }
  }
}

// Unequal stages, sends that take time, optimizer, overlapped reductions: the estimate of a long step is two
// short ones extrapolated, the engine runs them all.
TEST(PipelineSchedule, LongStepsAreExtrapolatedRightly) {
  const ModelSpec model = plain_model(16);
  const NamedCost cost({{"qkv_projection", kLayer},
                        {"qkv_dgrad", 1.2 * kLayer},
                        {"qkv_wgrad", 0.9 * kLayer},
                        {"logits", 2e-3},
                        {"logits_dgrad", 2e-3},
                        {"logits_wgrad", 2e-3},
                        {"optimizer_update", 1e-3}});
  for (const ScheduleKind schedule :
       {ScheduleKind::gpipe, ScheduleKind::one_f_one_b, ScheduleKind::zero_bubble_h1,
        ScheduleKind::zero_bubble_v, ScheduleKind::dualpipe}) {
    for (const int micro_batches : {8, 10, 30, 34, 66, 98}) {
      for (const bool overlap : {false, true}) {
        ParallelPlan plan = plan_of(schedule, model, 2, 4, 4);
        plan.zero = 1;
        plan.overlap.gradient = plan.overlap.parameter = plan.overlap.pipeline = overlap;
        plan.bucket = 2e6;
        SoftwareStack stack;
        stack.overlap_slowdown = 0.2;
        stack.pipeline_overlap_exposed = 0.1;
        const Ran step = ran(model, plain_training(4 * micro_batches), plan, cost, AlphaBeta(10e-6), stack);
        const std::string what = "schedule " + std::to_string(static_cast<int>(schedule)) + ", " +
                                 std::to_string(micro_batches) + (overlap ? ", overlapped" : "");
        // Round-off, or where reductions slow kernels the engine's split of a stretch at their starts and
        // ends.
        EXPECT_NEAR(step.estimate.step_time.base() / step.timeline.makespan_s, 1.0, overlap ? 1e-4 : 1e-9)
            << what;
        const Breakdown terms =
            breakdown_of_rank(step.graph, step.timeline, slowest_rank(step.graph, step.timeline));
        double total = 0;
        for (size_t t = 0; t < terms.size(); ++t) {
          total += terms[t];
          EXPECT_NEAR(terms[t], step.estimate.breakdown[t], 5e-3 * step.timeline.makespan_s)
              << what << ", " << t;
        }
        EXPECT_NEAR(total, step.timeline.makespan_s, 1e-9 * total) << what;
      }
    }
  }
}

// What an overlapped send leaves exposed holds up its sender while the send is on its way, not the receiver:
// a micro-batch alone crosses the pipeline as fast as ever, and a send that is exposed whole is one that
// blocks.
TEST(PipelineSchedule, TheExposedShareOfASendDelaysItsSenderAlone) {
  const ModelSpec model = plain_model(16);
  const NamedCost cost = pass_costs(kLayer, 1.2 * kLayer, 0.9 * kLayer);
  const auto step_time = [&](const ParallelPlan& plan, int micro_batches, double exposed) {
    SoftwareStack stack;
    stack.pipeline_overlap_exposed = exposed;
    const Ran step = ran(model, plain_training(micro_batches), plan, cost, AlphaBeta(300e-6), stack);
    EXPECT_NEAR(step.estimate.step_time.base() / step.timeline.makespan_s, 1.0, 1e-9);
    return step.estimate.step_time.base();
  };
  for (const int interleave : {1, 2}) {
    ParallelPlan blocking = plain_plan(model, 1, 4, 1, interleave);
    ParallelPlan overlapped = blocking;
    overlapped.overlap.pipeline = true;
    EXPECT_NEAR(step_time(overlapped, 12, 1.0), step_time(blocking, 12, 1.0), 1e-12) << interleave;
    const double hidden = step_time(overlapped, 12, 0.0);
    const double half = step_time(overlapped, 12, 0.5);
    EXPECT_LT(hidden, half) << interleave;
    EXPECT_LT(half, step_time(overlapped, 12, 1.0)) << interleave;
  }
  // 3.1 ms a layer; three sends of 300 us and 1024 tokens x 1024 x 2 B over 400 GB/s each way.
  ParallelPlan alone = plain_plan(model, 1, 4, 1);
  alone.overlap.pipeline = true;
  const double crossing = 16 * 3.1 * kLayer + 6 * (300e-6 + 1024.0 * 1024 * 2 / 400e9);
  for (const double exposed : {0.0, 0.5, 1.0}) EXPECT_NEAR(step_time(alone, 1, exposed), crossing, 1e-9);
}

// Beyond what is walked whole: two schedules at 1,200 micro-batches, equal stages but for a heavier head.
TEST(PipelineSchedule, StepsBeyondTheWalkAreLinearInTheirMicroBatches) {
  const ModelSpec model = plain_model(16);
  const NamedCost cost(
      {{"qkv_projection", kLayer}, {"qkv_dgrad", kLayer}, {"qkv_wgrad", kLayer}, {"logits", 2e-3}});
  for (const ScheduleKind schedule :
       {ScheduleKind::zero_bubble_h1, ScheduleKind::zero_bubble_v, ScheduleKind::dualpipe}) {
    const Ran step =
        ran(model, plain_training(1202), plan_of(schedule, model, 2, 4, 1), cost, AlphaBeta(10e-6));
    EXPECT_NEAR(step.estimate.step_time.base() / step.timeline.makespan_s, 1.0, 1e-6)
        << static_cast<int>(schedule);
  }
}

// The two parts of a split backward are the whole one when nothing is communicated.
TEST(PipelineSchedule, InputAndWeightGradientsAddUpToTheBackward) {
  const ModelSpec model = plain_model(8);
  SoftwareStack stack;
  stack.host.per_layer_backward = Seconds(9e-3);  // longer than the kernels: launched in proportion
  for (const bool hosted : {false, true}) {
    const Ran step =
        ran(model, plain_training(8), plan_of(ScheduleKind::zero_bubble_h1, model, 1, 2, 1),
            pass_costs(kLayer, 1.5 * kLayer, 0.5 * kLayer), FreeNetwork(), hosted ? stack : SoftwareStack{});
    const PartCost& layer = step.plan.costs->kinds.front().layer;
    EXPECT_NEAR((layer.input_gradient.duration + layer.weight_gradient.duration).base(),
                layer.backward.duration.base(), 1e-12);
    if (!hosted) {
      EXPECT_NEAR(layer.weight_gradient.duration.base(), 0.5 * kLayer, 1e-12);
    }
  }
}

// With tensor parallelism the reduction of the input's gradient ran beside the weight gradient's product,
// which now comes later: it is exposed. Sequence parallelism gathers the products' inputs in the weight pass.
TEST(PipelineSchedule, ASplitBackwardHidesNoTensorCollective) {
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plan_of(ScheduleKind::zero_bubble_h1, model, 8, 2, 1);
  plan.sequence = true;
  SoftwareStack stack;
  stack.async_tensor_backward = true;
  const AlphaBeta collectives(10e-6);
  const Ran step =
      ran(model, plain_training(8), plan, pass_costs(kLayer, kLayer, kLayer), collectives, stack);
  // 1024 tokens x 1024 x 2 B gathered or scattered over 8 GPUs at 400 GB/s.
  const double each = 10e-6 + 7.0 / 8 * 1024 * 1024 * 2 / 400e9;
  const auto tensor = static_cast<size_t>(BreakdownTerm::tensor_comm_exposed);
  const PartCost& layer = step.plan.costs->kinds.front().layer;
  // Input gradients: gathers of the two output gradients, scatters of the two input gradients.
  EXPECT_NEAR(layer.input_gradient.by_term[tensor], 4 * each, 1e-12);
  EXPECT_NEAR(layer.weight_gradient.by_term[tensor], 2 * each, 1e-12);
  EXPECT_LT(layer.backward.by_term[tensor], 5 * each);
}

// Where products are persistent kernels, some blocks of the one that starts beside a collective find no SM
// before either ends: the product ends after itself and the shorter of both, and hides what is longer.
TEST(PipelineSchedule, APersistentProductWaitsForTheCollectiveBesideIt) {
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plan_of(ScheduleKind::one_f_one_b, model, 8, 1, 1);
  plan.sequence = true;
  SoftwareStack stack;
  stack.async_tensor_backward = true;
  const double each = 10e-6 + 7.0 / 8 * 1024 * 1024 * 2 / 400e9;
  // Times of the two products that stand beside a gather and a reduction, in times of one of those; what each
  // of the two then exposes. Four more of the layer's backward stand beside nothing that takes time.
  struct Case {
    double product, plain, persistent;
  };
  for (const Case& c : {Case{0.25, 0.75, 0.75}, Case{0.75, 0.25, 0.75}, Case{1.5, 0.0, 1.0}}) {
    for (const bool persistent : {false, true}) {
      DeviceSpec device;
      device.persistent_products = persistent;
      const NamedCost cost({{"qkv_dgrad", c.product * each}, {"qkv_wgrad", c.product * each}}, device);
      const Ran step = ran(model, plain_training(1), plan, cost, AlphaBeta(10e-6), stack);
      const PartCost& layer = step.plan.costs->kinds.front().layer;
      EXPECT_NEAR(layer.backward.by_term[static_cast<size_t>(BreakdownTerm::tensor_comm_exposed)],
                  (4 + 2 * (persistent ? c.persistent : c.plain)) * each, 1e-12)
          << c.product << ' ' << persistent;
    }
  }
}

// Userbuffers hold few SMs: what they hide stays hidden.
TEST(PipelineSchedule, UserbuffersKeepNoPersistentProductWaiting) {
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plan_of(ScheduleKind::one_f_one_b, model, 8, 1, 1);
  plan.sequence = plan.overlap.tensor = true;
  SoftwareStack stack;
  stack.async_tensor_backward = true;
  stack.tensor_overlap_exposed = 0.25;
  const auto exposed = [&](bool persistent) {
    DeviceSpec device;
    device.persistent_products = persistent;
    const NamedCost cost({{"qkv_dgrad", 1e-3}, {"qkv_wgrad", 1e-3}}, device);
    const Ran step = ran(model, plain_training(1), plan, cost, AlphaBeta(10e-6), stack);
    return step.plan.costs->kinds.front()
        .layer.backward.by_term[static_cast<size_t>(BreakdownTerm::tensor_comm_exposed)];
  };
  EXPECT_EQ(exposed(true), exposed(false));
}

// Gradients are complete with the weight gradients, not with the input's: one bucket over 2 nodes starts
// after the last weight gradient of its stage.
TEST(PipelineSchedule, ReductionsFollowTheWeightGradients) {
  const ModelSpec model = plain_model(8);
  ParallelPlan plan = plan_of(ScheduleKind::zero_bubble_h1, model, 8, 2, 2);
  plan.overlap.gradient = true;
  plan.bucket = 1e12;
  const double alone = 10e-3;
  const Ran step =
      ran(model, plain_training(2 * 8), plan, pass_costs(kLayer, kLayer, kLayer), AlphaBeta(alone, true));
  const double compute = 8 * 3.0 * kLayer * 4 + 1 * kLayer * 4;  // with the bubble (p-1)(F + B - W)
  EXPECT_GT(step.estimate.step_time.base(), compute + alone);
  EXPECT_NEAR(step.timeline.makespan_s, step.estimate.step_time.base(), 1e-9);
}

// DeepSeek-V3, table 2: two copies of the parameters, PP + 1 micro-batches of one stage in flight; 1F1B's
// first stage holds PP.
TEST(PipelineSchedule, DualPipeHoldsParametersTwiceAndOneMicroBatchMore) {
  const ModelSpec model = plain_model(16);
  const TrainingSpec training = plain_training(16);
  const SoftwareStack stack;
  const auto use = [&](ScheduleKind schedule) {
    return memory_use(model, training, stack, plan_of(schedule, model, 1, 4, 1), Bytes(0));
  };
  const MemoryUse plain = use(ScheduleKind::one_f_one_b);
  const MemoryUse dual = use(ScheduleKind::dualpipe);
  // A middle rank has two stages of four layers and neither end.
  const double layer = layer_parameters_per_rank(model, plan_of(ScheduleKind::dualpipe, model, 1, 4, 1));
  const double kept =
      layer_activation_bytes(model, training, stack, plan_of(ScheduleKind::dualpipe, model, 1, 4, 1), false)
          .base();
  // bf16 weights, fp32 gradients, master weights and two states: 18 B a parameter.
  const double difference = dual.per_stage_peak[1].base() - plain.per_stage_peak[1].base();
  EXPECT_NEAR(difference, 4 * layer * 18 + (5 - 3) * 4 * kept, 1.0);
}

TEST(PipelineSchedule, ZeroBubbleSchedulesHoldWhatOneForwardOneBackwardsFirstStageHolds) {
  const ModelSpec model = plain_model(16);
  const TrainingSpec training = plain_training(16);
  const SoftwareStack stack;
  const auto use = [&](ScheduleKind schedule) {
    return memory_use(model, training, stack, plan_of(schedule, model, 1, 4, 1), Bytes(0));
  };
  const double kept = layer_activation_bytes(model, training, stack,
                                             plan_of(ScheduleKind::one_f_one_b, model, 1, 4, 1), false)
                          .base();
  const MemoryUse plain = use(ScheduleKind::one_f_one_b);
  const MemoryUse h1 = use(ScheduleKind::zero_bubble_h1);
  const MemoryUse v = use(ScheduleKind::zero_bubble_v);
  EXPECT_NEAR(h1.per_stage_peak[0].base(), plain.per_stage_peak[0].base(), 1.0);
  EXPECT_NEAR(h1.per_stage_peak[2].base() - plain.per_stage_peak[2].base(), (4 - 2) * 4 * kept, 1.0);
  EXPECT_NEAR(v.per_stage_peak[1].base(), h1.per_stage_peak[1].base(), 1.0);
  EXPECT_NEAR(v.per_stage_peak[2].base(), h1.per_stage_peak[2].base(), 1.0);
  // What is recomputed stays for the weight gradients: never more than without, and the last stage, whose
  // backwards follow at once, saves nothing.
  TrainingSpec recomputing = training;
  recomputing.recompute = Recompute::full;
  const MemoryUse again =
      memory_use(model, recomputing, stack, plan_of(ScheduleKind::zero_bubble_h1, model, 1, 4, 1), Bytes(0));
  for (size_t stage = 0; stage < 4; ++stage) {
    EXPECT_LE(again.per_stage_peak[stage], h1.per_stage_peak[stage]) << stage;
  }
  EXPECT_NEAR(again.per_stage_peak[3].base(), h1.per_stage_peak[3].base(), 1.0);
}

// Stages without layers, in chunks and in a V: the engine and the estimate run the same.
TEST(PipelineSchedule, StagesMayHoldNoLayer) {
  const ModelSpec model = plain_model(16);
  const NamedCost cost(
      {{"qkv_projection", kLayer}, {"qkv_dgrad", kLayer}, {"qkv_wgrad", kLayer}, {"logits", 3e-3}});
  struct Case {
    ScheduleKind schedule;
    std::vector<int> layers;
  };
  for (const Case& c : {Case{ScheduleKind::one_f_one_b, {6, 5, 5, 0}},
                        Case{ScheduleKind::interleaved, {0, 3, 3, 3, 2, 3, 2, 0}},
                        Case{ScheduleKind::zero_bubble_h1, {6, 6, 4, 0}},
                        Case{ScheduleKind::zero_bubble_v, {1, 3, 3, 3, 2, 2, 2, 0}},
                        Case{ScheduleKind::dualpipe, {5, 6, 5, 0}}}) {
    for (const int micro_batches : {8, 12, 80}) {
      ParallelPlan plan = plan_of(c.schedule, model, 2, 4, 2);
      plan.interleave = static_cast<int>(c.layers.size()) / 4;
      plan.stage_layers = c.layers;
      plan.zero = 1;
      plan.overlap.gradient = plan.overlap.parameter = true;
      const Ran step = ran(model, plain_training(2 * micro_batches), plan, cost, AlphaBeta(10e-6));
      EXPECT_NEAR(step.estimate.step_time.base(), step.timeline.makespan_s, 1e-9 * step.timeline.makespan_s)
          << static_cast<int>(c.schedule) << ", " << micro_batches;
      // Every layer runs for every micro-batch: all ranks' forwards together are 16 layers and the head.
      double forwards = 0;
      for (int stage = 0; stage < 4; ++stage) {
        forwards +=
            breakdown_of_rank(step.graph, step.timeline, stage)[static_cast<size_t>(BreakdownTerm::forward)];
      }
      EXPECT_NEAR(forwards, micro_batches * (16 * kLayer + 3e-3), 1e-9 * micro_batches);
    }
  }
}

// Both ends of a V stand on stage 0, which shares a tied embedding instead of exchanging its gradients.
TEST(PipelineSchedule, AVSharesTiedEmbeddings) {
  ModelSpec model = plain_model(16);
  model.tied_embeddings = true;
  const NamedCost nothing({});
  const auto plan = [&](ScheduleKind schedule) {
    return make_step_plan(model, plain_training(16), {}, plan_of(schedule, model, 1, 4, 1),
                          eight_gpu_nodes(4), nothing, AlphaBeta(1e-6));
  };
  EXPECT_TRUE(plan(ScheduleKind::zero_bubble_h1).tied_embedding_reduce.exists());
  EXPECT_FALSE(plan(ScheduleKind::zero_bubble_v).tied_embedding_reduce.exists());
  EXPECT_FALSE(plan(ScheduleKind::dualpipe).tied_embedding_reduce.exists());
  EXPECT_EQ(plan(ScheduleKind::dualpipe).copies_reduce.size(), 2u);
  EXPECT_NEAR(plan(ScheduleKind::zero_bubble_h1).costs->head_parameters -
                  plan(ScheduleKind::zero_bubble_v).costs->head_parameters,
              1024.0 * 1024, 0.5);
}

}  // namespace
}  // namespace orrery
