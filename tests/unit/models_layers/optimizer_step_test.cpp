#include "models/optimizer_step.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

TrainingSpec with(Optimizer optimizer) {
  TrainingSpec spec = training(2048, 8);
  spec.optimizer = optimizer;
  return spec;
}

TEST(OptimizerStep, AdafactorMovesTheUpdateInsteadOfTheStates) {
  // Gradient read twice 8, update written and read twice 12, weight read twice and written 12, 16-bit
  // weight 2.
  EXPECT_EQ(optimizer_traffic(Optimizer::adafactor, Precision::bf16), 34);
  // A row and a column in fp32 of each matrix of 8 x 6 and of two of 4 x 6.
  EXPECT_EQ(factored_moment_bytes({{8, 6, 1}, {4, 6, 2}}), 4 * (14 + 20));
}

TEST(OptimizerStep, NarrowStorageMovesItsOwnBytes) {
  const auto traffic = [](StateDtype states, MasterWeights master) {
    return optimizer_traffic(Optimizer::adam, Precision::bf16, {states, master});
  };
  // Gradient 4; two states read and written; master read and written, weight written (and read, where it is
  // half of the master or all there is).
  EXPECT_EQ(traffic(StateDtype::fp32, MasterWeights::fp32), 4 + 16 + 8 + 2);
  EXPECT_EQ(traffic(StateDtype::bf16, MasterWeights::fp32), 4 + 8 + 8 + 2);
  EXPECT_EQ(traffic(StateDtype::fp32, MasterWeights::remainder), 4 + 16 + 4 + 4);
  EXPECT_EQ(traffic(StateDtype::bf16, MasterWeights::bf16), 4 + 8 + 4 + 2);
  EXPECT_EQ(traffic(StateDtype::fp8, MasterWeights::none), 4 + 4 + 4);
  // Copied to fp32 and back (Transformer Engine): each bf16 state read 2 and written 4, read and written 4,
  // read 4 and written 2.
  EXPECT_EQ(
      optimizer_traffic(Optimizer::adam, Precision::bf16, {StateDtype::bf16, MasterWeights::fp32}, true),
      4 + 2 * (6 + 8 + 6) + 8 + 2);
  EXPECT_EQ(optimizer_traffic(Optimizer::adam, Precision::bf16, {}, true), 4 + 16 + 8 + 2);
  // The stack counts 45 bytes for Adam's 30.
  SoftwareStack software = stack();
  software.optimizer_bytes_per_parameter = 45;
  TrainingSpec narrow = with(Optimizer::adam);
  narrow.optimizer_storage = {StateDtype::bf16, MasterWeights::none};
  OptimizerLoad load;
  load.updated = load.resident = 1e6;
  const LayerPass pass = optimizer_pass(narrow, software, plan(1), load);
  EXPECT_DOUBLE_EQ(shapes_named<MemoryShape>(pass, "optimizer_update").at(0).traffic.base(), 45e6 * 16 / 30);
}

TEST(OptimizerStep, NarrowStorageTakesItsOwnBytes) {
  const auto bytes = [](Precision precision, StateDtype states, MasterWeights master) {
    return optimizer_bytes(Optimizer::adamw, precision, {states, master}).all();
  };
  EXPECT_EQ(bytes(Precision::bf16, StateDtype::fp32, MasterWeights::fp32), 12);
  EXPECT_EQ(bytes(Precision::bf16, StateDtype::fp32, MasterWeights::remainder), 10);
  EXPECT_EQ(bytes(Precision::fp8, StateDtype::bf16, MasterWeights::bf16), 6);
  EXPECT_EQ(bytes(Precision::bf16, StateDtype::bf16, MasterWeights::none), 4);
  EXPECT_EQ(bytes(Precision::bf16, StateDtype::fp8, MasterWeights::fp32), 6);
  EXPECT_EQ(bytes(Precision::fp32, StateDtype::fp32, MasterWeights::fp32), 8);  // the weights are fp32
}

