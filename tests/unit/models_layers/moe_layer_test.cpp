// The operators and communications of a mixture-of-experts layer against hand-computed shapes and payloads.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "models/moe_memory.hpp"
#include "models/moe_shape.hpp"
#include "tests/unit/models_layers/layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

constexpr LayerKind kMixture{.moe = true};

/// Mixtral 8x7B (Jiang et al. 2024, table 1).
ModelSpec mixtral_layer_model() {
  ModelSpec model = llama3(32, 4096, 32, 14336);
  model.vocab = 32000;
  MoeSpec& moe = model.moe.emplace();
  moe.experts = 8;
  moe.top_k = 2;
  moe.ffn_hidden = 14336;
  return model;
}

ParallelPlan experts_over(int expert, int expert_tensor = 1, int tensor = 1) {
  ParallelPlan degrees = plan(tensor, tensor > 1);
  degrees.data = 8;
  degrees.expert = expert;
  degrees.expert_tensor = expert_tensor;
  return degrees;
}

LayerWork mixture_work(const ModelSpec& model, const ParallelPlan& degrees,
                       const SoftwareStack& software = stack(),
                       const TrainingSpec& spec = training(4096, 64)) {
  return transformer_layer_work(model, spec, software, degrees, kMixture);
}

std::vector<LayerCommunication> calls_named(const LayerPass& pass, std::string_view name) {
  std::vector<LayerCommunication> found = communications_of(pass);
  std::erase_if(found, [name](const LayerCommunication& c) { return c.name != name; });
  return found;
}

double expert_bytes(const LayerPass& pass) {
  double bytes = 0;
  for (const LayerCommunication& c : communications_of(pass)) {
    if (c.group == GroupKind::expert) bytes += c.payload.base() * c.count;
  }
  return bytes;
}

TEST(MoeLayer, ProductsOfTheExpertsAreOneGroupedKernelEach) {
  // 4096 tokens to two of eight experts, eight ranks: one expert a rank, 8192 rows.
  const LayerWork alone = mixture_work(mixtral_layer_model(), experts_over(8));
  const GemmShape up = shapes_named<GemmShape>(alone.forward, "expert_up_projection").at(0);
  EXPECT_EQ(up, (GemmShape{8192, 2 * 14336, 4096, 1, Precision::bf16, 2, true, false}));
  // Two ranks: four experts each, 2048 rows an expert.
  const LayerWork grouped = mixture_work(mixtral_layer_model(), experts_over(2));
  EXPECT_EQ(shapes_named<GemmShape>(grouped.forward, "expert_up_projection").at(0),
            (GemmShape{2048, 2 * 14336, 4096, 4, Precision::bf16, 2, true, true}));
  EXPECT_EQ(shapes_named<GemmShape>(grouped.forward, "expert_down_projection").at(0),
            (GemmShape{2048, 4096, 14336, 4, Precision::bf16, 2, true, true}));
  EXPECT_EQ(shapes_named<GemmShape>(grouped.backward, "expert_down_dgrad").at(0),
            (GemmShape{2048, 14336, 4096, 4, Precision::bf16, 2, true, true}));
  // dW of an expert, over its rows, added to the fp32 gradient in place: 4 read, 4 written.
  EXPECT_EQ(shapes_named<GemmShape>(grouped.backward, "expert_up_wgrad").at(0),
            (GemmShape{2 * 14336, 4096, 2048, 4, Precision::bf16, 8, true, true}));
  EXPECT_EQ(shapes_named<GemmShape>(grouped.forward, "router").at(0),
            (GemmShape{4096, 8, 4096, 1, Precision::bf16, 4, true, false}));
  EXPECT_EQ(grouped.forward.experts, 4);
}

