#include "models/memory.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "layer_fixtures.hpp"
#include "models/schedule.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

SoftwareStack unfused_stack() {
  SoftwareStack software = stack();
  software.attention_kernel = AttentionKernel::unfused;
  return software;
}

/// s b h of the 175B model of Korthikanti et al. 2022: s 2048, b 1, h 12288, a 96.
constexpr double kUnit = 2048.0 * 12288;
constexpr double kScores = 5 * 96.0 * 2048 / 12288;  // 5 a s / h = 80 (table 1 of the paper)

double activation(const SoftwareStack& software, const ParallelPlan& degrees,
                  Recompute recompute = Recompute::none) {
  TrainingSpec spec = training(2048, 64);
  spec.recompute = recompute;
  return layer_activation_bytes(gpt3_175b(), spec, software, degrees, recompute != Recompute::none).base();
}

TEST(ActivationMemory, TableTwoOfKorthikanti) {
  EXPECT_DOUBLE_EQ(activation(unfused_stack(), plan(1)), kUnit * (34 + kScores));
  EXPECT_DOUBLE_EQ(activation(unfused_stack(), plan(8)), kUnit * (10 + 24.0 / 8 + kScores / 8));
  EXPECT_DOUBLE_EQ(activation(unfused_stack(), plan(8, true)), kUnit / 8 * (34 + kScores));
  EXPECT_DOUBLE_EQ(activation(unfused_stack(), plan(8), Recompute::selective), kUnit * (10 + 24.0 / 8));
  EXPECT_DOUBLE_EQ(activation(unfused_stack(), plan(8, true), Recompute::selective), kUnit / 8 * 34);
  EXPECT_DOUBLE_EQ(activation(unfused_stack(), plan(8), Recompute::full), kUnit * 2);
}

TEST(ActivationMemory, FlashAttentionKeepsOneNumberARowInsteadOfTheScores) {
  // fp32 logsumexp for each of 96 heads and 2048 rows.
  EXPECT_DOUBLE_EQ(activation(stack(), plan(1)), kUnit * 34 + 4.0 * 96 * 2048);
}

TEST(ActivationMemory, GatedLayerWithoutDropoutCountsByOperator) {
  const double bytes =
      layer_activation_bytes(llama3_70b(), training(4096, 8), stack(), plan(1), false).base();
  // Bytes a token: two norm inputs and two product inputs of 8192, Q K V 10240, attention output 8192, gate
  // and up 2 x 28672, their product 28672, all in 16 bits; 64 logsumexps in fp32.
  const double token = 2.0 * (4 * 8192 + 10240 + 8192 + 3 * 28672) + 4 * 64;
  EXPECT_DOUBLE_EQ(bytes, 4096 * token);
}

TEST(ActivationMemory, ModulesThatRecomputeKeepOnlyTheirInput) {
  TrainingSpec spec = training(4096, 8);
  const double all = layer_activation_bytes(llama3_70b(), spec, stack(), plan(1), false).base();
  spec.recompute = Recompute::selective;
  const auto saved = [&](std::vector<std::string> modules) {
    spec.recompute_modules = std::move(modules);
    return all - layer_activation_bytes(llama3_70b(), spec, stack(), plan(1), true).base();
  };
  EXPECT_DOUBLE_EQ(saved({"core_attn"}), 0.0);  // flash has nothing to save
  EXPECT_DOUBLE_EQ(saved({"mlp"}), 4096.0 * 2 * 3 * 28672);
  EXPECT_DOUBLE_EQ(saved({"layernorm"}), 4096.0 * 2 * 2 * 8192);
}

TEST(MemoryUse, SplitsStatesByZeroLevel) {
  ParallelPlan degrees = plan(1);
  degrees.data = 8;
  degrees.stage_layers = {80};
  const double n = parameter_count(llama3_70b(), 4096);
  const auto use = [&](int zero) {
    degrees.zero = zero;
    return memory_use(llama3_70b(), training(4096, 8), stack(), degrees, Bytes());
  };
  // Rajbhandari et al. 2020, figure 1, with fp32 main gradients: 2 + 4 + 12 bytes a parameter.
  EXPECT_NEAR(use(0).parameters.base() / (2 * n), 1.0, 1e-12);
  EXPECT_NEAR(use(0).gradients.base() / (4 * n), 1.0, 1e-12);
  EXPECT_NEAR(use(0).optimizer.base() / (12 * n), 1.0, 1e-12);
  EXPECT_NEAR(use(1).optimizer.base() / (12 * n / 8), 1.0, 1e-12);
  EXPECT_NEAR(use(1).gradients.base() / (4 * n), 1.0, 1e-12);
  EXPECT_NEAR(use(2).gradients.base() / (4 * n / 8), 1.0, 1e-12);
  double previous = INFINITY;
  for (int zero = 0; zero <= 3; ++zero) {
    EXPECT_LT(use(zero).peak.base(), previous) << zero;
    previous = use(zero).peak.base();
  }
}

