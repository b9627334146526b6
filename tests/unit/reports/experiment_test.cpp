#include "reports/experiment/experiment.hpp"

#include <gtest/gtest.h>

#include "reports/experiment/measured_run.hpp"
#include "reports/experiment/resolved.hpp"
#include "reports/experiment/settings.hpp"

namespace orrery {
namespace {

Json small_experiment() {
  return Json::parse(R"({
    "name": "small",
    "cluster": {"preset": "dgx-a100-80gb", "gpus": 8},
    "model": "gpt3-1.7b",
    "training": {"seq_length": 2048, "global_batch": 64, "micro_batch": 2},
    "parallel": {"tensor": 2}
  })");
}

TEST(Settings, TurnAPresetsNameIntoAnObject) {
  Json document = small_experiment();
  apply_setting(document, "model.layers=12");
  EXPECT_EQ(document["model"], (Json{{"preset", "gpt3-1.7b"}, {"layers", 12}}));
}

TEST(Settings, TurnARecomputeKindIntoAnObject) {
  Json document = small_experiment();
  apply_setting(document, "training.recompute=full");
  apply_setting(document, "training.recompute.layers=4");
  EXPECT_EQ(document["training"]["recompute"], (Json{{"kind", "full"}, {"layers", 4}}));
}

TEST(Settings, TurnAnOptimizersNameIntoAnObject) {
  Json document = small_experiment();
  apply_setting(document, "training.optimizer.state_dtype=bf16");
  EXPECT_EQ(document["training"]["optimizer"], (Json{{"state_dtype", "bf16"}}));
  apply_setting(document, "training.optimizer=adamw");
  apply_setting(document, "training.optimizer.state_dtype=bf16");
  EXPECT_EQ(document["training"]["optimizer"], (Json{{"kind", "adamw"}, {"state_dtype", "bf16"}}));
}

TEST(Settings, ReadJsonElseText) {
  Json document = Json::object();
  apply_setting(document, "a.number=4");
  apply_setting(document, "a.text=400 Gb/s");
  apply_setting(document, "a.flag=true");
  apply_setting(document, "a.quoted=\"4\"");
  EXPECT_EQ(document["a"], (Json{{"number", 4}, {"text", "400 Gb/s"}, {"flag", true}, {"quoted", "4"}}));
}

TEST(Settings, NeedAnEqualsSign) {
  Json document = Json::object();
  try {
    apply_setting(document, "training.recompute");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(error.problems().front().line(),
              "--set: found \"training.recompute\", expected path.to.key=value");
  }
}

TEST(MeasuredStepTime, FollowsFromEachRate) {
  // 8 GPUs, 1.6e6 tokens, 8e15 model and 1e16 hardware FLOPs a step, peak 8 x 1e15.
  const StepWork work{1.6e6, 8e15, 1e16, 8e15, 8};
  MeasuredRun run;
  EXPECT_FALSE(measured_step_time(run, work).has_value());
  run.mfu = 0.5;  // 8e15 / (0.5 * 8e15)
  EXPECT_DOUBLE_EQ(measured_step_time(run, work)->base(), 2.0);
  run.hardware_tflops_per_gpu = 500;  // 1e16 / (8 * 5e14)
  EXPECT_DOUBLE_EQ(measured_step_time(run, work)->base(), 2.5);
  run.model_tflops_per_gpu = 250;  // 8e15 / (8 * 2.5e14)
  EXPECT_DOUBLE_EQ(measured_step_time(run, work)->base(), 4.0);
  run.tokens_per_s_per_gpu = 1e5;  // 1.6e6 / 8e5
  EXPECT_DOUBLE_EQ(measured_step_time(run, work)->base(), 2.0);
  run.step_time = seconds(3.0);
  EXPECT_DOUBLE_EQ(measured_step_time(run, work)->base(), 3.0);
}

TEST(Experiment, IsCompletedFromPresetsAndDefaults) {
  const Experiment experiment = read_experiment(small_experiment(), "small.json");
  EXPECT_EQ(experiment.device.name, "a100-sxm4-80gb");
  EXPECT_EQ(experiment.shape.gpus, 8);
  EXPECT_EQ(experiment.parallel.data, 4);  // 8 GPUs / tensor 2
  EXPECT_EQ(experiment.training.precision, Precision::bf16);
  EXPECT_EQ(experiment.software.name, "megatron-core");
}

TEST(Experiment, ReportsAllIndependentProblemsAtOnce) {
  Json document = small_experiment();
  document["training"]["micro_batch"] = 2.0;
  document["parallel"]["tensr"] = 2;
  document["colour"] = "red";
  try {
    read_experiment(document, "small.json");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    ASSERT_EQ(error.problems().size(), 3U);
    EXPECT_EQ(error.problems()[0].pointer, "/colour");
    EXPECT_EQ(error.problems()[1].pointer, "/training/micro_batch");
    EXPECT_EQ(error.problems()[2].pointer, "/parallel/tensr");
  }
}

/// Lines about a plan of tensor 3 beside something else that is wrong.
std::vector<std::string> lines_about_tensor(Json document) {
  document["parallel"]["tensor"] = 3;
  std::vector<std::string> lines;
  try {
    read_experiment(document, "small.json");
  } catch (const InputError& error) {
    for (const InputProblem& problem : error.problems()) {
      if (problem.line().find("tensor") != std::string::npos) lines.push_back(problem.line());
    }
  }
  return lines;
}

TEST(Experiment, ChecksThePlanBesideABadFabricOrPrecision) {
  Json document = small_experiment();
  document["model"] = "llama3-8b";
  const std::vector<std::string> alone = lines_about_tensor(document);
  // 8 GPUs, 32 heads, hidden 4096, ffn_hidden 14336, 8 kv_heads: three divides none.
  ASSERT_EQ(alone.size(), 5U);
  Json fabric = document;
  fabric["cluster"]["fabric"] = {{"kind", "torus"}, {"dimensions", {3, 5}}};
  EXPECT_EQ(lines_about_tensor(fabric), alone);
  Json precision = document;
  precision["training"]["precision"] = "fp9";
  EXPECT_EQ(lines_about_tensor(precision), alone);
}

TEST(Experiment, RefusesAPrecisionThatTheGpuLacks) {
  Json document = small_experiment();
  document["training"]["precision"] = "fp8";
  try {
    read_experiment(document, "small.json");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(error.problems().front().line(),
              "small.json: /training/precision: found \"fp8\", expected a precision that a100-sxm4-80gb has "
              "matrix units for: fp32, tf32, fp16 or bf16; the nearest is bf16");
  }
}

TEST(Resolved, NamesTheOriginOfEachValue) {
  const ResolvedExperiment resolved = resolve(read_experiment(small_experiment(), "small.json"));
  EXPECT_EQ(resolved.origins["/name"], "given");
  EXPECT_EQ(resolved.origins["/training/seq_length"], "given");
  EXPECT_EQ(resolved.origins["/training/precision"], "default");
  EXPECT_EQ(resolved.origins["/model/hidden"], "preset gpt3-1.7b");
  EXPECT_EQ(resolved.origins["/parallel/tensor"], "given");
  EXPECT_EQ(resolved.origins["/parallel/data"], "default");
  EXPECT_EQ(resolved.origins["/software/vocab_multiple"], "preset megatron-core");
  // The stack's own date (2024-11) is past the change to cuDNN, which leaves an A100 with flash-attn.
  EXPECT_EQ(resolved.values["software"]["attention_kernel"], "flash2");
  EXPECT_EQ(resolved.origins["/software/attention_kernel"], "preset megatron-core from 2024-01");
  EXPECT_EQ(resolved.origins["/cluster/node/gpu/sms"], "preset a100-sxm4-80gb");
  EXPECT_EQ(resolved.origins["/cluster/gpus"], "given");
}

TEST(Resolved, NamesTheAttentionOfValuesNarrowerThanQueries) {
  Json document = small_experiment();
  document["software"] = {
      {"attention_kernel",
       {{"default", "cudnn"}, {"ampere", "flash2"}, {"unequal_heads", {{"ampere", "unfused"}}}}}};
  EXPECT_EQ(resolve(read_experiment(document, "small.json")).values["software"]["attention_kernel"],
            "flash2");
  document["model"] = {{"preset", "gpt3-1.7b"},
                       {"attention",
                        {{"kind", "mla"},
                         {"q_lora_rank", 0},
                         {"kv_lora_rank", 512},
                         {"qk_nope_dim", 128},
                         {"qk_rope_dim", 64},
                         {"v_dim", 128}}}};
  const Experiment latent = read_experiment(document, "small.json");
  EXPECT_EQ(latent.software.attention_kernel, AttentionKernel::unfused);
  EXPECT_EQ(resolve(latent).values["software"]["attention_kernel"], "unfused");
}

TEST(Resolved, NamesThePartOfTheStackThatGivesAValue) {
  Json document = small_experiment();
  document["software"] = {{"date", "2023-09"}, {"fusion", "none"}, {"kernels_forward", 30}};
  const ResolvedExperiment resolved = resolve(read_experiment(document, "small.json"));
  EXPECT_EQ(resolved.origins["/software/date"], "given");
  EXPECT_EQ(resolved.origins["/software/kernels_forward"], "given");
  EXPECT_EQ(resolved.origins["/software/kernels_backward"], "preset megatron-core, fusion none");
  EXPECT_EQ(resolved.origins["/software/attention_kernel"], "preset megatron-core");
  EXPECT_EQ(resolved.values["software"]["fused_gradient_accumulation"], false);
  for (const char* rule : {"since", "history", "variants"}) {
    EXPECT_FALSE(resolved.values["software"].contains(rule)) << rule;
  }
}

TEST(Resolved, IsTheSameExperimentAgain) {
  Json document = small_experiment();
  document["software"] = {{"date", "2025-12"}, {"fusion", "none"}};
  const Experiment first = read_experiment(document, "small.json");
  const Json echo = resolve(first).values;
  const Experiment second = read_experiment(echo, "echo.json");
  EXPECT_EQ(resolve(second).values, echo);
  EXPECT_EQ(second.parallel.stage_layers, first.parallel.stage_layers);
  EXPECT_EQ(second.shape.gpus, first.shape.gpus);
}

}  // namespace
}  // namespace orrery