TEST(MoeLayer, ExpertsOneAfterTheOtherHaveTheirOwnProductsAndAreJoined) {
  SoftwareStack software = stack();
  software.moe.grouped_experts = false;
  // Two ranks: four experts each, 2048 of 8192 rows an expert.
  const LayerWork apart = mixture_work(mixtral_layer_model(), experts_over(2), software);
  const std::vector<GemmShape> up = shapes_named<GemmShape>(apart.forward, "expert_up_projection");
  EXPECT_EQ(up.size(), 4U);
  EXPECT_EQ(up.front(), (GemmShape{2048, 2 * 14336, 4096, 1, Precision::bf16, 2, true, false}));
  EXPECT_EQ(shapes_named<GemmShape>(apart.backward, "expert_down_wgrad").size(), 4U);
  // 8192 rows x 4096 x 2 B, read and written: of outputs, and of the inputs' gradients.
  for (const LayerPass* pass : {&apart.forward, &apart.backward}) {
    EXPECT_EQ(shapes_named<MemoryShape>(*pass, "join_experts").at(0).traffic.base(), 2.0 * 8192 * 4096 * 2);
  }
  // One expert a rank is neither split nor joined.
  const LayerWork alone = mixture_work(mixtral_layer_model(), experts_over(8), software);
  EXPECT_EQ(shapes_named<GemmShape>(alone.forward, "expert_up_projection").size(), 1U);
  EXPECT_TRUE(shapes_named<MemoryShape>(alone.forward, "join_experts").empty());
  EXPECT_TRUE(
      shapes_named<MemoryShape>(mixture_work(mixtral_layer_model(), experts_over(2)).forward, "join_experts")
          .empty());
}

TEST(MoeLayer, ARouterInFp32WorksOnCastOperands) {
  SoftwareStack software = stack();
  const LayerWork narrow = mixture_work(mixtral_layer_model(), experts_over(8), software);
  EXPECT_TRUE(shapes_named<MemoryShape>(narrow.forward, "router_casts").empty());
  software.moe.fp32_router = true;
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(8), software);
  EXPECT_EQ(shapes_named<GemmShape>(work.forward, "router").at(0),
            (GemmShape{4096, 8, 4096, 1, Precision::fp32, 4, true, false}));
  EXPECT_EQ(shapes_named<GemmShape>(work.backward, "router_dgrad").at(0),
            (GemmShape{4096, 4096, 8, 1, Precision::fp32, 4, true, false}));
  EXPECT_EQ(shapes_named<GemmShape>(work.backward, "router_wgrad").at(0).precision, Precision::fp32);
  // 4096 tokens and 8 experts of 4096: 2 B read and 4 B written; backward the tokens alone, the other way.
  EXPECT_EQ(shapes_named<MemoryShape>(work.forward, "router_casts").at(0).traffic.base(), 6.0 * 4104 * 4096);
  EXPECT_EQ(shapes_named<MemoryShape>(work.backward, "router_casts").at(0).traffic.base(), 6.0 * 4096 * 4096);
  // Kept in fp32: 4 B of the input.
  const TrainingSpec spec = training(4096, 64);
  const double kept = moe_kept_bytes(mixtral_layer_model(), spec, software, experts_over(8), false);
  EXPECT_EQ(kept - moe_kept_bytes(mixtral_layer_model(), spec, stack(), experts_over(8), false),
            4.0 * 4096 * 4096);
}

TEST(MoeLayer, APermutationOfSeveralKernelsMovesMore) {
  SoftwareStack software = stack();
  software.moe.permutation_forward = {2, 2, 2};
  software.moe.permutation_backward = {5, 2, 4};
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(8), software);
  // 4096 tokens and 8192 copies of 4096 x 2 B: (2 x 8192 + 2 x 4096) and (5 x 8192 + 2 x 4096) rows.
  const MemoryShape forward = shapes_named<MemoryShape>(work.forward, "unfused_permutation").at(0);
  EXPECT_EQ(forward.traffic.base(), 24576.0 * 4096 * 2);
  EXPECT_EQ(forward.launches, 2);
  const MemoryShape backward = shapes_named<MemoryShape>(work.backward, "unfused_permutation").at(0);
  EXPECT_EQ(backward.traffic.base(), 49152.0 * 4096 * 2);
  EXPECT_EQ(backward.launches, 4);
  EXPECT_TRUE(shapes_named<MemoryShape>(mixture_work(mixtral_layer_model(), experts_over(8)).forward,
                                        "unfused_permutation")
                  .empty());
}