TEST(OptimizerStep, MatricesOfALayerAreThoseOfItsProducts) {
  // Llama 3 70B on tensor 2: queries 4096 rows, keys and values 512 each, gate with up 28672, 8192 wide.
  double parameters = 0;
  for (const WeightMatrices& each : layer_matrices_per_rank(llama3_70b(), plan(2)))
    parameters += each.parameters();
  EXPECT_EQ(parameters, 8192.0 * (4096 + 2 * 512 + 4096 + 28672 + 14336));
  EXPECT_EQ(parameters, layer_matrix_parameters_per_rank(llama3_70b(), plan(2)));
}

TEST(OptimizerStep, MuonOrthogonalisesWholeMatrices) {
  // Two matrices of 1000 x 3000, five iterations: 2 x 5 x (4 m m n + 2 m m m) FLOPs with m 1000, n 3000.
  OptimizerLoad load;
  load.updated = load.resident = 7e6;
  load.matrices = {{1000, 3000, 1}, {3000, 1000, 1}};
  const LayerPass pass = optimizer_pass(with(Optimizer::muon), stack(), plan(1), load);
  EXPECT_DOUBLE_EQ(gemm_flops(pass), 2 * 5 * (4e6 * 3000 + 2e9));
  EXPECT_TRUE(communications_of(pass).empty());
  // 6 M parameters: gradient 4, momentum 8, weight 8 + 2, 16-bit momentum out and in 4, and 6 of the
  // iteration's scaling; the other million as Adam, 30.
  EXPECT_DOUBLE_EQ(shapes_named<MemoryShape>(pass, "muon_update").at(0).traffic.base(), 6e6 * (26 + 6));
  EXPECT_DOUBLE_EQ(shapes_named<MemoryShape>(pass, "optimizer_update").at(0).traffic.base(), 1e6 * 30);
}

TEST(OptimizerStep, MuonGathersTheMomentumThatItsShardLacks) {
  OptimizerLoad load;
  load.resident = 8e6;
  load.updated = 2e6;
  load.shards = 4;
  load.matrices = {{1000, 1000, 8}};
  ParallelPlan degrees = plan(1);
  degrees.zero = 1;
  const LayerPass pass = optimizer_pass(with(Optimizer::muon), stack(), degrees, load);
  ASSERT_EQ(communications_of(pass).size(), 1U);
  EXPECT_EQ(communications_of(pass).at(0).group, GroupKind::data);
  EXPECT_EQ(communications_of(pass).at(0).payload, Bytes(2 * 8e6));  // 16 bits of every matrix
  EXPECT_DOUBLE_EQ(gemm_flops(pass), 2 * 5 * 6e9);                   // two of the eight matrices
}

TEST(OptimizerStep, GatheredParametersAreCopiedByTensorAndRank) {
  OptimizerLoad load;
  load.resident = 8e6;
  load.updated = 2e6;
  load.shards = 4;
  load.layers = 5;
  SoftwareStack software = stack();
  software.sharding.gather_copies_per_layer = 6;
  software.sharding.gather_copy_bytes = 12;
  ParallelPlan degrees = plan(1);
  const auto copies = [&] {
    return shapes_named<MemoryShape>(optimizer_pass(with(Optimizer::adamw), software, degrees, load),
                                     "place_gathered_parameters");
  };
  EXPECT_TRUE(copies().empty());  // nothing is gathered
  degrees.zero = 1;
  ASSERT_EQ(copies().size(), 1U);
  EXPECT_EQ(copies()[0].launches, 6 * 5 * 4);
  EXPECT_EQ(copies()[0].traffic, Bytes(12 * 8e6));
}