TEST(MemoryUse, ShardsOfTheProductsTypeStayBesideTheMasterWeightsWhereTheStackKeepsThem) {
  // Rajbhandari et al. 2020, figure 1: 2 + 2 + 12 bytes a parameter over the ranks; PyTorch's FSDP shards the
  // 12 and the gradients alone.
  ParallelPlan degrees = plan(1);
  degrees.data = 8;
  degrees.zero = 3;
  degrees.stage_layers = {80};
  const double n = parameter_count(llama3_70b(), 4096);
  TrainingSpec spec = training(4096, 8);
  spec.gradient_dtype = GradientDtype::fp16;
  const auto states = [&](bool keeps) {
    SoftwareStack software = stack();
    software.sharding.keeps_weight_shards = keeps;
    const MemoryUse use = memory_use(llama3_70b(), spec, software, degrees, Bytes());
    return (use.parameters + use.gradients + use.optimizer).base() * 8 / n;
  };
  EXPECT_NEAR(states(true), 16, 1e-9);
  EXPECT_NEAR(states(false), 14, 1e-9);
}

TEST(MemoryUse, GradientsThatAreReducedOnceWithAPipelineStayWhole) {
  // fp32 gradients: 4 bytes a parameter of the stage until the last backward, or a share of 8 ranks.
  ParallelPlan degrees = plan(1);
  degrees.pipeline = 2;
  degrees.data = 8;
  degrees.zero = 2;
  degrees.stage_layers = {40, 40};
  SoftwareStack software = stack();
  const auto gradients = [&](bool once) {
    software.sharding.reduces_once_with_pipeline = once;
    return memory_use(llama3_70b(), training(4096, 16), software, degrees, Bytes()).gradients.base();
  };
  const double whole = 4.0 * parameter_count(llama3_70b(), 4096) / 2;
  EXPECT_NEAR(gradients(true) / whole, 1.0, 1e-6);  // the ends differ by the final norm
  EXPECT_NEAR(gradients(true) / gradients(false), 8.0, 1e-9);
  const double once = gradients(true);
  degrees.zero = 3;
  EXPECT_EQ(gradients(true), once);
}

TEST(MemoryUse, StatesFollowPrecisionAndOptimizer) {
  ParallelPlan degrees = plan(1);
  degrees.stage_layers = {80};
  const double n = parameter_count(llama3_70b(), 4096);
  TrainingSpec spec = training(4096, 8);
  const auto state = [&] {
    const MemoryUse use = memory_use(llama3_70b(), spec, stack(), degrees, Bytes());
    return (use.parameters + use.gradients + use.optimizer).base() / n;
  };
  spec.precision = Precision::tf32;
  EXPECT_NEAR(state(), 4 + 4 + 8, 1e-9);
  spec.precision = Precision::fp8;
  EXPECT_NEAR(state(), 2 + 4 + 12, 1e-9);
  spec.gradient_dtype = GradientDtype::bf16;
  EXPECT_NEAR(state(), 2 + 2 + 12, 1e-9);
  spec.optimizer = Optimizer::sgd;
  EXPECT_NEAR(state(), 2 + 2 + 4, 1e-9);
}

TEST(MemoryUse, FirstStageOf1F1BHoldsOneMicroBatchForEveryStage) {
  // 16 micro-batches on 4 stages of 24 equal layers: stage s keeps 4 - s of them.
  ParallelPlan degrees = plan(8);
  degrees.pipeline = 4;
  degrees.stage_layers = {24, 24, 24, 24};
  const TrainingSpec spec = training(2048, 16);
  const MemoryUse use = memory_use(gpt3_175b(), spec, unfused_stack(), degrees, Bytes());
  ASSERT_EQ(use.per_stage_peak.size(), 4U);
  const double kept = 24 * activation(unfused_stack(), plan(8));
  EXPECT_NEAR((use.per_stage_peak[1] - use.per_stage_peak[2]).base() / kept, 1.0, 1e-9);
  EXPECT_EQ(use.fullest_stage, 0);
  EXPECT_EQ(use.peak, use.per_stage_peak[0]);
}

