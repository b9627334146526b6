#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

TEST(StepFlops, EqualsTheFormulaOfSc21WithFullRecomputation) {
  // Narayanan et al. 2021, equation 3: F = 96 B s l h^2 (1 + s / (6 h) + V / (16 l h)).
  for (const auto& [layers, hidden, heads] : {std::tuple{24, 2304, 24}, {96, 12288, 96}, {128, 25600, 160}}) {
    TrainingSpec spec = training(2048, 1536);
    spec.recompute = Recompute::full;
    const double l = layers;
    const double h = hidden;
    const double formula = 96.0 * 1536 * 2048 * l * h * h * (1 + 2048 / (6 * h) + 51200 / (16 * l * h));
    EXPECT_NEAR(step_flops(gpt(layers, hidden, heads), spec, plan(8)).hardware.base() / formula, 1.0, 1e-12);
    // Without it 72 and, of the logits, still three products' worth: V / (12 l h).
    const double model = 72.0 * 1536 * 2048 * l * h * h * (1 + 2048 / (6 * h) + 51200 / (12 * l * h));
    EXPECT_NEAR(step_flops(gpt(layers, hidden, heads), spec, plan(8)).model.base() / model, 1.0, 1e-12);
  }
}

struct Published {
  const char* id;
  ModelSpec model;
  std::int64_t seq_length, global_batch;
  bool causal_convention;
  bool hardware;
  int gpus;
  double step_s, tflops;
  double tolerance;  ///< rounding of the published figure and, llm-foundry, its own 6 N estimate
};

ModelSpec with_vocab(ModelSpec model, std::int64_t vocab) {
  model.vocab = vocab;
  return model;
}

TEST(StepFlops, GivesThePublishedTeraflops) {
  // Measured step times and the TFLOP/s a GPU that the same source publishes: runs.jsonl of the project, by
  // id.
  const std::vector<Published> rows = {
      {"sc21-a100-1.7b-32g", gpt(24, 2304, 24), 2048, 512, false, true, 32, 3.528, 137, 1e-4},
      {"sc21-a100-39b-512g", gpt(48, 8192, 64), 2048, 1536, false, true, 512, 14.4535, 138, 1e-4},
      {"sc21-a100-76b-1024g", gpt(60, 10240, 80), 2048, 1792, false, true, 1024, 16.0578, 140, 1e-4},
      {"bloom-196b-n48-tp8pp12dp4-mb2-gbs2048-h13824-l84-nh64-ln632", with_vocab(gpt(84, 13824, 64), 250880),
       2048, 2048, false, true, 384, 143.89, 121.45, 1e-4},
      {"nemo-2024-08-21-gpt3-175b-pretrain-512g-2048", gpt3_175b(), 2048, 2048, false, false, 512, 9.84615,
       895, 1e-3},
      {"nemo-2024-08-21-llama3-70b-pretrain-64g-128", with_vocab(llama3_70b(), 128512), 8192, 128, false,
       false, 64, 10.57715, 746, 1e-3},
      {"nemo-2024-09-09-llama3-8b-pretrain-8g-128", llama3(32, 4096, 32, 14336), 8192, 128, false, false, 8,
       10.6797, 711, 1e-3},
      {"mbridge-26.02-llama3_70b-gb300-64g-mxfp8-gbs256-pt", llama3_70b(), 8192, 256, true, false, 64,
       7.12968, 2064, 1e-3},
      {"mbridge-26.04-llama3.1_405b-gb300-256g-mxfp8-gbs1536-pt", llama3(126, 16384, 128, 53248), 8192, 1536,
       true, false, 256, 50.77686, 2443, 1e-3},
      {"foundry-mpt-30b-s2048-512g-h100-80gb-bf16-mb8-fuac", with_vocab(gpt(48, 7168, 56), 50368), 2048, 4096,
       false, false, 512, 7.74657, 398, 2e-3},
  };
  for (const Published& row : rows) {
    TrainingSpec spec = training(row.seq_length, row.global_batch);
    spec.flops_convention = row.causal_convention ? FlopsConvention::causal : FlopsConvention::full;
    if (row.hardware) spec.recompute = Recompute::full;
    const StepFlops flops = step_flops(row.model, spec, plan(1));
    const double tflops = (row.hardware ? flops.hardware : flops.model).base() / row.gpus / row.step_s / 1e12;
    EXPECT_NEAR(tflops / row.tflops, 1.0, row.tolerance) << row.id;
  }
}

TEST(StepFlops, SelectiveRecomputationAddsTheAttentionCore) {
  TrainingSpec spec = training(2048, 8);
  spec.recompute = Recompute::selective;
  const StepFlops flops = step_flops(gpt3_175b(), spec, plan(1));
  // 4 s^2 h a layer and sequence.
  EXPECT_NEAR((flops.hardware - flops.model).base() / (8.0 * 96 * 4 * 2048 * 2048 * 12288), 1.0, 1e-9);
}

TEST(StepFlops, OnlyTheNamedNumberOfLayersOfEachStageRecomputes) {
  TrainingSpec spec = training(2048, 8);
  spec.recompute = Recompute::full;
  ParallelPlan stages = plan(1);
  stages.pipeline = 3;
  stages.stage_layers = {40, 40, 16};
  const auto added = [&](int layers) {
    spec.recompute_layers = layers;
    const StepFlops flops = step_flops(gpt3_175b(), spec, stages);
    return (flops.hardware - flops.model).base();
  };
  EXPECT_EQ(added(0), 0.0);
  EXPECT_NEAR(added(20) / added(-1), 56.0 / 96.0, 1e-12);  // 20 + 20 + 16
}

