#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "layer_fixtures.hpp"
#include "models/optimizer_step.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

struct Expected {
  std::string_view name;
  std::int64_t m, n, k;
};

void expect_product(const LayerPass& pass, const Expected& expected) {
  const auto found = shapes_named<GemmShape>(pass, expected.name);
  ASSERT_EQ(found.size(), 1U) << expected.name;
  EXPECT_EQ(found[0].m, expected.m) << expected.name;
  EXPECT_EQ(found[0].n, expected.n) << expected.name;
  EXPECT_EQ(found[0].k, expected.k) << expected.name;
  EXPECT_EQ(found[0].batch, 1) << expected.name;
}

TEST(LayerShapes, Gpt3At175BillionOnEightTensorRanks) {
  const LayerWork work = transformer_layer_work(gpt3_175b(), training(2048, 1536), stack(), plan(8));
  // 12 heads of 128 a rank: 3 x 12 x 128 = 4608 QKV columns, 1536 attention columns; 49152 / 8 = 6144 MLP
  // columns.
  for (const Expected& e : {Expected{"qkv_projection", 2048, 4608, 12288},
                            {"output_projection", 2048, 12288, 1536},
                            {"mlp_up_projection", 2048, 6144, 12288},
                            {"mlp_down_projection", 2048, 12288, 6144}}) {
    expect_product(work.forward, e);
  }
  for (const Expected& e : {Expected{"mlp_down_dgrad", 2048, 6144, 12288},
                            {"mlp_down_wgrad", 12288, 6144, 2048},
                            {"mlp_up_dgrad", 2048, 12288, 6144},
                            {"mlp_up_wgrad", 6144, 12288, 2048},
                            {"output_dgrad", 2048, 1536, 12288},
                            {"output_wgrad", 12288, 1536, 2048},
                            {"qkv_dgrad", 2048, 12288, 4608},
                            {"qkv_wgrad", 4608, 12288, 2048}}) {
    expect_product(work.backward, e);
  }
  const auto attention = shapes_named<AttentionShape>(work.forward, "attention_core");
  ASSERT_EQ(attention.size(), 1U);
  EXPECT_EQ(attention[0].seq_q, 2048);
  EXPECT_EQ(attention[0].seq_kv, 2048);
  EXPECT_EQ(attention[0].heads, 12);
  EXPECT_EQ(attention[0].kv_heads, 12);
  EXPECT_TRUE(attention[0].causal);
}

TEST(LayerShapes, Llama70BillionGroupedQueriesOnFourTensorRanks) {
  const LayerWork work = transformer_layer_work(llama3_70b(), training(8192, 128), stack(), plan(4, true));
  // 16 query and 2 key heads of 128 a rank: (16 + 2 x 2) x 128 = 2560; gate and up: 2 x 28672 / 4 = 14336.
  for (const Expected& e : {Expected{"qkv_projection", 8192, 2560, 8192},
                            {"output_projection", 8192, 8192, 2048},
                            {"mlp_up_projection", 8192, 14336, 8192},
                            {"mlp_down_projection", 8192, 8192, 7168}}) {
    expect_product(work.forward, e);
  }
  EXPECT_EQ(shapes_named<AttentionShape>(work.backward, "attention_core").at(0).kv_heads, 2);
}

TEST(LayerShapes, KeyHeadsAreReplicatedBeyondTheirNumber) {
  const LayerWork work = transformer_layer_work(llama3_70b(), training(8192, 128), stack(), plan(16));
  // 4 query heads and one (shared) key head a rank.
  expect_product(work.forward, {"qkv_projection", 8192, (4 + 2) * 128, 8192});
}