TEST(MemoryUse, LongerRunsHoldNoMore) {
  // The peak of 1F1B and of the interleaved schedule does not depend on the number of micro-batches beyond
  // the warm-up.
  for (const int chunks : {1, 3}) {
    ParallelPlan degrees = plan(8);
    degrees.pipeline = 4;
    degrees.interleave = chunks;
    degrees.schedule = chunks == 1 ? ScheduleKind::one_f_one_b : ScheduleKind::interleaved;
    const int virtual_stages = 4 * chunks;
    degrees.stage_layers.assign(static_cast<size_t>(virtual_stages), 96 / virtual_stages);
    const auto peak = [&](std::int64_t micro_batches) {
      return memory_use(gpt3_175b(), training(2048, micro_batches), stack(), degrees, Bytes()).peak;
    };
    EXPECT_EQ(peak(16), peak(64));
    const Schedule schedule = make_schedule(degrees.schedule, 4, chunks, 64);
    const MemoryUse use = memory_use(gpt3_175b(), training(2048, 64), unfused_stack(), degrees, Bytes());
    const double chunk = 96.0 / (4 * chunks) * activation(unfused_stack(), plan(8));
    const auto difference = peak_in_flight(schedule, 1) - peak_in_flight(schedule, 2);
    EXPECT_NEAR(
        (use.per_stage_peak[1] - use.per_stage_peak[2]).base() / (static_cast<double>(difference) * chunk),
        1.0, 1e-9);
  }
}

TEST(MemoryUse, RecomputationSavesAndItsPartsAddUp) {
  ParallelPlan degrees = plan(8);
  degrees.stage_layers = {96};
  TrainingSpec spec = training(2048, 16);
  SoftwareStack software = unfused_stack();
  software.framework_memory = gibibytes(1);
  software.context_memory = gibibytes(0.5);
  double previous = INFINITY;
  for (const Recompute kind : {Recompute::none, Recompute::selective, Recompute::full}) {
    spec.recompute = kind;
    const MemoryUse use = memory_use(gpt3_175b(), spec, software, degrees, gibibytes(2));
    EXPECT_LT(use.peak.base(), previous);
    previous = use.peak.base();
    const Bytes sum = use.parameters + use.gradients + use.optimizer + use.activations + use.buffers;
    EXPECT_DOUBLE_EQ(sum.base(), use.allocator_peak.base());
    EXPECT_DOUBLE_EQ((use.peak - use.allocator_peak).base(), gibibytes(2.5).base());
  }
}

TEST(MemoryUse, LayersThatRecomputeCountInEachOfTheChainsOfDualPipe) {
  // 4 ranks hold two stages of 8 layers each. At most PP + 1 = 5 micro-batches are in flight on a rank
  // (DeepSeek-AI 2024, table 2), each with the 8 layers of its own chain: 3 of them that recompute more keep
  // their input instead of all. With all 8 the peak is that of what waits for its weight gradients.
  ParallelPlan degrees = plan(8);
  degrees.pipeline = 4;
  degrees.schedule = ScheduleKind::dualpipe;
  degrees.stage_layers = {8, 8, 8, 8};
  ModelSpec model = gpt3_175b();
  model.layers = 32;
  TrainingSpec spec = training(2048, 16);
  spec.recompute = Recompute::full;
  const auto activations = [&](int layers) {
    spec.recompute_layers = layers;
    return memory_use(model, spec, unfused_stack(), degrees, Bytes()).activations.base();
  };
  const double dropped = kUnit * (10 + 24.0 / 8 + kScores / 8 - 2);
  EXPECT_NEAR((activations(1) - activations(4)) / (5 * 3 * dropped), 1.0, 1e-9);
  EXPECT_EQ(activations(8), activations(-1));
}

struct MeasuredPeak {
  const char* id;
  int layers;
  bool large;  ///< Llama 3.1 405B's dimensions, else Llama 3 70B's
  std::int64_t vocab, seq_length;
  int tensor, pipeline, context, data;
  double peak_bytes;
};

