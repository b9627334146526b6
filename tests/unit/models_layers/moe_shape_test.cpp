#include "models/moe_shape.hpp"

#include <gtest/gtest.h>

#include "tests/unit/models_layers/layer_fixtures.hpp"

namespace orrery {
namespace {

using layer_fixtures::training;

/// Mixtral 8x7B (Jiang et al. 2024, arXiv 2401.04088, table 1).
ModelSpec mixtral() {
  ModelSpec model = layer_fixtures::llama3(32, 4096, 32, 14336);
  model.vocab = 32000;
  MoeSpec& moe = model.moe.emplace();
  moe.experts = 8;
  moe.top_k = 2;
  moe.ffn_hidden = 14336;
  return model;
}

MoeShape shape_of(const ModelSpec& model, const ParallelPlan& plan,
                  const SoftwareStack& stack = layer_fixtures::stack(), std::int64_t micro_batch = 1) {
  const TrainingSpec spec = training(4096, 64, micro_batch);
  return {model, spec, stack, plan, RankShape(model, spec, stack, plan)};
}

ParallelPlan expert_plan(int tensor, int expert, int expert_tensor) {
  ParallelPlan plan = layer_fixtures::plan(tensor, tensor > 1);
  plan.data = 8;
  plan.expert = expert;
  plan.expert_tensor = expert_tensor;
  return plan;
}

TEST(MoeShape, DealsTokensAndExpertsOverTheRanks) {
  // Two tensor ranks route 2048 of 4096 tokens each to 2 of 8 experts; 4 ranks hold 2 experts each, in two
  // slices whose ranks gather each other's tokens: 2 x 4096 rows, 4096 an expert.
  const MoeShape moe = shape_of(mixtral(), expert_plan(2, 4, 2));
  EXPECT_EQ(moe.tokens, 2048);
  EXPECT_EQ(moe.local_experts, 2);
  EXPECT_EQ(moe.copies, 2048 * 2);
  EXPECT_EQ(moe.rows, 2 * 4096);
  EXPECT_EQ(moe.rows_per_expert, 4096);
  EXPECT_EQ(moe.ffn, 7168);
  EXPECT_EQ(moe.up_columns, 14336);
  EXPECT_EQ(moe.shared_ffn, 0);
  EXPECT_EQ(moe.dispatch_bytes, 2.0);
}

TEST(MoeShape, SharedExpertsAreOneBlockOverTheTensorRanks) {
  ModelSpec model = mixtral();
  model.moe->shared_experts = 2;
  model.moe->shared_ffn_hidden = 1024;
  const MoeShape moe = shape_of(model, expert_plan(2, 4, 1));
  EXPECT_EQ(moe.shared_ffn, 1024);
  EXPECT_EQ(moe.shared_up_columns, 2048);
}

TEST(MoeShape, TheBusiestRankCarriesTheImbalance) {
  ModelSpec model = mixtral();
  model.moe->imbalance = 1.25;
  const MoeShape moe = shape_of(model, expert_plan(1, 8, 1));
  EXPECT_EQ(moe.copies, 1.25 * 4096 * 2);
  EXPECT_EQ(moe.rows_per_expert, 10240);
}

TEST(MoeLoad, CapacityDropsWhatIsAboveAndPadsWhatIsBelow) {
  // 2048 tokens of top 2 over 8 experts: 512 each; a factor of 1.1 makes room for ceil(563.2) = 564.
  MoeSpec moe = *mixtral().moe;
  moe.capacity_factor = 1.1;
  EXPECT_EQ(moe_load(moe, true, 2048), 564.0 / 512);
  EXPECT_EQ(moe_load(moe, false, 2048), 1.0);
  moe.imbalance = 1.05;
  EXPECT_EQ(moe_load(moe, false, 2048), 1.05);
  moe.imbalance = 2.0;
  EXPECT_EQ(moe_load(moe, false, 2048), 564.0 / 512);
  EXPECT_EQ(moe_load(moe, true, 2048), 564.0 / 512);
  moe.capacity_factor.reset();
  EXPECT_EQ(moe_load(moe, true, 2048), 2.0);  // dropless
}

TEST(ExpertRowsShare, PaddingIsWorkAndDroppedTokensAreNot) {
  // 4096 tokens of top 2 over 8 experts: 1024 each; a factor of 0.3 leaves ceil(307.2) = 308, 1.25 has room
  // for 1280.
  ModelSpec model = mixtral();
  SoftwareStack stack = layer_fixtures::stack();
  const auto share = [&](double factor, bool pads) {
    model.moe->capacity_factor = factor;
    stack.moe.pads_to_capacity = pads;
    return expert_rows_share(model, training(4096, 64), stack, expert_plan(1, 8, 1));
  };
  EXPECT_EQ(share(0.3, true), 308.0 / 1024);
  EXPECT_EQ(share(0.3, false), 308.0 / 1024);
  EXPECT_EQ(share(1.25, true), 1.25);
  EXPECT_EQ(share(1.25, false), 1.0);
  model.moe->capacity_factor.reset();
  EXPECT_EQ(expert_rows_share(model, training(4096, 64), stack, expert_plan(1, 8, 1)), 1.0);
}

TEST(MoeShape, EightBitTokensTravelWithTheirScales) {
  SoftwareStack stack = layer_fixtures::stack();
  stack.moe.fp8_dispatch = true;
  const ModelSpec model = mixtral();
  TrainingSpec spec = training(4096, 64);
  const ParallelPlan plan = expert_plan(1, 8, 1);
  EXPECT_EQ(MoeShape(model, spec, stack, plan, RankShape(model, spec, stack, plan)).dispatch_bytes, 2.0);
  spec.precision = Precision::fp8;  // one byte, and 4 for each 128 of them
  EXPECT_EQ(MoeShape(model, spec, stack, plan, RankShape(model, spec, stack, plan)).dispatch_bytes, 1.03125);
}

TEST(MoeParameters, OfMixtralOnOneRank) {
  // An expert has 3 x 4096 x 14336 weights.
  const MoeParameters whole = moe_parameters_per_rank(mixtral(), expert_plan(1, 1, 1));
  EXPECT_EQ(whole.experts, 8.0 * 176160768);
  EXPECT_EQ(whole.router, 4096.0 * 8);
  EXPECT_EQ(whole.shared, 0.0);
  const MoeParameters share = moe_parameters_per_rank(mixtral(), expert_plan(2, 4, 2));
  EXPECT_EQ(share.experts, 176160768.0);  // 2 experts, half of each
  EXPECT_EQ(share.router, 4096.0 * 8);
}

TEST(MoeFlops, CountTheRouterAndTheChosenExperts) {
  const MoeFlops flops = moe_flops_per_token(mixtral());
  EXPECT_EQ(flops.router, 2.0 * 4096 * 8);
  EXPECT_EQ(flops.experts, 2.0 * 2 * 176160768);
  EXPECT_EQ(flops.shared, 0.0);
}

}  // namespace
}  // namespace orrery
