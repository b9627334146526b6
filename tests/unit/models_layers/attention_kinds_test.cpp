#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "tests/unit/models_layers/layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

/// DeepSeek-AI 2024 (arXiv 2412.19437), section 4.2, with a dense feed-forward part in every layer.
ModelSpec latent_model() {
  ModelSpec model = llama3(61, 7168, 128, 18432);
  model.kv_heads = 128;
  model.attention = AttentionKind::mla;
  model.q_lora_rank = 1536;
  model.kv_lora_rank = 512;
  model.qk_nope_dim = 128;
  model.qk_rope_dim = 64;
  model.v_dim = 128;
  model.head_dim = 192;
  return model;
}

GemmShape product(const LayerPass& pass, std::string_view name) {
  return shapes_named<GemmShape>(pass, name).at(0);
}

AttentionShape attention(const LayerPass& pass) {
  return shapes_named<AttentionShape>(pass, "attention_core").at(0);
}

double traffic(const LayerPass& pass, std::string_view name) {
  double bytes = 0;
  for (const MemoryShape& memory : shapes_named<MemoryShape>(pass, name)) bytes += memory.traffic.base();
  return bytes;
}

void expect_shape(const GemmShape& gemm, std::int64_t m, std::int64_t n, std::int64_t k) {
  EXPECT_EQ(gemm.m, m);
  EXPECT_EQ(gemm.n, n);
  EXPECT_EQ(gemm.k, k);
}

TEST(LatentAttention, SplitsHeadsAndKeepsTheProductsIntoLatentsWhole) {
  // 4096 tokens on 8 tensor ranks with sequence parallelism: 16 heads, 512 tokens in the latents' products.
  const LayerWork work = transformer_layer_work(latent_model(), training(4096, 8), stack(), plan(8, true));
  expect_shape(product(work.forward, "q_down_projection"), 512, 1536, 7168);
  expect_shape(product(work.forward, "q_up_projection"), 4096, 16 * 192, 1536);
  expect_shape(product(work.forward, "kv_down_projection"), 512, 512 + 64, 7168);
  expect_shape(product(work.forward, "kv_up_projection"), 4096, 16 * (128 + 128), 512);
  expect_shape(product(work.forward, "output_projection"), 4096, 7168, 16 * 128);
  expect_shape(product(work.backward, "kv_up_wgrad"), 16 * 256, 512, 4096);
  expect_shape(product(work.backward, "q_down_dgrad"), 512, 7168, 1536);
  const AttentionShape core = attention(work.forward);
  EXPECT_EQ(core.heads, 16);
  EXPECT_EQ(core.kv_heads, 16);
  EXPECT_EQ(core.head_dim, 192);
  EXPECT_EQ(core.value_dim, 128);
}

TEST(LatentAttention, GathersLatentsInsteadOfHiddenStates) {
  // Attention's own: q latent 1536, rotary keys 64 and kv latent 512 columns of 4096 tokens in two bytes
  // gathered, and the output's sum scattered; then the feed-forward part's pair.
  const LayerWork work = transformer_layer_work(latent_model(), training(4096, 8), stack(), plan(8, true));
  const std::vector<LayerCommunication> list = communications_of(work.forward);
  ASSERT_EQ(list.size(), 6U);
  std::vector<double> gathered;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(list[i].op, CollectiveOp::all_gather);
    gathered.push_back(list[i].payload.base() / (4096.0 * 2.0));
  }
  std::sort(gathered.begin(), gathered.end());
  EXPECT_EQ(gathered, (std::vector<double>{64, 512, 1536}));
  EXPECT_EQ(list[3].op, CollectiveOp::reduce_scatter);
  EXPECT_EQ(list[3].payload, Bytes(4096.0 * 7168 * 2));
}

// Without a query latent (DeepSeek-V2-Lite) queries come from the hidden states, which are gathered for them.
TEST(LatentAttention, MakesQueriesFromHiddenStatesWithoutAQueryLatent) {
  ModelSpec model = latent_model();
  model.q_lora_rank = 0;
  const LayerWork work = transformer_layer_work(model, training(4096, 8), stack(), plan(8, true));
  expect_shape(product(work.forward, "q_projection"), 4096, 16 * 192, 7168);
  EXPECT_EQ(communications_of(work.forward).front().payload, Bytes(4096.0 * 7168 * 2));
  EXPECT_DOUBLE_EQ(layer_parameters_per_rank(model, plan(1)), layer_parameters(model));
}

