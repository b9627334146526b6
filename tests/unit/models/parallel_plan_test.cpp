#include "models/parallel_plan.hpp"

#include <gtest/gtest.h>

#include "models/layer_shapes.hpp"
#include "tests/unit/models/reading.hpp"

namespace orrery {
namespace {

/// 32 layers, hidden 4096, 32 heads, 8 key-value heads, ffn 14336, vocab 128256 given.
ModelSpec small_model(int layers = 32) {
  return reading::model(R"({"preset": "llama3-8b", "vocab": 128256, "layers": )" + std::to_string(layers) +
                        "}")
      .spec;
}

TrainingSpec batches(std::int64_t global, std::int64_t micro = 1, std::int64_t length = 8192) {
  TrainingSpec training;
  training.seq_length = length;
  training.global_batch = global;
  training.micro_batch = micro;
  return training;
}

ParallelPlan accepted(const std::string& text, const ModelSpec& model, const TrainingSpec& training, int gpus,
                      const SoftwareStack& stack = {}) {
  const auto outcome = reading::plan(text, model, training, gpus, stack);
  EXPECT_EQ(outcome.lines, std::vector<std::string>{}) << text;
  return outcome.spec;
}

TEST(ParallelPlan, DerivesDataAndDefaults) {
  const ParallelPlan plan = accepted(R"({"tensor": 4, "pipeline": 2})", small_model(), batches(64), 64);
  EXPECT_EQ(plan.data, 8);
  EXPECT_EQ(plan.gpus(), 64);
  EXPECT_EQ(plan.schedule, ScheduleKind::one_f_one_b);
  EXPECT_EQ(plan.shard_group, 8);
  EXPECT_EQ(plan.stage_layers, (std::vector<int>{16, 16}));
  EXPECT_EQ(plan.micro_batches(batches(64)), 8);
  EXPECT_EQ(accepted("{}", small_model(), batches(8), 1).data, 1);
}

TEST(ParallelPlan, OverlapComesFromTheStackUnlessGiven) {
  SoftwareStack stack;
  stack.overlap_gradient = stack.overlap_parameter = stack.overlap_pipeline = true;
  const ParallelPlan plain = accepted(R"({"pipeline": 2, "zero": 1})", small_model(), batches(8), 8, stack);
  EXPECT_TRUE(plain.overlap.gradient);
  EXPECT_TRUE(plain.overlap.parameter);
  EXPECT_FALSE(plain.overlap.pipeline);  // only under an interleaved schedule
  EXPECT_FALSE(accepted(R"({"zero": 0})", small_model(), batches(8), 8, stack).overlap.parameter);
  EXPECT_TRUE(
      accepted(R"({"pipeline": 2, "interleave": 2})", small_model(), batches(8), 8, stack).overlap.pipeline);
  EXPECT_FALSE(
      accepted(R"({"overlap": {"gradient": false}})", small_model(), batches(8), 8, stack).overlap.gradient);
}

TEST(ParallelPlan, AcceptsWhatIsFoundInTheWild) {
  EXPECT_EQ(accepted(R"({"pipeline": 8})", small_model(), batches(4), 8).data,
            1);  // fewer micro-batches than stages
  EXPECT_EQ(accepted(R"({"tensor": 16})", small_model(), batches(4), 16).tensor,
            16);  // replicated key-value heads
  const ParallelPlan placed = accepted(
      R"({"tensor": 2, "placement": ["data", "expert", "tensor", "context", "pipeline"], "expert": 1})",
      small_model(), batches(4), 4);
  EXPECT_EQ(placed.placement, (std::vector<std::string>{"data", "expert", "tensor", "context", "pipeline"}));
  EXPECT_EQ(accepted(R"({"zero": 2, "pipeline": 2})", small_model(), batches(8), 8).zero, 2);
  EXPECT_EQ(accepted(R"({"zero": 3, "shard_group": 4})", small_model(), batches(8), 8).shard_group, 4);
}

TEST(StageLayers, TheFormsOfTheContract) {
  const std::string head_only = R"({"pipeline": 4, "stage_layers": [11, 11, 10, 0]})";
  EXPECT_EQ(accepted(head_only, small_model(), batches(8), 4).stage_layers,
            (std::vector<int>{11, 11, 10, 0}));
  // Llama-3 405B, pipeline 4, interleave 8, 62 layers as [15, 16, 16, 15]: 2 on each virtual stage but 1 on
  // the first of stage 0 and on the last of the last stage.
  const ParallelPlan dealt = accepted(R"({"pipeline": 4, "interleave": 8, "stage_layers": [15, 16, 16, 15]})",
                                      small_model(62), batches(8), 4);
  std::vector<int> expected(32, 2);
  expected.front() = expected.back() = 1;
  EXPECT_EQ(dealt.stage_layers, expected);
  // pipeline x interleave numbers in model order: number c * pipeline + s is chunk c of stage s.
  EXPECT_EQ(accepted(R"({"pipeline": 2, "interleave": 2, "stage_layers": [7, 8, 8, 9]})", small_model(),
                     batches(4), 2)
                .stage_layers,
            (std::vector<int>{7, 8, 8, 9}));
  // [32, 29] on 2 x 8: 4 on each but 1 on the last.
  std::vector<int> deep(16, 4);
  deep.back() = 1;
  EXPECT_EQ(accepted(R"({"pipeline": 2, "interleave": 8, "stage_layers": [32, 29]})", small_model(61),
                     batches(4), 2)
                .stage_layers,
            deep);
}

TEST(StageLayers, AnUnevenDealIsShortAtTheEnds) {
  // 126 = 14 x 8 + 2 x 7: the layout that Llama-3 405B's recipes give for 16 stages.
  std::vector<int> expected(16, 8);
  expected.front() = expected.back() = 7;
  EXPECT_EQ(accepted(R"({"pipeline": 16})", small_model(126), batches(16), 16).stage_layers, expected);
  EXPECT_EQ(accepted(R"({"pipeline": 4})", small_model(7), batches(4), 4).stage_layers,
            (std::vector<int>{2, 2, 2, 1}));
}

TEST(StageLayers, AStackMayCountTheEmbeddingAsALayer) {
  SoftwareStack stack;
  stack.embedding_as_layer = true;
  // BLOOM's tuning runs (partition type:transformer|embedding): 106 layers on 12 stages as 8, 9 x 10, 8; 100
  // on 6 as 16, 17 x 4, 16.
  std::vector<int> bloom(12, 9);
  bloom.front() = bloom.back() = 8;
  EXPECT_EQ(accepted(R"({"pipeline": 12})", small_model(106), batches(12), 12, stack).stage_layers, bloom);
  EXPECT_EQ(accepted(R"({"pipeline": 6})", small_model(100), batches(12), 6, stack).stage_layers,
            (std::vector<int>{16, 17, 17, 17, 17, 16}));
  // What divides evenly stays even: 84 layers on 12 stages ran as 7 each.
  EXPECT_EQ(accepted(R"({"pipeline": 12})", small_model(84), batches(12), 12, stack).stage_layers,
            std::vector<int>(12, 7));
}

TEST(StageLayers, EveryDealHoldsEveryLayerOnce) {
  for (int layers = 1; layers <= 40; ++layers) {
    for (const int pipeline : {1, 2, 3, 4, 8}) {
      for (const int interleave : {1, 2, 3}) {
        for (const bool embedding : {false, true}) {
          if (pipeline * interleave > layers || (pipeline == 1 && interleave > 1)) continue;
          SoftwareStack stack;
          stack.embedding_as_layer = embedding;
          const std::string text = R"({"pipeline": )" + std::to_string(pipeline) + R"(, "interleave": )" +
                                   std::to_string(interleave) + "}";
          const ParallelPlan plan = accepted(text, small_model(layers), batches(pipeline), pipeline, stack);
          int sum = 0;
          for (const int held : plan.stage_layers) {
            EXPECT_GE(held, 0);
            sum += held;
          }
          EXPECT_EQ(sum, layers) << text;
        }
      }
    }
  }
}

TEST(ParallelPlan, RefusesWithWholeLines) {
  struct Case {
    std::string text;
    int gpus;
    TrainingSpec training;
    std::vector<std::string> lines;
  };
  const std::string file = "experiment.json: ";
  const std::string at = file + "/parallel";
  const std::vector<Case> cases = {
      {R"({"tensor": 8, "pipeline": 4, "data": 3})",
       64,
       batches(64),
       {file + "plan needs 96 GPUs (tensor 8 x pipeline 4 x data 3), cluster has 64; data 2 would fit"}},
      {R"({"tensor": 8, "pipeline": 4, "context": 2})",
       96,
       batches(64),
       {file + "plan needs a multiple of 64 GPUs (tensor 8 x pipeline 4 x context 2), cluster has 96"}},
      {R"({"tensor": 8, "pipeline": 4, "context": 2, "data": 2})",
       96,
       batches(64),
       {file + "plan needs 128 GPUs (tensor 8 x pipeline 4 x context 2 x data 2), cluster has 96"}},
      {R"({"tensor": 8})",
       64,
       batches(20),
       {file +
        "/training/global_batch: found 20, expected a multiple of 8 (micro_batch 1 x data 8), such as 16 or "
        "24"}},
      {R"({"tensor": 8})",
       64,
       batches(4, 8),
       {file +
        "/training/global_batch: found 4, expected a multiple of 64 (micro_batch 8 x data 8), such as 64"}},
      {R"({"pipeline": 4, "interleave": 2})",
       8,
       batches(20),
       {file + "/training/global_batch: found 20, expected a multiple of 8 (micro_batch 1 x data 2 x "
               "pipeline 4) under "
               "the interleaved schedule, such as 16 or 24"}},
      {R"({"tensor": 3})",
       3,
       batches(8),
       {at + "/tensor: found 3, expected a divisor of heads 32, such as 2",
        at + "/tensor: found 3, expected a divisor of hidden 4096, such as 2",
        at + "/tensor: found 3, expected a divisor of ffn_hidden 14336, such as 2",
        at + "/tensor: found 3, expected a divisor or a multiple of kv_heads 8, such as 2"}},
      {R"({"context": 3})",
       3,
       batches(8),
       {at + "/context: found 3, expected twice it to divide seq_length 8192 (causal load balance)"}},
      {R"({"context": 4, "context_method": "ring"})",
       4,
       batches(8, 1, 4100),
       {at + "/context: found 4, expected twice it to divide seq_length 4100 (causal load balance)"}},
      {R"({"context": 64, "context_method": "ulysses"})",
       64,
       batches(8),
       {at + "/context: found 64, expected heads 32 to be a multiple of tensor 1 x context under ulysses"}},
      {R"({"tensor": 8, "sequence": true})",
       8,
       batches(8, 1, 1020),
       {at +
        "/tensor: found 8, expected a divisor of the 1020 tokens of a sequence under sequence parallelism"}},
      {R"({"interleave": 2})", 8, batches(8), {at + "/interleave: found 2, expected 1 with pipeline 1"}},
      {R"({"pipeline": 4, "interleave": 2, "schedule": "1f1b"})",
       4,
       batches(8),
       {at + "/schedule: found \"1f1b\", expected \"interleaved\" with interleave 2"}},
      {R"({"pipeline": 4, "schedule": "interleaved"})",
       4,
       batches(8),
       {at + "/schedule: found \"interleaved\", expected \"gpipe\" or \"1f1b\" with interleave 1"}},
      {R"({"schedule": "zero_bubble_h1"})",
       4,
       batches(8),
       {at + "/pipeline: found 1, expected at least 2 with schedule \"zero_bubble_h1\" (1f1b runs with 1)"}},
      {R"({"pipeline": 4, "interleave": 2, "schedule": "zero_bubble_h1"})",
       4,
       batches(8),
       {at + "/schedule: found \"zero_bubble_h1\", expected \"interleaved\" with interleave 2"}},
      {R"({"pipeline": 4, "interleave": 3, "schedule": "zero_bubble_v"})",
       4,
       batches(8),
       {at + "/interleave: found 3, expected 2 (or none) with schedule \"zero_bubble_v\""}},
      {R"({"pipeline": 4, "interleave": 1, "schedule": "zero_bubble_v"})",
       4,
       batches(8),
       {at + "/interleave: found 1, expected 2 (or none) with schedule \"zero_bubble_v\""}},
      {R"({"pipeline": 4, "interleave": 2, "schedule": "dualpipe"})",
       4,
       batches(8),
       {at + "/schedule: found \"dualpipe\", expected \"interleaved\" with interleave 2"}},
      {R"({"pipeline": 5, "schedule": "dualpipe"})",
       5,
       batches(20),
       {at + "/pipeline: found 5, expected an even number with schedule \"dualpipe\", such as 4 or 6"}},
      {R"({"pipeline": 4, "schedule": "dualpipe"})",
       8,
       batches(14),
       {file +
        "/training/global_batch: found 14, expected an even number of micro-batches, at least 8 (2 x "
        "pipeline), under schedule \"dualpipe\": a multiple of 4 (2 x micro_batch 1 x data 2) from 16, "
        "such as 16"}},
      {R"({"pipeline": 4, "schedule": "dualpipe", "zero": 2})",
       4,
       batches(8),
       {at + "/zero: found 2, expected 0 or 1 with schedule \"dualpipe\": reducing gradients in every "
             "micro-batch would take its pairs apart"}},
      {R"({"pipeline": 4, "zero": 3})",
       4,
       batches(8),
       {at + "/zero: found 3, expected 0, 1 or 2 with pipeline 4"}},
      {R"({"zero": 3, "bucket": 1000000})",
       4,
       batches(8),
       {at + "/bucket: is of no effect with zero 3, which gathers and reduces layer by layer"}},
      {R"({"zero": 3, "overlap": {"gradient": false, "parameter": false}})",
       4,
       batches(8),
       {at + "/overlap/gradient: is always true with zero 3, which prefetches and reduces beside compute",
        at + "/overlap/parameter: is always true with zero 3, which prefetches and reduces beside compute"}},
      {R"({"overlap": {"parameter": true}})",
       4,
       batches(8),
       {at + "/overlap/parameter: is only legal with zero 1 to 3: without, no parameter is gathered"}},
      {R"({"zero": 4})", 4, batches(8), {at + "/zero: found 4, expected an integer in [0, 3]"}},
      {R"({"zero": 1, "shard_group": 3})",
       8,
       batches(8),
       {at + "/shard_group: found 3, expected a divisor of data x context = 8"}},
      {R"({"shard_group": 4})", 8, batches(8), {at + "/shard_group: is only legal with zero 1 to 3"}},
      {R"({"expert": 2})",
       8,
       batches(8),
       {at + "/expert: is only legal above 1 with a mixture of experts (model.moe)"}},
      {R"({"overlap": {"expert": true}})",
       8,
       batches(8),
       {at + "/overlap/expert: is only legal with a mixture of experts (model.moe)"}},
      {R"({"placement": ["tensor", "tensor", "data", "pipeline"]})",
       8,
       batches(8),
       {at +
        "/placement: expected each of tensor, context, data, pipeline once (and expert where it applies)"}},
      {R"({"pipeline": 4, "stage_layers": [8, 8, 16]})",
       4,
       batches(8),
       {at + "/stage_layers: found a list of 3, expected 4 numbers (pipeline)"}},
      {R"({"pipeline": 4, "interleave": 2, "stage_layers": [8, 8, 16]})",
       4,
       batches(8),
       {at + "/stage_layers: found a list of 3, expected 4 numbers (pipeline) or 8 (pipeline x interleave)"}},
      {R"({"pipeline": 4, "stage_layers": [8, 8, 8, 9]})",
       4,
       batches(8),
       {at + "/stage_layers: found a sum of 33, expected a sum of 32 (the model's layers)"}},
      {R"({"pipeline": 16, "interleave": 4})",
       16,
       batches(16),
       {at + ": pipeline 16 x interleave 4 has more virtual stages than the model has layers (32); "
             "stage_layers can "
             "leave some without"}},
      {R"({"tensor_paralel": 8, "pipeline": 3.7})",
       8,
       batches(8),
       {at + "/tensor_paralel: found an unknown key, expected one of tensor, pipeline, context, expert, "
             "expert_tensor, "
             "data, sequence, interleave, schedule, stage_layers, context_method, zero, shard_group, "
             "overlap, bucket, "
             "placement",
        at + "/pipeline: found 3.7, expected an integer in [1, 1048576]"}},
      {R"({"bucket": 0})", 8, batches(8), {at + "/bucket: found 0, expected a number above 0"}},
  };
  for (const Case& refused : cases) {
    EXPECT_EQ(reading::plan(refused.text, small_model(), refused.training, refused.gpus).lines, refused.lines)
        << refused.text;
  }
}

// torchtitan keeps parameters gathered under a pipeline; DeepSpeed refuses ZeRO 2 and 3 there.
TEST(ParallelPlan, TheStackSaysWhichZeroRunsWithAPipeline) {
  SoftwareStack stack;
  stack.name = "some-stack";
  const char* three = R"({"pipeline": 4, "zero": 3})";
  EXPECT_EQ(
      reading::plan(three, small_model(), batches(8), 4, stack).lines,
      (std::vector<std::string>{
          "experiment.json: /parallel/zero: found 3, expected 0, 1 or 2 with pipeline 4 under some-stack"}));
  stack.sharding.most_zero_with_pipeline = 3;
  const auto read = reading::plan(three, small_model(), batches(8), 4, stack);
  EXPECT_EQ(read.lines, std::vector<std::string>{});
  EXPECT_TRUE(read.spec.overlap.gradient &&
              read.spec.overlap.parameter);  // ZeRO 3 always does, whatever the stack's
  stack.sharding.most_zero_with_pipeline = 1;
  EXPECT_EQ(
      reading::plan(R"({"pipeline": 4, "zero": 2})", small_model(), batches(8), 4, stack).lines,
      (std::vector<std::string>{
          "experiment.json: /parallel/zero: found 2, expected 0 or 1 with pipeline 4 under some-stack"}));
}

// nanotron accumulates in fp32 without DistributedDataParallel under ZeRO: nothing reduces beside the
// backward.
TEST(ParallelPlan, WithoutHooksZeroOneDoesNotOverlap) {
  SoftwareStack stack;
  stack.sharding.hooks = false;
  const auto overlaps = [&](const char* plan) {
    const auto read = reading::plan(plan, small_model(), batches(8), 4, stack);
    EXPECT_EQ(read.lines, std::vector<std::string>{});
    return read.spec.overlap.gradient;
  };
  EXPECT_FALSE(overlaps(R"({"zero": 1, "overlap": {"gradient": true}})"));
  EXPECT_TRUE(overlaps(R"({"zero": 0, "overlap": {"gradient": true}})"));
  stack.sharding.hooks = true;
  EXPECT_TRUE(overlaps(R"({"zero": 1, "overlap": {"gradient": true}})"));
}

TEST(ParallelPlan, ZeroBubbleVAndDualPipePlaceTheirStages) {
  // ZB-V: 2 x pipeline virtual stages in model order, interleave 2 understood. A stage's total is dealt to
  // its chunk on the way down and the one on the way up; stage 0 has the embedding and the head.
  const ParallelPlan v = accepted(R"({"pipeline": 2, "schedule": "zero_bubble_v", "stage_layers": [15, 17]})",
                                  small_model(), batches(3), 2);
  EXPECT_EQ(v.interleave, 2);
  EXPECT_EQ(v.stage_layers, (std::vector<int>{8, 9, 8, 7}));
  EXPECT_EQ(layers_of_stage(v, 0), 15);
  EXPECT_EQ(layers_of_stage(v, 1), 17);
  EXPECT_EQ(accepted(R"({"pipeline": 2, "interleave": 2, "schedule": "zero_bubble_v"})", small_model(),
                     batches(3), 2)
                .stage_layers,
            (std::vector<int>{8, 8, 8, 8}));
  // DualPipe: `pipeline` stages, each on two ranks: rank 0 holds the first and the last.
  const ParallelPlan dual =
      accepted(R"({"pipeline": 4, "schedule": "dualpipe", "stage_layers": [9, 9, 8, 6]})", small_model(),
               batches(8), 4);
  EXPECT_EQ(dual.interleave, 1);
  EXPECT_EQ(dual.stage_layers, (std::vector<int>{9, 9, 8, 6}));
  EXPECT_EQ(layers_of_stage(dual, 0), 15);
  EXPECT_EQ(layers_of_stage(dual, 1), 17);
  EXPECT_EQ(layers_of_stage(dual, 3), 15);
}

TEST(ParallelPlan, RefusesMoreRecomputedLayersThanAStageHas) {
  TrainingSpec training = batches(8);
  training.recompute = Recompute::full;
  training.recompute_layers = 8;
  EXPECT_EQ(reading::plan(R"({"pipeline": 4})", small_model(), training, 4).lines,
            std::vector<std::string>{});
  training.recompute_layers = 9;
  EXPECT_EQ(reading::plan(R"({"pipeline": 4})", small_model(), training, 4).lines,
            (std::vector<std::string>{
                "experiment.json: /training/recompute/layers: found 9, expected at most 8, the "
                "layers of the largest stage"}));
}

TEST(ParallelPlan, ReportsIndependentProblemsTogether) {
  const std::vector<std::string> lines =
      reading::plan(R"({"tensor": 3, "zero": 3, "pipeline": 2})", small_model(), batches(7, 2), 12).lines;
  EXPECT_EQ(lines.size(), 6U);  // the batch, heads, hidden, ffn_hidden, kv_heads, zero
}

/// A model of 8 experts, two of them for a token, with a shared expert of width 96.
ModelSpec expert_model() {
  ModelSpec model = small_model();
  MoeSpec& moe = model.moe.emplace();
  moe.experts = 8;
  moe.top_k = 2;
  moe.ffn_hidden = 4096;
  moe.shared_experts = 1;
  moe.shared_ffn_hidden = 96;
  return model;
}

SoftwareStack expert_stack() {
  SoftwareStack stack;
  stack.name = "a stack";
  stack.date = {2025, 3};
  stack.moe.described = true;
  stack.moe.overlaps_micro_batches = true;
  return stack;
}

TEST(ExpertPlan, TakesItsRanksFromTensorContextAndData) {
  const ParallelPlan plan = accepted(R"({"tensor": 2, "sequence": true, "expert": 4, "expert_tensor": 2})",
                                     expert_model(), batches(8), 16, expert_stack());
  EXPECT_EQ(plan.data, 8);
  EXPECT_EQ(plan.expert_data(), 2);
  EXPECT_EQ(plan.placement, (std::vector<std::string>{"tensor", "context", "expert", "data", "pipeline"}));
  const ParallelPlan plain = accepted("{}", expert_model(), batches(8), 8, expert_stack());
  EXPECT_EQ(plain.expert, 1);
  EXPECT_EQ(plain.expert_tensor, 1);
}

TEST(ExpertPlan, SaysWhatIsNotLegalAndWhatIs) {
  const std::string at = "experiment.json: /parallel";
  const std::vector<reading::Refusal> cases = {
      {R"({"expert": 3})",
       {at + "/expert: found 3, expected a divisor of the model's 8 experts and of the 16 GPUs of a stage, "
             "such as 2"}},
      {R"({"expert": 8, "expert_tensor": 4})",
       {at + "/expert: found 8, expected a divisor of the model's 8 experts and of the 16 GPUs of a stage "
             "over expert_tensor 4, such as 4"}},
      {R"({"expert_tensor": 3})",
       {at + "/expert_tensor: found 3, expected a divisor of the 16 GPUs of a stage and of the experts' "
             "ffn_hidden 4096, such as 2"}},
      {R"({"tensor": 2})",
       {at + "/sequence: found false, expected true with tensor 2 and a mixture of experts"}},
      {R"({"zero": 1, "expert": 8, "shard_group": 4})",
       {at + "/shard_group: found 4, expected data x context / shard_group = 4 to divide the 2 ranks that "
             "hold the same experts, such as 16"}},
      {R"({"overlap": {"expert": true}})",
       {at + "/overlap/expert: found true, expected false with expert 1: nothing is exchanged"}},
      {R"({"expert": 2, "pipeline": 2, "overlap": {"expert": true}})",
       {at + "/overlap/expert: found true, expected false, or an interleaved schedule with pipeline 2: 1F1B "
             "leaves no independent micro-batch beside it"}},
  };
  for (const reading::Refusal& refused : cases) {
    EXPECT_EQ(reading::plan(refused.text, expert_model(), batches(16), 16, expert_stack()).lines,
              refused.lines)
        << refused.text;
  }
}

TEST(ExpertPlan, NeedsAStackThatHasMixturesOfExpertsAndTheDispatcher) {
  SoftwareStack stack = expert_stack();
  stack.moe.overlaps_micro_batches = false;
  EXPECT_EQ(
      reading::plan(R"({"expert": 2, "overlap": {"expert": true}})", expert_model(), batches(8), 8, stack)
          .lines,
      (std::vector<std::string>{
          "experiment.json: /parallel/overlap/expert: found true, expected false: software \"a stack\" of "
          "2025-03 does not run exchanges of experts beside another micro-batch's compute"}));
  stack.moe_dispatcher = MoeDispatcher::hybridep;
  stack.moe.dispatchers = {MoeDispatcher::all_to_all, MoeDispatcher::deepep};
  EXPECT_EQ(reading::plan("{}", expert_model(), batches(8), 8, stack).lines,
            (std::vector<std::string>{
                "experiment.json: /software/moe_dispatcher: found \"hybridep\", expected one of all_to_all, "
                "deepep: what \"a stack\" had in 2025-03"}));
  stack.moe.described = false;
  EXPECT_EQ(reading::plan("{}", expert_model(), batches(8), 8, stack).lines,
            (std::vector<std::string>{"experiment.json: /software: found \"a stack\", expected a stack whose "
                                      "mixture-of-experts layers are described (\"moe\" in its preset, or "
                                      "beside it)"}));
}

}  // namespace
}  // namespace orrery