TEST(OptimizerStep, StatesOfMatrixOptimizers) {
  ParallelPlan degrees = plan(1);
  degrees.stage_layers = {80};
  const double n = parameter_count(llama3_70b(), 4096);
  const double matrices = 80 * layer_matrix_parameters_per_rank(llama3_70b(), degrees);
  const auto optimizer_bytes = [&](Optimizer optimizer) {
    TrainingSpec spec = with(optimizer);
    return memory_use(llama3_70b(), spec, stack(), degrees, Bytes()).optimizer.base();
  };
  EXPECT_DOUBLE_EQ(optimizer_bytes(Optimizer::adam), 12 * n);
  // Master and momentum 8; embedding, head and norms master and two moments.
  EXPECT_DOUBLE_EQ(optimizer_bytes(Optimizer::muon), 8 * matrices + 12 * (n - matrices));
  // Rows and columns: Q 8192 + 8192, K and V 1024 + 8192 each, output 16384, up 57344 + 8192, down 8192 +
  // 28672.
  const double factors = 80 * 4.0 * (16384 + 2 * 9216 + 16384 + 65536 + 36864);
  // Embedding and head are matrices, too; the 161 norms of 8192 keep a whole second moment.
  const double ends = n - 80 * (matrices / 80 + 2 * 8192.0);
  EXPECT_DOUBLE_EQ(optimizer_bytes(Optimizer::adafactor),
                   4 * n + factors + 4 * (ends / 8192 + 8192) + 4 * 80 * 2 * 8192.0);
}

TEST(Offload, FreesWhatGoesToTheHost) {
  ParallelPlan degrees = plan(1);
  degrees.stage_layers = {80};
  TrainingSpec spec = training(4096, 8);
  const auto use = [&] { return memory_use(llama3_70b(), spec, stack(), degrees, Bytes()); };
  const MemoryUse before = use();
  const double kept = layer_activation_bytes(llama3_70b(), spec, stack(), degrees, false).base();
  spec.offload.activations_layers = 20;
  EXPECT_NEAR((before.activations - use().activations).base() / (20 * kept), 1.0, 1e-12);
  EXPECT_NEAR((use().buffers - before.buffers).base() / (2 * kept), 1.0,
              1e-12);  // one on its way, one fetched
  spec.offload = {};
  spec.offload.optimizer = true;
  EXPECT_EQ(use().optimizer, Bytes());
  EXPECT_EQ(use().gradients, before.gradients);
}

TEST(StackMemory, PipelineBuffersReductionBucketsAndTheStepsCasts) {
  ParallelPlan degrees = plan(8);
  degrees.pipeline = 4;
  degrees.data = 2;
  degrees.zero = 1;
  degrees.stage_layers = {24, 24, 24, 24};
  SoftwareStack software = stack();
  const TrainingSpec spec = training(2048, 32);
  const MemoryUse plain = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  software.pipeline_buffers = 2;
  const MemoryUse bordered = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  // Four micro-batches in flight on the first stage, each with an input and an output of 2048 x 12288.
  EXPECT_DOUBLE_EQ((bordered.activations - plain.activations).base(), 4 * 2 * 2048.0 * 12288 * 2);
  software.scatter_gather_pipeline = true;  // each of the eight tensor ranks its slice
  const MemoryUse sliced = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  EXPECT_DOUBLE_EQ((sliced.activations - plain.activations).base(), 4 * 2 * 2048.0 * 12288 * 2 / 8);
  software = stack();
  software.reduction_buffers = 1;
  software.bucket_parameters = 5e8;
  software.step_buffer_bytes = 6;
  const MemoryUse buffered = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  const double parameters = plain.parameters.base() / 2;
  // The driver sees the step's buffers beside the activations' blocks; at one time there is only one of them.
  EXPECT_NEAR((buffered.reserved - plain.reserved).base(), 5e8 * 4 + 6 * parameters / 2, 1.0);
  const double step_beyond = std::max({0.0, 6 * parameters / 2, 5e8 * 4.0}) - plain.activations.base();
  EXPECT_NEAR((buffered.peak - plain.peak).base(), std::max(0.0, step_beyond), 1.0);
  // Gathers of at least 5e8 parameters, in the blocks of the step's buffers where those are larger.
  software.sharding.gather_buffer_bytes = 2;
  software.sharding.gather_bucket_parameters = 5e8;
  EXPECT_EQ(memory_use(gpt3_175b(), spec, software, degrees, Bytes()).reserved, buffered.reserved);
  software.step_buffer_bytes = software.reduction_buffers = 0;
  const MemoryUse gathered = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  EXPECT_NEAR((gathered.reserved - plain.reserved).base(), 2 * parameters / std::floor(parameters / 5e8),
              1.0);
}