TEST(MoeLayer, BiasesOfTheOutputsAreAddedOutsideTheProducts) {
  ModelSpec model = mixtral_layer_model();
  SoftwareStack software = stack();
  software.moe.output_bias_passes_forward = 14;
  software.moe.output_bias_passes_backward = 20;
  EXPECT_TRUE(
      shapes_named<MemoryShape>(mixture_work(model, experts_over(2), software).forward, "expert_output_bias")
          .empty());
  model.bias = true;
  // 8192 rows x 4096 x 2 B a pass.
  const LayerWork work = mixture_work(model, experts_over(2), software);
  EXPECT_EQ(shapes_named<MemoryShape>(work.forward, "expert_output_bias").at(0),
            (MemoryShape{Bytes(14.0 * 8192 * 4096 * 2), 2, MemoryKind::streaming}));
  EXPECT_EQ(shapes_named<MemoryShape>(work.backward, "expert_output_bias").at(0),
            (MemoryShape{Bytes(20.0 * 8192 * 4096 * 2), 13, MemoryKind::streaming}));
}

TEST(MoeLayer, BiasesAndClampsRunElementByElementWhereTheStackSaysSo) {
  ModelSpec model = mixtral_layer_model();
  model.bias = model.clamped_activation = true;
  SoftwareStack software = stack();
  software.unvectorised.strided = Seconds(0.25e-9);
  software.unvectorised.converting = Seconds(0.5e-9);
  software.unvectorised.bias_forward = {7, 0, 2};
  software.unvectorised.clamp_backward = {9.5, 5, 0};
  const LayerWork work = mixture_work(model, experts_over(2), software);
  // 8192 rows of 4096 by kernels of each of 4 experts, two conversions of 0.5 ns an element; of 14336, five
  // slices of 0.25 ns.
  EXPECT_EQ(
      shapes_named<MemoryShape>(work.forward, "bias_by_element").at(0),
      (MemoryShape{Bytes(7.0 * 8192 * 4096 * 2), 8, MemoryKind::streaming, Seconds(1e-9 * 8192 * 4096)}));
  EXPECT_TRUE(shapes_named<MemoryShape>(work.backward, "bias_by_element").empty());
  EXPECT_EQ(shapes_named<MemoryShape>(work.backward, "clamp_by_element").at(0),
            (MemoryShape{Bytes(9.5 * 8192 * 14336 * 2), 5, MemoryKind::streaming,
                         Seconds(1.25e-9 * (8192.0 * 14336))}));
  model.bias = model.clamped_activation = false;
  const LayerWork plain = mixture_work(model, experts_over(2), software);
  EXPECT_TRUE(shapes_named<MemoryShape>(plain.forward, "bias_by_element").empty());
  EXPECT_TRUE(shapes_named<MemoryShape>(plain.backward, "clamp_by_element").empty());
}

TEST(MoeLayer, WeightsInTheActivationHaveAGradientOfTheirOwn) {
  SoftwareStack software = stack();
  software.moe.weights_in_activation = true;
  const auto traffic = [&] {
    const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(2), software);
    return shapes_named<MemoryShape>(work.backward, "expert_activation").at(0).traffic.base();
  };
  const double before = traffic();
  software.moe.weight_gradient_passes = 3;
  // The gradient of the result and both inputs, 14336 wide, are read once more.
  EXPECT_EQ(traffic() - before, 3.0 * 8192 * 14336 * 2);
  software.moe.weights_in_activation = false;
  const double outside = traffic();
  software.moe.weight_gradient_passes = 0;
  EXPECT_EQ(traffic(), outside);
}