TEST(LayerShapes, UnfusedAttentionIsTwoProductsForwardAndFourBackwardWithoutMask) {
  SoftwareStack software = stack();
  software.attention_kernel = AttentionKernel::unfused;
  const LayerWork work = transformer_layer_work(gpt3_175b(), training(2048, 1536), software, plan(8));
  const auto scores = shapes_named<GemmShape>(work.forward, "attention_scores");
  const auto values = shapes_named<GemmShape>(work.forward, "attention_values");
  ASSERT_EQ(scores.size(), 1U);
  ASSERT_EQ(values.size(), 1U);
  EXPECT_EQ(scores[0].batch, 12);
  EXPECT_EQ(scores[0].m, 2048);
  EXPECT_EQ(scores[0].n, 2048);
  EXPECT_EQ(scores[0].k, 128);
  EXPECT_EQ(values[0].n, 128);
  EXPECT_EQ(values[0].k, 2048);
  int attention_products = 0;
  double flops = 0;
  for (const Operator& op : operators_of(work.backward)) {
    const auto* gemm = std::get_if<GemmShape>(&op.shape);
    if (gemm == nullptr || !op.name.starts_with("attention_")) continue;
    ++attention_products;
    flops += gemm->flops().base();
  }
  EXPECT_EQ(attention_products, 4);
  EXPECT_DOUBLE_EQ(flops, 4 * 2.0 * 12 * 2048 * 2048 * 128);
  // 4.5 passes over 12 x 2048^2 scores of 2 bytes.
  EXPECT_DOUBLE_EQ(shapes_named<MemoryShape>(work.forward, "attention_softmax").at(0).traffic.base(),
                   4.5 * 12 * 2048.0 * 2048.0 * 2);
  EXPECT_TRUE(shapes_named<AttentionShape>(work.forward, "attention_core").empty());
}

TEST(LayerShapes, ElementWiseTrafficIsThePassesOfTheStack) {
  const double token_bytes = 8192.0 * 8192 * 2;
  for (const bool sequence : {false, true}) {
    const LayerWork work =
        transformer_layer_work(llama3_70b(), training(8192, 128), stack(), plan(4, sequence));
    const double hidden = sequence ? token_bytes / 4 : token_bytes;
    const double sharded = token_bytes / 4;
    const double ffn = 8192.0 * 28672 * 2 / 4;
    // Gated and with rotary positions: 64 + 8 heads of 128 are rotated, 18 and 16 heads on each of four
    // ranks.
    const double rope = 8192.0 * (64 + 8) / 4 * 128 * 2;
    EXPECT_NEAR(memory_traffic(work.forward) / (7 * hidden + 2 * sharded + 4 * ffn + 2 * rope), 1.0, 1e-12);
    EXPECT_NEAR(memory_traffic(work.backward) / (14 * hidden + 2 * sharded + 6 * ffn + 2 * rope), 1.0, 1e-12);
  }
}

TEST(LayerShapes, QuantisedProductsHaveTheirCastsApartAndTheRestStaysBf16) {
  TrainingSpec spec = training(8192, 128);
  spec.precision = Precision::fp8;
  const LayerWork work = transformer_layer_work(llama3_70b(), spec, stack(), plan(4, true));
  const LayerWork plain = transformer_layer_work(llama3_70b(), training(8192, 128), stack(), plan(4, true));
  const GemmShape qkv = shapes_named<GemmShape>(work.forward, "qkv_projection").at(0);
  EXPECT_EQ(qkv.precision, Precision::fp8);
  EXPECT_FALSE(qkv.quantized_inputs);
  EXPECT_EQ(qkv.output_bytes, 2);
  EXPECT_EQ(shapes_named<AttentionShape>(work.forward, "attention_core").at(0).precision, Precision::bf16);
  const double quarter = 8192.0 * 8192 * 2 / 4;
  const double ffn = 8192.0 * 28672 * 2 / 4;
  EXPECT_NEAR(memory_traffic(work.forward) - memory_traffic(plain.forward), 3.5 * quarter + 1.5 * ffn, 1.0);
  EXPECT_NEAR(memory_traffic(work.backward) - memory_traffic(plain.backward), 9 * quarter + 3 * ffn, 1.0);
  const LayerWork head = head_work(llama3_70b(), spec, stack(), plan(4, true));
  EXPECT_EQ(shapes_named<GemmShape>(head.forward, "logits").at(0).precision, Precision::bf16);
}