/// Allocator peaks of Megatron-core with Transformer Engine on one B200 node, SimuMax's published runs
/// (runs.jsonl of the project, by id; of runs that differ in the number of micro-batches only, one).
TEST(MemoryUse, PredictsTheMeasuredPeaksOfDenseModels) {
  const std::vector<MeasuredPeak> rows = {
      {"simumax-b200-llama3_70b_l12_tp1_pp2_dp4_mbc4_cef", 12, false, 128256, 4096, 1, 2, 1, 4,
       71457518387.0},
      {"simumax-b200-llama3_70b_tp2_pp1_dp4_l12_mbc8_cef", 12, false, 128256, 4096, 2, 1, 1, 4,
       65154653880.0},
      {"simumax-b200-llama3_70b_l12_tp4_pp1_dp2_mbc4_cef", 12, false, 128512, 4096, 4, 1, 1, 2,
       41951093064.0},
      {"simumax-b200-llama3_70b_l12_tp8_pp1_dp1_mbc4_cef", 12, false, 129024, 4096, 8, 1, 1, 1,
       30376156201.0},
      {"simumax-b200-llama3_405b_l4_tp1_pp2_dp4_mbc4_cef", 4, true, 128256, 4096, 1, 2, 1, 4, 93501438034.0},
      {"simumax-b200-llama3_405b_l4_tp2_pp1_dp4_mbc8_cef", 4, true, 128256, 4096, 2, 1, 1, 4, 87606595420.0},
      {"simumax-b200-llama3_405b_l4_tp4_pp1_dp2_mbc4_cef", 4, true, 128512, 4096, 4, 1, 1, 2, 56790205071.0},
      {"simumax-b200-llama3_405b_l4_tp8_pp1_dp1_mbc4_cef", 4, true, 129024, 4096, 8, 1, 1, 1, 41414222152.0},
      {"simumax-b200-llama3_70b_l12_tp2_cp4_pp1_dp1_seq32768_mbc4_cef", 12, false, 128256, 32768, 2, 1, 4, 1,
       73476153016.0},
      {"simumax-b200-llama3_70b_l12_tp1_cp8_pp1_dp1_seq32768_mbc4_cef", 12, false, 128256, 32768, 1, 1, 8, 1,
       112216758026.0},
      {"simumax-b200-llama3_405b_l4_tp2_cp4_pp1_dp1_seq32768_mbc4_cef", 4, true, 128256, 32768, 2, 1, 4, 1,
       93447750943.0},
      {"simumax-b200-llama3_405b_l4_tp1_cp8_pp1_dp1_seq32768_mbc4_cef", 4, true, 128256, 32768, 1, 1, 8, 1,
       149486336737.0},
      {"simumax-b200-llama3_70b_l12_tp2_cp4_pp1_dp1_seq131072_mbc4_cef", 12, false, 128256, 131072, 2, 1, 4,
       1, 120978491310.0},
      {"simumax-b200-llama3_70b_l12_tp1_cp8_pp1_dp1_seq131072_mbc4_cef", 12, false, 128256, 131072, 1, 1, 8,
       1, 158903052534.0},
  };
  SoftwareStack software = stack();
  software.attention_kernel = AttentionKernel::cudnn;
  double error_sum = 0;
  for (const MeasuredPeak& row : rows) {
    ModelSpec model = row.large ? llama3(row.layers, 16384, 128, 53248) : llama3(row.layers, 8192, 64, 28672);
    if (row.large) model.kv_heads = 16;  // as these runs did
    model.vocab = row.vocab;
    ParallelPlan degrees = plan(row.tensor, row.tensor > 1);
    degrees.pipeline = row.pipeline;
    degrees.context = row.context;
    degrees.data = row.data;
    degrees.zero = 1;
    degrees.stage_layers.assign(static_cast<size_t>(row.pipeline), row.layers / row.pipeline);
    const TrainingSpec spec = training(row.seq_length, std::int64_t{4} * row.data);
    const double predicted = memory_use(model, spec, software, degrees, Bytes()).allocator_peak.base();
    const double error = predicted / row.peak_bytes - 1.0;
    error_sum += std::abs(error);
    RecordProperty(row.id, std::to_string(error));
    EXPECT_LT(std::abs(error), 0.05) << row.id << " predicted " << predicted << " measured "
                                     << row.peak_bytes;
  }
  EXPECT_LT(error_sum / static_cast<double>(rows.size()), 0.02);
}

}  // namespace
}  // namespace orrery