TEST(MoeLayer, RowsAreFilledUpWhereTheyAreCastAndTheDispatcherDoesNot) {
  SoftwareStack software = stack();
  software.moe.padding_passes_forward = software.moe.padding_passes_backward = 4;
  const auto padding = [&software](ModelSpec model, Precision precision) {
    TrainingSpec quantized = training(4096, 64);
    quantized.precision = precision;
    const LayerWork work =
        transformer_layer_work(model, quantized, software, experts_over(2), LayerKind{.moe = true});
    return shapes_named<MemoryShape>(work.forward, "expert_padding");
  };
  EXPECT_TRUE(padding(mixtral_layer_model(), Precision::bf16).empty());
  // 8192 rows of 4096: filled up (read, write), stripped (read, write), 2 B each.
  EXPECT_EQ(padding(mixtral_layer_model(), Precision::mxfp8).at(0).traffic.base(), 4.0 * 8192 * 4096 * 2);
  ModelSpec fixed = mixtral_layer_model();
  fixed.moe->capacity_factor = 1.0;
  software.moe.pads_to_capacity = true;
  EXPECT_TRUE(padding(fixed, Precision::mxfp8).empty());
  software.moe_dispatcher = MoeDispatcher::hybridep;
  software.moe.padding_dispatchers = {MoeDispatcher::hybridep};
  EXPECT_TRUE(padding(mixtral_layer_model(), Precision::mxfp8).empty());
}

TEST(MoeLayer, CastsOfEachExpertAreKernelsOfTheirOwn) {
  SoftwareStack software = stack();
  software.quantize.forward.sharded = 2;
  TrainingSpec quantized = training(4096, 64);
  quantized.precision = Precision::mxfp8;
  const auto cast = [&] {
    const LayerWork work = transformer_layer_work(mixtral_layer_model(), quantized, software, experts_over(2),
                                                  LayerKind{.moe = true});
    return shapes_named<MemoryShape>(work.forward, "quantize").back();
  };
  const MemoryShape together = cast();
  EXPECT_EQ(together.launches, 1);
  software.moe.cast_kernels_per_expert = 2;
  EXPECT_EQ(cast().launches, 8);  // four experts on each of two ranks
  EXPECT_EQ(cast().traffic, together.traffic);
}

TEST(MoeLayer, FusedExpertsWriteTheirActivationFromTheProduct) {
  SoftwareStack software = stack();
  // One cast reads 2 B and writes 2 B an element; of a gated gradient twice that.
  software.quantize.forward.ffn_gated = 2;
  software.quantize.backward.ffn_gated = 4;
  TrainingSpec quantized = training(4096, 64);
  quantized.precision = Precision::mxfp8;
  const auto work = [&](const ModelSpec& model) {
    return transformer_layer_work(model, quantized, software, experts_over(2), LayerKind{.moe = true});
  };
  const size_t casts = shapes_named<MemoryShape>(work(mixtral_layer_model()).forward, "quantize").size();
  software.moe.fused_experts_multiple = 256;
  const LayerWork fused = work(mixtral_layer_model());
  EXPECT_TRUE(shapes_named<MemoryShape>(fused.forward, "expert_activation").empty());
  EXPECT_TRUE(shapes_named<MemoryShape>(fused.backward, "expert_activation").empty());
  EXPECT_EQ(shapes_named<MemoryShape>(fused.forward, "quantize").size(), casts - 1);
  // Of 2 x 14336 columns in 2 B each, and the cast activation of 14336 in 2 x 1 B: 3 B a column.
  EXPECT_EQ(shapes_named<GemmShape>(fused.forward, "expert_up_projection").at(0).output_bytes, 3.0);
  // Reads 2 x 2 B a column of the activation and writes 2 x 2 x 1 B.
  EXPECT_EQ(shapes_named<GemmShape>(fused.backward, "expert_down_dgrad").at(0).output_bytes, 8.0);
  ModelSpec odd = mixtral_layer_model();
  odd.moe->ffn_hidden = 14336 + 64;
  EXPECT_EQ(shapes_named<MemoryShape>(work(odd).forward, "expert_activation").size(), 1U);
  ModelSpec biased = mixtral_layer_model();
  biased.bias = biased.clamped_activation = true;
  software.moe.output_bias_passes_forward = software.moe.output_bias_passes_backward = 7;
  for (const LayerPass& pass : {work(biased).forward, work(biased).backward}) {
    EXPECT_TRUE(shapes_named<MemoryShape>(pass, "expert_activation").empty());
    EXPECT_TRUE(shapes_named<MemoryShape>(pass, "expert_output_bias").empty());
  }
  // What shall run again has to be a kernel of its own.
  quantized.recompute = Recompute::selective;
  quantized.recompute_modules = {"moe_act"};
  const LayerWork dropped = work(mixtral_layer_model());
  EXPECT_EQ(shapes_named<MemoryShape>(dropped.forward, "expert_activation").size(), 1U);
  EXPECT_EQ(shapes_named<MemoryShape>(dropped.recompute, "expert_activation").size(), 1U);
}