TEST(StackMemory, TheEmbeddingKeepsItsMaskAndItsNormsInputInFlight) {
  // Korthikanti et al. 2022, section 4.3: a mask of s b h for each of p micro-batches; here p is 4. A norm's
  // input is of 16 bits, and its weight and bias are parameters of the first stage.
  ParallelPlan degrees = plan(8);
  degrees.pipeline = 4;
  degrees.stage_layers = {24, 24, 24, 24};
  const TrainingSpec spec = training(2048, 32);
  ModelSpec model = gpt3_175b();
  const double layer = layer_activation_bytes(model, spec, stack(), degrees, false).base();
  const auto use = [&] { return memory_use(model, spec, stack(), degrees, Bytes()); };
  const MemoryUse masked = use();
  // Four micro-batches of 24 layers with the masks of their own, and the embedding's.
  model.bias = false;
  model.norm = Norm::layernorm;
  const MemoryUse unmasked = use();
  const double unmasked_layer = layer_activation_bytes(model, spec, stack(), degrees, false).base();
  EXPECT_NEAR((masked.activations - unmasked.activations).base(),
              4 * (24 * (layer - unmasked_layer) + 2048.0 * 12288), 1.0);
  model.embedding_norm = true;
  EXPECT_DOUBLE_EQ((use().activations - unmasked.activations).base(), 4 * 2048.0 * 12288 * 2);
  EXPECT_DOUBLE_EQ((use().parameters - unmasked.parameters).base(), 2 * 2.0 * 12288);
}

TEST(StackMemory, GradientsThatABackwardLeavesUntilItsEnd) {
  // A sequence of 128 tokens: all gradients of a stage are more than what its layers keep of a micro-batch.
  ParallelPlan degrees = plan(8);
  degrees.stage_layers = {96};
  SoftwareStack software = stack();
  const TrainingSpec spec = training(128, 32);
  const MemoryUse plain = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  software.backward_gradient_bytes = 2;
  const MemoryUse with = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  EXPECT_NEAR(with.activations.base() / plain.parameters.base(), 1.0, 1e-12);  // 2 bytes a parameter, too
}

TEST(StackMemory, WithoutHooksNothingIsKeptBesideTheGradients) {
  ParallelPlan degrees = plan(8, true);
  degrees.stage_layers = {96};
  degrees.data = 4;
  SoftwareStack software = stack();
  software.kept_gradient_bytes = 2;
  software.sharding.hooks = false;
  software.sharding.gather_buffer_bytes = 3;
  const TrainingSpec spec = training(2048, 32);
  const auto use = [&] { return memory_use(gpt3_175b(), spec, software, degrees, Bytes()); };
  const double n = use().parameters.base() / 2;
  EXPECT_DOUBLE_EQ(use().gradients.base(), (4 + 2) * n);  // zero 0: buckets
  degrees.zero = 1;
  EXPECT_DOUBLE_EQ(use().gradients.base(), 4 * n);
  EXPECT_NEAR((use().reserved - use().peak).base(), std::min(3 * n, use().activations.base()), 1.0);
  degrees.zero = 0;
  degrees.data = 1;
  EXPECT_DOUBLE_EQ(use().gradients.base(), 4 * n);  // nothing to reduce
  // Two whole activations of 2048 tokens.
  const double without = use().buffers.base();
  software.gathered_buffers = 2;
  EXPECT_NEAR(use().buffers.base() - without, 2 * 2048.0 * 12288 * 2, 1.0);
  // A tensor group of one rank gathers nothing.
  degrees.tensor = 1;
  const Bytes gathering = use().peak;
  degrees.sequence = false;
  EXPECT_EQ(use().peak, gathering);
}