TEST(LayerShapes, WeightGradientsAccumulateInsideOrOutsideTheProduct) {
  TrainingSpec spec = training(2048, 1536);
  SoftwareStack software = stack();
  const auto output_bytes = [&] {
    const LayerWork work = transformer_layer_work(gpt3_175b(), spec, software, plan(8));
    return shapes_named<GemmShape>(work.backward, "qkv_wgrad").at(0).output_bytes;
  };
  EXPECT_EQ(output_bytes(), 8);  // fp32: 4 read + 4 written
  spec.gradient_dtype = GradientDtype::bf16;
  EXPECT_EQ(output_bytes(), 4);
  software.fused_gradient_accumulation = false;
  EXPECT_EQ(output_bytes(), 2);
  const LayerWork work = transformer_layer_work(gpt3_175b(), spec, software, plan(8));
  double accumulated = 0;
  for (const MemoryShape& pass : shapes_named<MemoryShape>(work.backward, "gradient_accumulation")) {
    accumulated += pass.traffic.base();
  }
  // 12 h^2 / 8 weights of the layer's products, 10 bytes each.
  EXPECT_DOUBLE_EQ(accumulated, 10.0 * 12 * 12288 * 12288 / 8);
}

TEST(LayerShapes, LaunchesAddUpToTheStacks) {
  for (const auto kernel : {AttentionKernel::flash2, AttentionKernel::unfused}) {
    SoftwareStack software = stack();
    software.attention_kernel = kernel;
    const LayerWork work = transformer_layer_work(gpt3_175b(), training(2048, 1536), software, plan(8));
    EXPECT_EQ(work.forward.launches, 20);
    EXPECT_EQ(work.backward.launches, 37);
    for (const Operator& op : operators_of(work.forward)) {
      const auto* memory = std::get_if<MemoryShape>(&op.shape);
      EXPECT_TRUE(memory == nullptr || memory->launches >= 1) << op.name;
    }
  }
}

TEST(LayerShapes, FullRecomputationAddsExactlyOneForward) {
  TrainingSpec spec = training(2048, 1536);
  spec.recompute = Recompute::full;
  const LayerWork work = transformer_layer_work(gpt3_175b(), spec, stack(), plan(8, true));
  EXPECT_EQ(work.recompute.items.size(), work.forward.items.size());
  EXPECT_EQ(work.recompute.launches, work.forward.launches);
  EXPECT_EQ(gemm_flops(work.recompute), gemm_flops(work.forward));
  EXPECT_EQ(memory_traffic(work.recompute), memory_traffic(work.forward));
  EXPECT_EQ(communications_of(work.recompute).size(), communications_of(work.forward).size());
  const LayerWork rest = transformer_layer_work_without_recompute(gpt3_175b(), spec, stack(), plan(8, true));
  EXPECT_TRUE(rest.recompute.items.empty());
  EXPECT_EQ(rest.backward.items.size(), work.backward.items.size());
}

// GPT-3's layer: 24 b s h^2 + 4 b s^2 h FLOPs forward, of which 8 b s h^2 in the product that is not
// repeated.
TEST(LayerShapes, EarlyStopLeavesTheLastProductOut) {
  TrainingSpec spec = training(2048, 1536);
  spec.recompute = Recompute::full;
  SoftwareStack software = stack();
  software.recompute_stops_early = true;
  const LayerWork work = transformer_layer_work(gpt3_175b(), spec, software, plan(8));
  const double tokens = 2048.0 * static_cast<double>(spec.micro_batch);
  EXPECT_DOUBLE_EQ(gemm_flops(work.forward) - gemm_flops(work.recompute),
                   8.0 * tokens * 12288.0 * 12288.0 / 8.0);
  // One all-reduce of the two is left, that of attention's output; the residual sum goes too.
  EXPECT_EQ(communications_of(work.forward).size(), 2U);
  EXPECT_EQ(communications_of(work.recompute).size(), 1U);
  EXPECT_EQ(operators_of(work.recompute).back().name, "activation");
  software.recompute_stops_early = false;
  const LayerWork whole = transformer_layer_work(gpt3_175b(), spec, software, plan(8));
  EXPECT_EQ(whole.recompute.items.size(), whole.forward.items.size());
}