TEST(LayerRanges, RecomputedLayersAreDealtOverTheVirtualStagesOfAStage) {
  // Stage 0 holds the virtual stages of 7 and 1 layers, stage 1 those of 4 and 4. Of 6: the short one has
  // room for one, the other takes five; of two alike each takes three.
  TrainingSpec spec = training(4096, 4);
  spec.recompute_layers = 6;
  ParallelPlan interleaved = plan(1);
  interleaved.pipeline = 2;
  interleaved.interleave = 2;
  interleaved.schedule = ScheduleKind::interleaved;
  interleaved.stage_layers = {7, 4, 1, 4};
  std::vector<int> recomputed;
  for (const LayerRange& range : layers_by_virtual_stage(spec, interleaved)) {
    recomputed.push_back(range.recomputed);
  }
  EXPECT_EQ(recomputed, (std::vector<int>{5, 3, 1, 3}));
}

TEST(StepFlops, HardwareCountsTheRowsThatExpertsWorkOn) {
  // Two layers of 8 experts, top 2, 3 x 4096 x 14336 weights each: 2 FLOPs a weight and copy of a token,
  // forward and twice that backward, and once more where they recompute. A quarter of the rows is left.
  ModelSpec model = llama3(2, 4096, 32, 14336);
  MoeSpec& moe = model.moe.emplace();
  moe.experts = 8;
  moe.top_k = 2;
  moe.ffn_hidden = 14336;
  TrainingSpec spec = training(4096, 4);
  ParallelPlan degrees = plan(1);
  degrees.stage_layers = {2};
  const double experts = 2.0 * 4 * 4096 * 2 * 2 * (3.0 * 4096 * 14336);
  const StepFlops all = step_flops(model, spec, degrees);
  const StepFlops quarter = step_flops(model, spec, degrees, 1, 0.25);
  EXPECT_EQ(quarter.model, all.model);
  EXPECT_NEAR((all.hardware - quarter.hardware).base() / (3 * 0.75 * experts), 1.0, 1e-12);
  spec.recompute = Recompute::full;
  const StepFlops again = step_flops(model, spec, degrees, 1, 0.25);
  EXPECT_NEAR((step_flops(model, spec, degrees).hardware - again.hardware).base() / (4 * 0.75 * experts), 1.0,
              1e-12);
}

TEST(LayerFlops, TensorRanksTogetherDoThePublishedForward) {
  SoftwareStack unfused = stack();
  unfused.attention_kernel = AttentionKernel::unfused;
  for (const int tensor : {1, 2, 4, 8}) {
    const LayerWork work = transformer_layer_work(gpt3_175b(), training(2048, 8, 2), unfused, plan(tensor));
    // 24 b s h^2 (1 + s / (6 h)), Narayanan et al. 2021, appendix A.
    const double published = 24.0 * 2 * 2048 * 12288.0 * 12288.0 * (1 + 2048.0 / (6 * 12288.0));
    EXPECT_NEAR(gemm_flops(work.forward) * tensor / published, 1.0, 1e-12);
    EXPECT_NEAR(work.model_flops_forward.base() / published, 1.0, 1e-12);
    EXPECT_NEAR(gemm_flops(work.backward) / gemm_flops(work.forward), 2.0, 1e-12);
  }
}

TEST(LayerFlops, GatedMlpHasThreeProducts) {
  const LayerWork work = transformer_layer_work(llama3_70b(), training(8192, 8), stack(), plan(4, true));
  const double projections = 2.0 * 8192 * 8192 * (8192.0 + 2 * 1024 + 8192);
  const double mlp = 3 * 2.0 * 8192 * 8192 * 28672;
  EXPECT_NEAR(gemm_flops(work.forward) * 4 / (projections + mlp), 1.0, 1e-12);
  EXPECT_NEAR(gemm_flops(work.backward) / gemm_flops(work.forward), 2.0, 1e-12);
}

TEST(Parameters, OneRankHoldsTheModelAndRanksShareItsMatrices) {
  for (const ModelSpec& model : {gpt3_175b(), llama3_70b()}) {
    EXPECT_DOUBLE_EQ(layer_parameters_per_rank(model, plan(1)), layer_parameters(model));
    EXPECT_DOUBLE_EQ(embedding_parameters_per_rank(model, training(2048, 8), plan(1)),
                     embedding_parameters(model, 2048));
    EXPECT_DOUBLE_EQ(head_parameters_per_rank(model, plan(1)), head_parameters(model));
  }
  // Llama 3 70B at tensor 4: norms on every rank.
  const double matrices = 8192.0 * (2560 + 2048 + 14336 + 7168);
  EXPECT_DOUBLE_EQ(layer_parameters_per_rank(llama3_70b(), plan(4)), matrices + 2 * 8192);
}

TEST(Parameters, TiedEmbeddingsStandOnBothEndsOfAPipeline) {
  ParallelPlan stages = plan(8);
  stages.pipeline = 4;
  EXPECT_DOUBLE_EQ(head_parameters_per_rank(gpt3_175b(), plan(8)), 2 * 12288);
  EXPECT_DOUBLE_EQ(head_parameters_per_rank(gpt3_175b(), stages), 2 * 12288 + 51200.0 / 8 * 12288);
}

}  // namespace
}  // namespace orrery