TEST(LatentAttention, CountsTheParametersOfDeepSeekV3) {
  // Two norms and three products of 7168 x 18432; attention: 7168 x 1536 + 1536 + 1536 x 128 x 192
  // + 7168 x 576 + 512 + 512 x 128 x 256 + 128 x 128 x 7168 = 187107328.
  const double attention =
      7168.0 * 1536 + 1536 + 1536.0 * 24576 + 7168.0 * 576 + 512 + 512.0 * 32768 + 16384.0 * 7168;
  EXPECT_EQ(attention, 187107328.0);
  const ModelSpec model = latent_model();
  EXPECT_EQ(layer_parameters(model), attention + 3.0 * 7168 * 18432 + 2 * 7168);
  EXPECT_EQ(layer_parameters_per_rank(model, plan(1)), layer_parameters(model));
  // Products into the latents and all norms are whole on each of 8 ranks.
  const double whole = 7168.0 * (1536 + 576) + 1536 + 512 + 2 * 7168;
  EXPECT_EQ(layer_parameters_per_rank(model, plan(8)), (layer_parameters(model) - whole) / 8 + whole);
}

TEST(LatentAttention, CountsFlopsAsItsProductsDo) {
  const ModelSpec model = latent_model();
  const TrainingSpec spec = training(4096, 8);
  const LayerFlops flops = layer_forward_flops(model, spec, 1.0);
  // One token: 2 (7168 x 1536 + 1536 x 24576 + 7168 x 576 + 512 x 32768 + 16384 x 7168) and 4096 keys of
  // 128 (192 + 128).
  EXPECT_EQ(flops.projections, 4096.0 * 2 * (187107328.0 - 1536 - 512));
  EXPECT_EQ(flops.latent_up, 4096.0 * 2 * (1536.0 * 24576 + 512.0 * 32768));
  EXPECT_EQ(flops.attention_core, 2.0 * 4096 * 4096 * 128 * 320);
  const LayerWork work = transformer_layer_work(model, spec, stack(), plan(1));
  EXPECT_DOUBLE_EQ(gemm_flops(work.forward), flops.projections + flops.mlp);
  EXPECT_DOUBLE_EQ(gemm_flops(work.backward), 2.0 * gemm_flops(work.forward));
}

TEST(LatentAttention, RecomputesTheProductsOutOfTheLatents) {
  TrainingSpec spec = training(4096, 8);
  spec.recompute = Recompute::selective;
  spec.recompute_modules = {"mla_up_proj"};
  const ModelSpec model = latent_model();
  const LayerWork work = transformer_layer_work(model, spec, stack(), plan(1));
  std::vector<std::string_view> names;
  for (const Operator& op : operators_of(work.recompute)) names.push_back(op.name);
  EXPECT_EQ(names, (std::vector<std::string_view>{"q_latent_norm", "q_up_projection", "kv_latent_norm",
                                                  "kv_up_projection", "rope_and_assembly"}));
  EXPECT_DOUBLE_EQ(gemm_flops(work.recompute), recomputed_flops(layer_forward_flops(model, spec, 1.0), spec));
  // Queries and keys of 192 and values of 128 in each of 128 heads are made again instead of kept, and so are
  // the normalised latents of 1536 and 512.
  const double kept = layer_activation_bytes(model, spec, stack(), plan(1), false).base();
  const double keeps = layer_activation_bytes(model, spec, stack(), plan(1), true).base();
  EXPECT_DOUBLE_EQ(kept - keeps, 4096.0 * (128 * (192 + 192 + 128) + 1536 + 512) * 2);
}

TEST(LatentAttention, ExchangesWholeKeysAndValuesAmongContextRanks) {
  ParallelPlan degrees = plan(1);
  degrees.context = 4;
  degrees.context_method = ContextMethod::ring;
  const LayerWork ring = transformer_layer_work(latent_model(), training(8192, 8), stack(), degrees);
  EXPECT_EQ(communications_of(ring.forward).front().payload, Bytes(2048.0 * 128 * (192 + 128) * 2));
  degrees.context_method = ContextMethod::ulysses;
  const LayerWork heads = transformer_layer_work(latent_model(), training(8192, 8), stack(), degrees);
  const std::vector<LayerCommunication> list = communications_of(heads.forward);
  ASSERT_EQ(list.size(), 4U);  // queries, keys, values; output
  const double column = 2048.0 * 128 * 2;
  EXPECT_EQ(list[0].payload, Bytes(column * 192));
  EXPECT_EQ(list[2].payload, Bytes(column * 128));
  EXPECT_EQ(list[3].payload, Bytes(column * 128));
}

