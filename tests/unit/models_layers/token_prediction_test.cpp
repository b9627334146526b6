#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "tests/unit/models_layers/layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

ModelSpec predicting(int layers) {
  ModelSpec model = llama3_70b();
  model.mtp_layers = layers;
  return model;
}

void expect_product(const LayerPass& pass, std::string_view name, std::int64_t m, std::int64_t n,
                    std::int64_t k) {
  const GemmShape gemm = shapes_named<GemmShape>(pass, name).at(0);
  EXPECT_EQ(gemm.m, m) << name;
  EXPECT_EQ(gemm.n, n) << name;
  EXPECT_EQ(gemm.k, k) << name;
}

TEST(TokenPrediction, ProjectsHiddenStateAndEmbeddingToTheHiddenWidth) {
  const LayerWork work = token_prediction_work(predicting(1), training(4096, 8), stack(), plan(4, true));
  expect_product(work.forward, "token_prediction_projection", 4096, 8192 / 4, 2 * 8192);
  expect_product(work.backward, "token_prediction_dgrad", 4096, 2 * 8192, 8192 / 4);
  expect_product(work.backward, "token_prediction_wgrad", 8192 / 4, 2 * 8192, 4096);
  // The embedding's sum scattered; both inputs gathered; the output's columns gathered.
  const std::vector<LayerCommunication> list = communications_of(work.forward);
  const double whole = 4096.0 * 8192 * 2;
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].op, CollectiveOp::reduce_scatter);
  EXPECT_EQ(list[1].payload, Bytes(2 * whole));
  EXPECT_EQ(list[2].payload, Bytes(whole));
  EXPECT_DOUBLE_EQ(gemm_flops(work.forward) * 4, work.model_flops_forward.base());
  EXPECT_DOUBLE_EQ(gemm_flops(work.backward), 2 * gemm_flops(work.forward));
}

TEST(TokenPrediction, RecomputesItsProjectionWithAllLayersOnly) {
  TrainingSpec spec = training(4096, 8);
  spec.recompute = Recompute::full;
  const LayerWork all = token_prediction_work(predicting(1), spec, stack(), plan(1));
  EXPECT_DOUBLE_EQ(gemm_flops(all.recompute), gemm_flops(all.forward));
  EXPECT_TRUE(shapes_named<MemoryShape>(all.recompute, "embedding_lookup").empty());
  spec.recompute_layers = 4;
  EXPECT_TRUE(token_prediction_work(predicting(1), spec, stack(), plan(1)).recompute.items.empty());
}

// Each prediction: 2 (2 h) h a token, a transformer layer and the head again (DeepSeek-AI 2024, section 2.2).
TEST(TokenPrediction, CountsProjectionLayerAndHeadInTheFlops) {
  const TrainingSpec spec = training(4096, 8);
  const double tokens = 8.0 * 4096;
  const double layer = layer_forward_flops(predicting(0), spec, 8).total();
  const double head = 2.0 * tokens * 8192 * 128256;
  const double projection = 2.0 * tokens * 2 * 8192 * 8192;
  ParallelPlan degrees = plan(1);
  degrees.stage_layers = {80};
  const double none = step_flops(predicting(0), spec, degrees).model.base();
  const double two = step_flops(predicting(2), spec, degrees).model.base();
  EXPECT_DOUBLE_EQ(two - none, 3.0 * 2 * (layer + head + projection));
}

TEST(TokenPrediction, StandsOnTheLastStageWithItsCopyOfTheEmbedding) {
  const double projection = 2.0 * 8192 * 8192 + 3.0 * 8192;
  EXPECT_DOUBLE_EQ(token_prediction_parameters_per_rank(predicting(1), plan(1)), projection);
  EXPECT_DOUBLE_EQ(parameter_count(predicting(1), 0) - parameter_count(predicting(0), 0),
                   layer_parameters(predicting(0)) + projection);
  ParallelPlan degrees = plan(1);
  degrees.pipeline = 4;
  EXPECT_DOUBLE_EQ(
      head_parameters_per_rank(predicting(1), degrees) - head_parameters_per_rank(predicting(0), degrees),
      128256.0 * 8192);
  degrees.pipeline = 1;
  EXPECT_EQ(head_parameters_per_rank(predicting(1), degrees),
            head_parameters_per_rank(predicting(0), degrees));
}

TEST(TokenPrediction, KeepsItsLayerItsInputsAndLogitsInMemory) {
  ParallelPlan degrees = plan(1);
  degrees.pipeline = 2;
  degrees.data = 1;
  degrees.stage_layers = {40, 40};
  const TrainingSpec spec = training(4096, 8);
  const MemoryUse none = memory_use(predicting(0), spec, stack(), degrees, Bytes(0));
  const MemoryUse one = memory_use(predicting(1), spec, stack(), degrees, Bytes(0));
  EXPECT_EQ(one.per_stage_peak[0], none.per_stage_peak[0]);
  // States: 16-bit weight, fp32 gradient, master, mean and variance: 18 B of each parameter.
  const double parameters = layer_parameters(predicting(0)) + 2.0 * 8192 * 8192 + 3 * 8192 + 128256.0 * 8192;
  const double layer = layer_activation_bytes(predicting(0), spec, stack(), degrees, false).base();
  const double hidden = 4096.0 * 8192 * 2;
  const double kept = layer + 4 * hidden;  // one micro-batch in flight on the last stage
  // The logits are 16-bit and fp32, beside two hidden states of each head.
  const double logits = 4096.0 * 128256 * (2 + 4) + 2 * hidden;
  EXPECT_DOUBLE_EQ((one.per_stage_peak[1] - none.per_stage_peak[1]).base(), 18 * parameters + kept + logits);
}

}  // namespace
}  // namespace orrery