TEST(MoeLayer, ClampedInputsCostPassesBesideTheActivation) {
  SoftwareStack software = stack();
  software.forward_passes.ffn_clamp = 8;
  software.backward_passes.ffn_clamp = 10;
  ModelSpec clamped = mixtral_layer_model();
  clamped.clamped_activation = true;
  const LayerWork plain = mixture_work(mixtral_layer_model(), experts_over(2), software);
  const LayerWork work = mixture_work(clamped, experts_over(2), software);
  const auto activation = [](const LayerPass& pass) {
    return shapes_named<MemoryShape>(pass, "expert_activation").at(0).traffic.base();
  };
  // 8192 rows of 14336 in 2 B a pass.
  EXPECT_NEAR(activation(work.forward) - activation(plain.forward), 8.0 * 8192 * 14336 * 2, 1.0);
  EXPECT_NEAR(activation(work.backward) - activation(plain.backward), 10.0 * 8192 * 14336 * 2, 1.0);
}

TEST(MoeLayer, SlicesOfExpertsAndOfTokens) {
  // Tensor 2 with sequence parallelism: a rank routes 2048 tokens; expert tensor 2: it gathers its partner's.
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(4, 2, 2));
  EXPECT_EQ(shapes_named<GemmShape>(work.forward, "expert_up_projection").at(0),
            (GemmShape{4096, 14336, 4096, 2, Precision::bf16, 2, true, true}));
  const LayerCommunication dispatch = calls_named(work.forward, "expert dispatch").at(0);
  EXPECT_EQ(dispatch.payload.base(), 2048.0 * 2 * 4096 * 2);
  EXPECT_EQ(dispatch.op, CollectiveOp::all_to_all);
  EXPECT_EQ(dispatch.members, Members::expert);
  const LayerCommunication gather = calls_named(work.forward, "expert all_gather").at(0);
  EXPECT_EQ(gather.payload.base(), 2 * 2048.0 * 2 * 4096 * 2);  // what both received
  EXPECT_EQ(gather.members, Members::expert_tensor);
  EXPECT_EQ(calls_named(work.forward, "expert reduce_scatter").at(0).payload.base(), gather.payload.base());
  EXPECT_EQ(calls_named(work.backward, "expert all_gather").at(0).payload.base(), gather.payload.base());
}

TEST(MoeLayer, ExchangesGoThereAndBackInBothPasses) {
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(8));
  const double copies = 4096.0 * 2 * 4096 * 2;  // tokens x top k x hidden x bytes
  for (const LayerPass* pass : {&work.forward, &work.backward}) {
    EXPECT_EQ(calls_named(*pass, "expert dispatch").at(0).payload.base(), copies);
    EXPECT_EQ(calls_named(*pass, "expert combine").at(0).payload.base(), copies);
  }
  // Counts of tokens: 8 B for each of 8 experts from each of 8 ranks, in the forward alone.
  EXPECT_EQ(calls_named(work.forward, "expert counts").at(0).payload.base(), 8.0 * 8 * 8);
  EXPECT_EQ(expert_bytes(work.forward) - 512, expert_bytes(work.backward));
  EXPECT_EQ(expert_bytes(mixture_work(mixtral_layer_model(), experts_over(1)).forward), 0.0);
}

TEST(MoeLayer, RoutingWeightsTravelWhereTheActivationsNeedThem) {
  SoftwareStack software = stack();
  software.moe.weights_in_activation = true;
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(8), software);
  EXPECT_EQ(calls_named(work.forward, "expert weights").at(0).payload.base(), 4096.0 * 2 * 4);
  EXPECT_EQ(calls_named(work.backward, "expert weights").at(0).payload.base(), 4096.0 * 2 * 4);
  // The outputs are no longer read for the weights' gradients: 8192 rows of 4096 in 2 B less.
  const auto unpermute = [](const LayerWork& layer) {
    return shapes_named<MemoryShape>(layer.backward, "unpermute").at(0).traffic.base();
  };
  EXPECT_EQ(unpermute(mixture_work(mixtral_layer_model(), experts_over(8))) - unpermute(work),
            8192.0 * 4096 * 2);
}