constexpr LayerKind kSliding{false, true};

ModelSpec sliding_model(std::int64_t window) {
  ModelSpec model = llama3_70b();
  model.attention = AttentionKind::sliding;
  model.window = window;
  model.full_every = 2;
  return model;
}

TEST(RotaryPositions, AreTurnedByAnotherKernelWhereTheyAreScaled) {
  SoftwareStack software = stack();
  software.forward_passes.rope = 2;
  software.forward_passes.rope_scaled = 10;
  ModelSpec model = llama3(32, 4096, 32, 14336);
  const auto turned = [&] {
    return traffic(transformer_layer_work(model, training(4096, 8), software, plan(1)).forward,
                   "rope_and_transposes");
  };
  const double plain = turned();
  model.rotary_scale = 1.3;
  // Eight passes more over 4096 tokens of 32 query and 8 key heads of 128, in 2 B.
  EXPECT_NEAR(turned() - plain, 8.0 * 4096 * (32 + model.kv_heads) * 128 * 2, 1.0);
  software.forward_passes.rope_scaled = 0;
  EXPECT_EQ(turned(), plain);
}

TEST(RotaryPositions, OfLatentsAreTurnedOutOfPlaceWhereTheStackSaysSo) {
  SoftwareStack software = stack();
  software.forward_passes.rope = software.backward_passes.rope = 2;
  const auto turned = [&] {
    const LayerWork work = transformer_layer_work(latent_model(), training(4096, 8), software, plan(1));
    return std::pair(traffic(work.forward, "rope_and_assembly"), traffic(work.backward, "rope_and_assembly"));
  };
  const auto plain = turned();
  software.forward_passes.rope_latent = 14;
  software.backward_passes.rope_latent = 17;
  // 4096 tokens: 12 and 15 passes more over 64 columns of 128 heads and the shared keys, and queries of 192
  // read and written, in 2 B.
  const double column = 4096.0 * 2;
  EXPECT_NEAR(turned().first - plain.first, column * (12 * 129 * 64 + 2 * 128 * 192), 1.0);
  EXPECT_NEAR(turned().second - plain.second, column * (15 * 129 * 64 + 2 * 128 * 192), 1.0);
}

TEST(RotaryPositions, WithAScaleRunElementByElementWhereTheStackSaysSo) {
  SoftwareStack software = stack();
  software.unvectorised.strided = Seconds(0.5e-9);
  software.unvectorised.rope_forward = {5, 2.5, 0};
  ModelSpec model = llama3(32, 4096, 32, 14336);
  const auto rotations = [&] {
    return shapes_named<MemoryShape>(
        transformer_layer_work(model, training(4096, 8), software, plan(1)).forward, "rope_by_element");
  };
  EXPECT_TRUE(rotations().empty());
  model.rotary_scale = 1.3;
  // 4096 tokens of 32 query and the key heads of 128, two and a half kernels' worth of slices.
  const double elements = 4096.0 * (32 + model.kv_heads) * 128;
  const MemoryShape shape = rotations().at(0);
  EXPECT_EQ(shape.traffic.base(), 5.0 * elements * 2);
  EXPECT_EQ(shape.launches, 3);
  EXPECT_NEAR(shape.sm_time.base(), 1.25e-9 * elements, 1e-12);
}

TEST(SlidingWindow, ReachesTheKernelOfSlidingLayersOnly) {
  const ModelSpec model = sliding_model(1024);
  const LayerWork full = transformer_layer_work(model, training(8192, 8), stack(), plan(1));
  const LayerWork band = transformer_layer_work(model, training(8192, 8), stack(), plan(1), kSliding);
  EXPECT_EQ(attention(full.forward).window, 0);
  EXPECT_EQ(attention(band.forward).window, 1024);
  EXPECT_EQ(attention(band.backward).window, 1024);
  EXPECT_LT(attention_flops(attention(band.forward)), attention_flops(attention(full.forward)) * 0.25);
  EXPECT_EQ(full.forward.launches, band.forward.launches);
}

