#include "models/low_rank_adapters.hpp"

#include <gtest/gtest.h>

#include "layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

/// Llama 2 70B (Touvron et al. 2023, table 1): 80 layers of 8192, 64 heads, 8 key-value heads, ffn 28672.
ModelSpec llama2_70b() {
  ModelSpec model = llama3_70b();
  model.vocab = 32000;
  return model;
}

TrainingSpec lora(bool attention, bool mlp, int rank = 16) {
  TrainingSpec spec = training(8192, 8);
  spec.lora = LoraSpec{rank, attention, mlp};
  return spec;
}

SoftwareStack adapter_stack() {
  SoftwareStack software = stack();
  software.adapter_forward = {0, 5};
  software.adapter_backward = {3, 2};
  return software;
}

TEST(LowRankAdapters, HaveRankTimesBothSidesOfTheirProducts) {
  // QKV 8192 -> 10240, output 8192 -> 8192, up 8192 -> 57344, down 28672 -> 8192: 44.6 M of the 70B model's
  // 80 layers with rank 16 on the attention, as MLPerf trains it.
  EXPECT_EQ(adapter_parameters_per_rank(llama2_70b(), lora(true, false), plan(1)),
            16 * (8192 + 10240 + 8192 + 8192));
  EXPECT_EQ(adapter_parameters_per_rank(llama2_70b(), lora(true, true), plan(1)),
            16 * (8192 + 10240 + 8192 + 8192 + 8192 + 57344 + 28672 + 8192));
  // Tensor 4: column-parallel 8192 x 4 and 16 x 2560, row-parallel 2048 x 16 and 16 x 2048.
  EXPECT_EQ(adapter_parameters_per_rank(llama2_70b(), lora(true, false), plan(4)),
            8192 * 4 + 16 * 2560 + 2048 * 16 + 16 * 2048);
  EXPECT_EQ(adapter_parameters_per_rank(llama2_70b(), training(8192, 8), plan(1)), 0);
}

TEST(LowRankAdapters, FrozenProductsHaveNoWeightGradient) {
  const LayerWork work = transformer_layer_work(llama2_70b(), lora(true, false), adapter_stack(), plan(1));
  const LayerWork whole = transformer_layer_work(llama2_70b(), training(8192, 8), adapter_stack(), plan(1));
  const double tokens = 8192;
  const double base = 2 * tokens * 8192.0 * (10240 + 8192 + 3 * 28672);
  const double adapters = 2 * tokens * 16.0 * (8192 + 10240 + 8192 + 8192);
  EXPECT_DOUBLE_EQ(gemm_flops(work.forward), base + adapters);
  EXPECT_DOUBLE_EQ(gemm_flops(whole.backward), 2 * base);
  EXPECT_DOUBLE_EQ(gemm_flops(work.backward), base + 2 * adapters);
  EXPECT_TRUE(shapes_named<GemmShape>(work.backward, "qkv_wgrad").empty());
  const auto wgrad = shapes_named<GemmShape>(work.backward, "adapter_in_wgrad");
  ASSERT_EQ(wgrad.size(), 2U);  // of the output projection, then of QKV
  EXPECT_EQ(wgrad.at(1).m, 16);
  EXPECT_EQ(wgrad.at(1).n, 8192);
  EXPECT_EQ(wgrad.at(1).k, 8192);
  // Scale and addition: 5 passes over 10240 + 8192 columns forward; 2 over those and 3 over 2 x 8192 inputs
  // back.
  EXPECT_DOUBLE_EQ(memory_traffic(work.forward) - memory_traffic(whole.forward),
                   5 * 2 * tokens * (10240 + 8192));
  double added = 0;
  for (const MemoryShape& shape : shapes_named<MemoryShape>(work.backward, "adapter_addition"))
    added += shape.traffic.base();
  EXPECT_DOUBLE_EQ(added, 2 * tokens * (2 * (10240 + 8192) + 3 * (8192 + 8192)));
}