TEST(MoeLayer, AFixedCapacityNeedsNoCounts) {
  ModelSpec model = mixtral_layer_model();
  model.moe->capacity_factor = 1.0;
  SoftwareStack software = stack();
  EXPECT_EQ(calls_named(mixture_work(model, experts_over(8), software).forward, "expert counts").size(), 1U);
  software.moe.pads_to_capacity = true;
  EXPECT_TRUE(calls_named(mixture_work(model, experts_over(8), software).forward, "expert counts").empty());
}

TEST(MoeLayer, HybridEpGathersTheMapOfTokensAndExperts) {
  SoftwareStack software = stack();
  software.moe_dispatcher = MoeDispatcher::hybridep;
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(4), software);
  // One byte for each of 8 experts from 4096 tokens of each of 4 ranks.
  const LayerCommunication map = calls_named(work.forward, "expert routing map").at(0);
  EXPECT_EQ(map.payload.base(), 4.0 * 4096 * 8);
  EXPECT_EQ(map.op, CollectiveOp::all_gather);
  // It is read; 4 bytes a token and one for each of the rank's two experts are written, these read again.
  EXPECT_EQ(shapes_named<MemoryShape>(work.forward, "routing_metadata").at(0).traffic.base(),
            4.0 * 4096 * (8 + 4 + 2 * 2));
  EXPECT_TRUE(calls_named(work.backward, "expert routing map").empty());
  EXPECT_TRUE(calls_named(mixture_work(mixtral_layer_model(), experts_over(1), software).forward,
                          "expert routing map")
                  .empty());
  software.moe_dispatcher = MoeDispatcher::deepep;
  EXPECT_TRUE(calls_named(mixture_work(mixtral_layer_model(), experts_over(4), software).forward,
                          "expert routing map")
                  .empty());
}

TEST(MoeLayer, HybridEpSendsRoutingWeightsWithTheTokens) {
  SoftwareStack software = stack();
  const auto weights = [&software](bool forward, std::string_view name) {
    const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(4), software);
    return calls_named(forward ? work.forward : work.backward, name).at(0).exchange->weights.base();
  };
  software.moe_dispatcher = MoeDispatcher::hybridep;
  // 4 B for each of 8 experts of 4096 tokens: out in the forward, their gradients back in the backward.
  EXPECT_EQ(weights(true, "expert dispatch"), 4.0 * 8 * 4096);
  EXPECT_EQ(weights(true, "expert combine"), 0.0);
  EXPECT_EQ(weights(false, "expert dispatch"), 0.0);
  EXPECT_EQ(weights(false, "expert combine"), 4.0 * 8 * 4096);
  software.moe_dispatcher = MoeDispatcher::deepep;
  EXPECT_EQ(weights(true, "expert dispatch"), 0.0);
}

TEST(MoeLayer, KernelsOfTheirOwnSendATokenOncePerRank) {
  SoftwareStack software = stack();
  software.moe_dispatcher = MoeDispatcher::deepep;
  const LayerWork work = mixture_work(mixtral_layer_model(), experts_over(4, 2), software);
  const LayerCommunication dispatch = calls_named(work.forward, "expert dispatch").at(0);
  ASSERT_TRUE(dispatch.exchange.has_value());
  EXPECT_EQ(dispatch.members, Members::tensor_and_expert);
  EXPECT_EQ(dispatch.exchange->bytes.base(), 4096.0 * 4096 * 2);
  EXPECT_EQ(dispatch.exchange->top_k, 4);  // two slices of two experts
  EXPECT_EQ(dispatch.exchange->experts, 16);
  EXPECT_FALSE(dispatch.combines);
  EXPECT_TRUE(calls_named(work.forward, "expert combine").at(0).combines);
  EXPECT_TRUE(calls_named(work.forward, "expert all_gather").empty());
  EXPECT_TRUE(shapes_named<MemoryShape>(work.forward, "sort_by_expert").empty());
  // A rank holds 2 of the 16 slices; the probability that none of a token's 4 is among them is
  // C(14,4)/C(16,4) = 1001/1820, so of 8 ranks' tokens it gets 8 x (1 - 1001/1820).
  const double received = 4096.0 * 8 * (1.0 - 1001.0 / 1820.0);
  EXPECT_NEAR(shapes_named<MemoryShape>(work.forward, "permute").at(0).traffic.base(),
              (received + 16384) * 4096 * 2 + 4.0 * 16384, 1.0);
}