TEST(SlidingWindow, IsFullAttentionWhereItCoversTheSequence) {
  const LayerWork band =
      transformer_layer_work(sliding_model(8192), training(8192, 8), stack(), plan(1), kSliding);
  EXPECT_EQ(attention(band.forward).window, 0);
}

TEST(SlidingWindow, CountsItsKeysInTheFlops) {
  const ModelSpec model = sliding_model(1024);
  TrainingSpec spec = training(8192, 8);
  const LayerFlops full = layer_forward_flops(model, spec, 1.0);
  const LayerFlops band = layer_forward_flops(model, spec, 1.0, kSliding);
  EXPECT_DOUBLE_EQ(band.attention_core, full.attention_core / 8);
  EXPECT_EQ(band.projections, full.projections);
  // Half of the 80 layers slide.
  const StepFlops step = step_flops(model, spec, plan(1));
  ModelSpec all_full = model;
  all_full.attention = AttentionKind::gqa;
  const StepFlops whole = step_flops(all_full, spec, plan(1));
  EXPECT_DOUBLE_EQ((whole.model - step.model).base(), 3.0 * 8 * 40 * (full.attention_core * 7 / 8));
}

TEST(SlidingWindow, MeetsItsBandOfGatheredKeys) {
  ParallelPlan degrees = plan(1);
  degrees.context = 4;
  degrees.context_method = ContextMethod::all_gather;
  const LayerWork band =
      transformer_layer_work(sliding_model(1024), training(8192, 8), stack(), degrees, kSliding);
  const AttentionShape core = attention(band.forward);
  EXPECT_EQ(core.seq_q, 2048);
  EXPECT_EQ(core.seq_kv, 8192);
  // 2048 of the band's 8192 rows, each 1024 keys but for the triangle at the start.
  EXPECT_DOUBLE_EQ(attended_keys(core), 1024.0 - 1024.0 * 1024 / (2 * 8192));
}

TEST(SlidingWindow, SavesNothingInUnfusedKernels) {
  SoftwareStack software = stack();
  software.attention_kernel = AttentionKernel::unfused;
  const ModelSpec model = sliding_model(1024);
  const LayerWork full = transformer_layer_work(model, training(2048, 8), software, plan(1));
  const LayerWork band = transformer_layer_work(model, training(2048, 8), software, plan(1), kSliding);
  EXPECT_EQ(gemm_flops(full.forward), gemm_flops(band.forward));
}

TEST(AttentionSinks, CostAPassOverTheRowsAndOneNumberAHead) {
  ModelSpec model = llama3_70b();
  const ModelSpec plain = model;
  model.attention_sinks = true;
  SoftwareStack software = stack();
  software.attention_kernel = AttentionKernel::cudnn;
  const LayerWork work = transformer_layer_work(model, training(4096, 8), software, plan(4));
  // Two fp32 numbers of each of 4096 rows in 16 heads.
  EXPECT_EQ(traffic(work.backward, "sink_gradient"), 8.0 * 4096 * 16);
  EXPECT_EQ(traffic(work.forward, "sink_gradient"), 0.0);
  EXPECT_EQ(layer_parameters_per_rank(model, plan(4)) - layer_parameters_per_rank(plain, plan(4)), 16.0);
  EXPECT_EQ(layer_parameters(model) - layer_parameters(plain), 64.0);
}

TEST(QueryKeyNorm, ReadsAndWritesEachHead) {
  ModelSpec model = llama3_70b();
  const LayerWork plain = transformer_layer_work(model, training(4096, 8), stack(), plan(4));
  model.qk_norm = true;
  const LayerWork work = transformer_layer_work(model, training(4096, 8), stack(), plan(4));
  // 16 heads of queries and 2 of keys, 128 wide, two bytes: read and written; in the backward two reads, one
  // write.
  EXPECT_EQ(traffic(work.forward, "qk_norm"), 2.0 * 4096 * 18 * 128 * 2);
  EXPECT_EQ(traffic(work.backward, "qk_norm"), 3.0 * 4096 * 18 * 128 * 2);
  EXPECT_EQ(work.forward.launches, plain.forward.launches + 2);
  EXPECT_EQ(work.backward.launches, plain.backward.launches + 4);
}

}  // namespace
}  // namespace orrery