TEST(StackMemory, TheLogMayShowTheFirstStage) {
  // The last stage has all layers but one.
  ParallelPlan degrees = plan(8);
  degrees.pipeline = 2;
  degrees.stage_layers = {1, 95};
  SoftwareStack software = stack();
  const TrainingSpec spec = training(2048, 32);
  const auto use = [&] { return memory_use(gpt3_175b(), spec, software, degrees, Bytes()); };
  EXPECT_EQ(use().fullest_stage, 1);
  EXPECT_EQ(use().logged_peak, use().allocator_peak);
  software.logs_first_stage = true;
  EXPECT_NEAR(use().logged_peak.base(), (use().per_stage_peak[0] - software.context_memory).base(), 1.0);
  EXPECT_LT(use().logged_peak, use().allocator_peak);
  // The step flattens 16-bit gradients; its blocks lie beside those of the activations.
  software.logs_first_stage = false;
  software.step_buffer_bytes = 2;
  EXPECT_EQ(use().logged_peak, use().allocator_peak);
  software.logs_reserved = true;
  EXPECT_NEAR((use().logged_peak - use().reserved).base(), -software.context_memory.base(), 1.0);
}

TEST(StackMemory, AGatedActivationsInputInFp8) {
  // Twice the feed-forward width of 28672 over 8 ranks, a byte instead of two.
  const ModelSpec model = llama3_70b();
  ParallelPlan degrees = plan(8);
  SoftwareStack software = stack();
  const TrainingSpec spec = training(4096, 1);
  const double kept = layer_activation_bytes(model, spec, software, degrees, false).base();
  software.fp8_activation_input = true;
  const double fp8 = layer_activation_bytes(model, spec, software, degrees, false).base();
  EXPECT_DOUBLE_EQ(kept - fp8, 4096.0 * 2 * 28672 / 8);
}

TEST(StackMemory, TheLosssCopiesOfTheLogits) {
  // One layer of few tokens: the head's logits (51200 over 8 ranks) are the peak.
  ModelSpec model = gpt3_175b();
  model.layers = 1;
  ParallelPlan degrees = plan(8);
  degrees.stage_layers = {1};
  SoftwareStack software = stack();
  const TrainingSpec spec = training(131072, 1);
  software.loss_kept_bytes_per_logit = 80;
  const MemoryUse more = memory_use(model, spec, software, degrees, Bytes());
  software.loss_kept_bytes_per_logit = 60;
  const MemoryUse less = memory_use(model, spec, software, degrees, Bytes());
  EXPECT_DOUBLE_EQ((more.activations - less.activations).base(), 20.0 * 131072 * 51200 / 8);
}

TEST(StackMemory, GradientsBesideTheMainOnesAndTheirCasts) {
  ParallelPlan degrees = plan(8);
  degrees.stage_layers = {96};
  SoftwareStack software = stack();
  const TrainingSpec spec = training(128, 32);  // a short sequence: the cast outweighs a layer's working set
  const MemoryUse plain = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  software.kept_gradient_bytes = 2;
  const MemoryUse kept = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  EXPECT_DOUBLE_EQ((kept.gradients - plain.gradients).base(), plain.parameters.base());  // 2 bytes, too
  // The embedding of 51200 x 12288 over 8 ranks, in fp32, against what the last backward needs.
  software.gradient_cast_bytes = 4;
  const MemoryUse cast = memory_use(gpt3_175b(), spec, software, degrees, Bytes());
  const double live = 96 * layer_activation_bytes(gpt3_175b(), spec, software, degrees, false).base() +
                      128.0 * 12288;  // and the embedding's dropout mask
  EXPECT_NEAR(cast.activations.base(), live + 4.0 * 51200 * 12288 / 8, 1.0);
  // No block of an activation is as large: the driver sees the cast beside the working set that it outweighs.
  EXPECT_NEAR((cast.reserved - cast.peak).base(), kept.activations.base() - live, 1.0);
}

TEST(StackMemory, GatedActivationsKeptTwice) {
  SoftwareStack software = stack();
  const TrainingSpec spec = training(4096, 8);
  const auto kept = [&] {
    return layer_activation_bytes(llama3_70b(), spec, software, plan(2, true), false).base();
  };
  const double before = kept();
  software.gated_activation_bytes_extra = 2;
  EXPECT_DOUBLE_EQ(kept() - before, 2 * 4096.0 * 28672 / 2);
}

}  // namespace
}  // namespace orrery