TEST(MoeLayer, OneExpertForAllIsTheDenseLayerButForItsRouting) {
  ModelSpec model = mixtral_layer_model();
  model.moe->experts = model.moe->top_k = 1;
  const LayerWork dense = transformer_layer_work(model, training(4096, 64), stack(), experts_over(1));
  const LayerWork one = mixture_work(model, experts_over(1));
  const double router = 2.0 * 4096 * 4096;
  EXPECT_EQ(gemm_flops(one.forward) - router, gemm_flops(dense.forward));
  EXPECT_EQ(gemm_flops(one.backward) - 2 * router, gemm_flops(dense.backward));
  EXPECT_EQ(communications_of(one.forward).size(), communications_of(dense.forward).size());
  // Permuting reads and writes the tokens, with an index for each; so does putting them back.
  const double moved = 2.0 * 4096 * 4096 * 2 + 4.0 * 4096;
  EXPECT_NEAR(memory_traffic(one.forward), memory_traffic(dense.forward) + 2 * moved, 1.0);
  // The backward also reads the outputs for the weights' gradients and adds the router's gradient to the
  // rest.
  EXPECT_NEAR(memory_traffic(one.backward),
              memory_traffic(dense.backward) + 2 * moved + (1 + 3) * 4096.0 * 4096 * 2, 1.0);
}

TEST(MoeLayer, MoreImbalanceIsNeverLessWork) {
  double flops = 0, bytes = 0;
  for (const double imbalance : {1.0, 1.1, 1.5, 3.0}) {
    ModelSpec model = mixtral_layer_model();
    model.moe->imbalance = imbalance;
    const LayerWork work = mixture_work(model, experts_over(8));
    EXPECT_GT(gemm_flops(work.forward), flops);
    EXPECT_GT(expert_bytes(work.forward), bytes);
    flops = gemm_flops(work.forward);
    bytes = expert_bytes(work.forward);
  }
}

TEST(MoeLayer, SharedExpertsAreADenseBlockOverTheTensorRanks) {
  ModelSpec model = mixtral_layer_model();
  model.moe->shared_experts = 1;
  model.moe->shared_ffn_hidden = 2048;
  const LayerWork work = mixture_work(model, experts_over(4, 1, 2));
  EXPECT_EQ(shapes_named<GemmShape>(work.forward, "shared_up_projection").at(0),
            (GemmShape{4096, 2048, 4096, 1, Precision::bf16, 2, true, false}));
  EXPECT_EQ(shapes_named<GemmShape>(work.forward, "shared_down_projection").at(0),
            (GemmShape{4096, 4096, 1024, 1, Precision::bf16, 2, true, false}));
  // Their block gathers and reduces over the tensor group as attention does.
  const auto tensor = [](const LayerPass& pass) {
    const auto all = communications_of(pass);
    return std::count_if(all.begin(), all.end(),
                         [](const LayerCommunication& c) { return c.group == GroupKind::tensor; });
  };
  EXPECT_EQ(tensor(work.forward), 4);
}