TEST(LowRankAdapters, EmbeddingAndHeadAreFrozenToo) {
  const LayerWork embedding = embedding_work(llama2_70b(), lora(true, true), adapter_stack(), plan(1));
  EXPECT_TRUE(embedding.backward.items.empty());
  const LayerWork head = head_work(llama2_70b(), lora(true, true), adapter_stack(), plan(1));
  EXPECT_EQ(shapes_named<GemmShape>(head.backward, "logits_dgrad").size(), 1U);
  EXPECT_TRUE(shapes_named<GemmShape>(head.backward, "logits_wgrad").empty());
}

TEST(LowRankAdapters, TensorGroupsGatherTheNarrowActivation) {
  const LayerWork work =
      transformer_layer_work(llama2_70b(), lora(true, false), adapter_stack(), plan(4, true));
  int narrow = 0;
  for (const LayerCommunication& each : communications_of(work.forward)) {
    if (each.payload == Bytes(8192.0 * 16 * 2)) ++narrow;
  }
  EXPECT_EQ(narrow, 2);  // gathered behind QKV's A, summed behind the output projection's
}

TEST(LowRankAdapters, FlopsOfTheConventionLeaveFrozenWeightGradientsOut) {
  // Per token, 80 layers: 2 x 2 x 8192 x (10240 + 8192 + 3 x 28672) frozen, 3 x 4 x 8192 x 8192 attention
  // core, 3 x 2 x 16 x 34816 adapters; head 2 x 2 x 8192 x 32000.
  const double token = 80.0 * (4 * 8192.0 * (10240 + 8192 + 3 * 28672) + 12 * 8192.0 * 8192 +
                               6 * 16.0 * (8192 + 10240 + 8192 + 8192)) +
                       4 * 8192.0 * 32000;
  ParallelPlan degrees = plan(1);
  degrees.stage_layers = {80};
  EXPECT_DOUBLE_EQ(step_flops(llama2_70b(), lora(true, false), degrees).model.base(), 8 * 8192.0 * token);
}

TEST(LowRankAdapters, StatesAreKeptForTheAdaptersOnly) {
  ParallelPlan degrees = plan(1);
  degrees.data = 8;
  degrees.zero = 1;
  degrees.stage_layers = {80};
  const double base = parameter_count(llama2_70b(), 8192);
  const double adapters = 80 * 16.0 * (8192 + 10240 + 8192 + 8192);
  const MemoryUse use = memory_use(llama2_70b(), lora(true, false), adapter_stack(), degrees, Bytes());
  EXPECT_DOUBLE_EQ(use.parameters.base(), 2 * (base + adapters));
  EXPECT_DOUBLE_EQ(use.gradients.base(), 4 * adapters);
  EXPECT_DOUBLE_EQ(use.optimizer.base(), 12 * adapters / 8);
  TrainingSpec eight_bits = lora(true, false);
  eight_bits.precision = Precision::fp8;
  SoftwareStack software = adapter_stack();
  software.quantize.weight_bytes = 1;
  const double matrices = 80 * layer_matrix_parameters_per_rank(llama2_70b(), degrees);
  const MemoryUse quantised = memory_use(llama2_70b(), eight_bits, software, degrees, Bytes());
  EXPECT_DOUBLE_EQ(quantised.parameters.base(), matrices + 2 * (base - matrices + adapters));
}

TEST(LowRankAdapters, ActivationsOfFrozenProductsAreNotKept) {
  const auto kept = [](const TrainingSpec& spec) {
    return layer_activation_bytes(llama2_70b(), spec, adapter_stack(), plan(1), false).base() / 8192;
  };
  // Of the four products' inputs QKV's alone is kept beside the attention's output: 2 x (8192 + 28672) less.
  EXPECT_DOUBLE_EQ(kept(training(8192, 8)) - kept(lora(true, false)), 2.0 * (8192 + 28672));
  EXPECT_DOUBLE_EQ(kept(training(8192, 8)) - kept(lora(false, true)), 2.0 * 8192);
  EXPECT_DOUBLE_EQ(kept(training(8192, 8)), kept(lora(true, true)));
}

}  // namespace
}  // namespace orrery