TEST(LayerShapes, SelectiveRecomputationRunsTheNamedModules) {
  TrainingSpec spec = training(2048, 1536);
  spec.recompute = Recompute::selective;
  const auto names = [&](const SoftwareStack& software) {
    std::vector<std::string_view> found;
    const LayerWork work = transformer_layer_work(gpt3_175b(), spec, software, plan(8));
    for (const Operator& op : operators_of(work.recompute)) found.push_back(op.name);
    return found;
  };
  using Names = std::vector<std::string_view>;
  EXPECT_EQ(names(stack()), Names({"attention_core"}));  // core_attn is what selective means alone
  SoftwareStack unfused = stack();
  unfused.attention_kernel = AttentionKernel::unfused;
  EXPECT_EQ(names(unfused), Names({"attention_scores", "attention_softmax", "attention_values"}));
  spec.recompute_modules = {"mlp"};
  EXPECT_EQ(names(stack()), Names({"mlp_up_projection", "activation", "mlp_down_projection"}));
  spec.recompute_modules = {"layernorm"};
  EXPECT_EQ(names(stack()), Names({"input_norm", "mlp_norm"}));
}

TEST(LayerShapes, HeadPadsAPresetsVocabularyToTheTensorRanks) {
  ModelSpec model = gpt3_175b();
  model.vocab = 50257;
  SoftwareStack software = stack();
  software.vocab_multiple = 128;
  const auto columns = [&] {
    return shapes_named<GemmShape>(head_work(model, training(2048, 8), software, plan(8)).forward, "logits")
        .at(0)
        .n;
  };
  EXPECT_EQ(columns(), 6283);  // given: 50257 / 8 rounded up
  model.vocab_from_preset = true;
  EXPECT_EQ(columns(), 6400);  // Megatron-LM: 51200 / 8
}

TEST(LayerShapes, HeadCountsLossAndBothGradients) {
  const LayerWork head = head_work(gpt3_175b(), training(2048, 8), stack(), plan(8));
  EXPECT_DOUBLE_EQ(gemm_flops(head.forward), 2.0 * 2048 * 12288 * 51200 / 8);
  EXPECT_DOUBLE_EQ(gemm_flops(head.backward), 2 * gemm_flops(head.forward));
  double loss = 0;
  for (const LayerPass* pass : {&head.forward, &head.backward}) {
    loss += shapes_named<MemoryShape>(*pass, "loss").at(0).traffic.base();
  }
  EXPECT_DOUBLE_EQ(loss, 16.0 * 2048 * 6400);  // 16 bytes a logit
}

TEST(LayerShapes, MaskedLanguageModelWorksOnTheMaskedTokens) {
  ModelSpec model = gpt(24, 1024, 16);
  model.objective = Objective::masked_lm;
  model.causal = false;
  const LayerWork head = head_work(model, training(512, 64, 8), stack(), plan(1));
  // 15 % of 8 x 512 = 614.4 tokens.
  expect_product(head.forward, {"head_dense", 614, 1024, 1024});
  expect_product(head.forward, {"logits", 614, 51200, 1024});
}

TEST(LayerShapes, OptimizerTrafficScalesWithWhatTheUpdateMoves) {
  TrainingSpec spec = training(2048, 8);
  const auto update = [&] {
    const LayerPass pass = optimizer_pass(spec, stack(), plan(1), {1e9, 2e9, 0, {}, 1});
    EXPECT_EQ(pass.launches, 12);
    return shapes_named<MemoryShape>(pass, "optimizer_update").at(0).traffic.base();
  };
  EXPECT_DOUBLE_EQ(update(), 30e9);
  spec.optimizer = Optimizer::sgd;
  EXPECT_DOUBLE_EQ(update(), 14e9);  // gradient 4, master 8, 16-bit weight 2
  spec.optimizer = Optimizer::momentum;
  EXPECT_DOUBLE_EQ(update(), 22e9);
  spec.precision = Precision::tf32;
  EXPECT_DOUBLE_EQ(update(), 20e9);  // no 16-bit weight
  const LayerPass pass = optimizer_pass(spec, stack(), plan(1), {1e9, 2e9, 0, {}, 1});
  EXPECT_DOUBLE_EQ(shapes_named<MemoryShape>(pass, "gradient_norm_and_zero").at(0).traffic.base(), 16e9);
}

}  // namespace
}  // namespace orrery