TEST(MoeLayer, RecomputesItsModules) {
  TrainingSpec spec = training(4096, 64);
  spec.recompute = Recompute::selective;
  spec.recompute_modules = {"moe"};
  const LayerWork whole = mixture_work(mixtral_layer_model(), experts_over(8), stack(), spec);
  EXPECT_EQ(expert_bytes(whole.recompute), expert_bytes(whole.forward));
  EXPECT_EQ(whole.recompute.experts, 1);
  EXPECT_TRUE(shapes_named<GemmShape>(whole.recompute, "qkv_projection").empty());
  EXPECT_EQ(shapes_named<GemmShape>(whole.recompute, "expert_down_projection").size(), 1U);
  spec.recompute_modules = {"moe_act"};
  const LayerWork activation = mixture_work(mixtral_layer_model(), experts_over(8), stack(), spec);
  ASSERT_EQ(activation.recompute.items.size(), 1U);
  EXPECT_EQ(std::get<Operator>(activation.recompute.items.front()).name, "expert_activation");
  EXPECT_EQ(activation.recompute.experts, 0);
  // A dense layer of the same model has neither.
  EXPECT_TRUE(
      transformer_layer_work(mixtral_layer_model(), spec, stack(), experts_over(8)).recompute.items.empty());
}

TEST(MoeFlops, OfAStepCountActiveParametersAndTheRouter) {
  // 6 FLOPs for each active weight of a product and token, and attention in full.
  const ModelSpec model = mixtral_layer_model();
  const TrainingSpec spec = training(4096, 64);
  const double tokens = 4096.0 * 64;
  const double attention = 4096.0 * (4096 + 2 * 1024 + 4096);
  const double experts = 2.0 * 3 * 4096 * 14336 + 4096 * 8;
  const double weights = 32 * (attention + experts) + 4096.0 * 32000;
  ParallelPlan degrees = experts_over(8);
  degrees.stage_layers = {32};
  EXPECT_NEAR(step_flops(model, spec, degrees).model.base(),
              tokens * (6 * weights + 3.0 * 4 * 4096 * 4096 * 32), 1e-9 * tokens * 6 * weights);
}

TEST(MoeMemory, KeepsTheRowsOfTheExperts) {
  // 8192 rows of one expert: its input (4096), both halves of its first product (28672), its activation
  // (14336) and its output (4096, for the weights' gradients) in 2 B, a weight in 4 B; 17 B for each of 4096
  // x 8 router entries.
  const ModelSpec model = mixtral_layer_model();
  const TrainingSpec spec = training(4096, 64);
  const double rows = 8192.0 * (2.0 * (4096 + 28672 + 14336 + 4096) + 4);
  EXPECT_EQ(moe_kept_bytes(model, spec, stack(), experts_over(8), false), rows + 17.0 * 4096 * 8);
  SoftwareStack software = stack();
  software.moe.weights_in_activation = true;
  EXPECT_EQ(moe_kept_bytes(model, spec, software, experts_over(8), false),
            rows - 8192.0 * 8192 + 17.0 * 4096 * 8);
  TrainingSpec recomputing = spec;
  recomputing.recompute = Recompute::selective;
  recomputing.recompute_modules = {"moe_act"};
  EXPECT_EQ(moe_kept_bytes(model, recomputing, stack(), experts_over(8), true),
            rows - 8192.0 * 28672 + 17.0 * 4096 * 8);
  recomputing.recompute_modules = {"moe"};
  EXPECT_EQ(moe_kept_bytes(model, recomputing, stack(), experts_over(8), true), 0.0);
}

TEST(MoeMemory, ShardsExpertsOverTheRanksThatShareThem) {
  // Expert 4 of 16 ranks: four ranks hold the same experts, sixteen everything else.
  const ModelSpec model = mixtral_layer_model();
  TrainingSpec spec = training(4096, 64);
  ParallelPlan degrees = experts_over(4);
  degrees.data = 16;
  degrees.shard_group = 16;
  degrees.zero = 1;
  degrees.stage_layers = {32};
  const SoftwareStack software = stack();
  const MemoryUse use = memory_use(model, spec, software, degrees, Bytes(0));
  const double experts = 32 * moe_parameters_per_rank(model, degrees).experts;
  const double all = 32 * layer_parameters_per_rank(model, degrees, kMixture) +
                     embedding_parameters_per_rank(model, spec, degrees) +
                     head_parameters_per_rank(model, degrees);
  EXPECT_EQ(use.parameters.base(), 2 * all);
  EXPECT_NEAR(use.optimizer.base(), 12 * ((all - experts) / 16 + experts / 4), 1.0);
}

}  // namespace
}  // namespace orrery
