#include "models/training_spec.hpp"

#include <gtest/gtest.h>

#include "tests/unit/models/reading.hpp"

namespace orrery {
namespace {

std::string training_with(const std::string& members) {
  return R"({"seq_length": 2048, "global_batch": 64, "micro_batch": 2)" +
         (members.empty() ? "" : ", " + members) + "}";
}

TEST(TrainingSpec, FillsInTheDefaultsOfTheContract) {
  const auto outcome = reading::training(training_with(""));
  EXPECT_EQ(outcome.lines, std::vector<std::string>{});
  EXPECT_EQ(outcome.spec.precision, Precision::bf16);
  EXPECT_EQ(outcome.spec.optimizer, Optimizer::adam);
  EXPECT_EQ(outcome.spec.recompute, Recompute::none);
  EXPECT_EQ(outcome.spec.flops_convention, FlopsConvention::full);
  EXPECT_FALSE(outcome.spec.gradient_dtype.has_value());
  EXPECT_EQ(outcome.spec.recompute_layers, -1);
}

TEST(TrainingSpec, SelectiveAloneMeansTheAttentionCore) {
  EXPECT_EQ(reading::training(training_with(R"("recompute": "selective")")).spec.recompute_modules,
            std::vector<std::string>{"core_attn"});
  const auto listed = reading::training(
      training_with(R"("recompute": {"kind": "selective", "modules": ["mlp", "layernorm"], "layers": 3})"));
  EXPECT_EQ(listed.lines, std::vector<std::string>{});
  EXPECT_EQ(listed.spec.recompute_modules, (std::vector<std::string>{"mlp", "layernorm"}));
  EXPECT_EQ(listed.spec.recompute_layers, 3);
}

TEST(TrainingSpec, AcceptsWhatDoesNotChangeAStep) {
  EXPECT_EQ(reading::training(
                training_with(R"("tokens": 15e12, "sync": {"kind": "step"}, "gradient_dtype": "bf16")"))
                .lines,
            std::vector<std::string>{});
}

TEST(TrainingSpec, ReadsEveryPrecision) {
  for (const std::string_view name : precision_names()) {
    const auto outcome = reading::training(training_with(R"("precision": ")" + std::string(name) + '"'));
    EXPECT_EQ(outcome.lines, std::vector<std::string>{});
    EXPECT_EQ(name_of(outcome.spec.precision), name);
  }
}

TEST(TrainingSpec, ReadsAdapters) {
  const auto all = reading::training(training_with(R"("lora": {"rank": 16, "targets": ["all"]})"));
  EXPECT_EQ(all.lines, std::vector<std::string>{});
  EXPECT_EQ(all.spec.lora, (LoraSpec{16, true, true}));
  const auto one = reading::training(training_with(R"("lora": {"rank": 8, "targets": ["mlp"]})"));
  EXPECT_EQ(one.spec.lora, (LoraSpec{8, false, true}));
}

TEST(TrainingSpec, RefusesByName) {
  const std::string at = "experiment.json: /training";
  const std::vector<reading::Refusal> refusals = {
      {R"({"seq_length": 2048, "micro_batch": 1})",
       {at + "/global_batch: found nothing, expected an integer in [1, 1099511627776]"}},
      {training_with(R"("seq_len": 1)"), {}},
      {training_with(R"("optimizer": "adamv")"),
       {at + "/optimizer: found \"adamv\", expected \"adam\" or one of sgd, momentum, adagrad, adamw, lamb, "
             "adafactor, muon"}},
      {training_with(R"("recompute": {"kind": "selective", "modules": ["mla_down_proj"]})"),
       {at +
        "/recompute/modules/0: found \"mla_down_proj\", expected \"mla_up_proj\" or one of core_attn, mlp, "
        "layernorm, moe_act, moe"}},
      {training_with(R"("recompute": {"kind": "selective", "modules": ["mlp", "mlp"]})"),
       {at + "/recompute/modules/1: \"mlp\" is listed twice"}},
      {training_with(R"("recompute": {"kind": "full", "modules": ["mlp"]})"),
       {at + "/recompute/modules: is only legal with kind \"selective\""}},
      {training_with(R"("recompute": {"kind": "none", "layers": 1})"),
       {at + "/recompute/layers: is only legal with kind \"selective\" or \"full\""}},
      {training_with(R"("offload": {"activations_layers": -1})"),
       {at + "/offload/activations_layers: found -1, expected an integer in [0, 1048576]"}},
      {training_with(R"("lora": {"rank": 16, "targets": ["attn"]})"),
       {at + "/lora/targets/0: found \"attn\", expected one of attention, mlp, all"}},
      {training_with(R"("lora": {"rank": 0, "targets": []})"),
       {at + "/lora/rank: found 0, expected an integer in [1, 1048576]",
        at + "/lora/targets: found a list, expected at least one of attention, mlp, all"}},
      {training_with(R"("sync": {"kind": "local"})"),
       {at + "/sync/period: found nothing, expected an integer in [1, 1125899906842624]"}},
      {training_with(R"("sync": {"kind": "step", "period": 10})"),
       {at + "/sync/period: is only legal with kind \"local\""}},
      {training_with(R"("sync": {"kind": "local", "period": 10, "staleness": 1})"),
       {at + "/sync/staleness: is only legal with kind \"async\""}},
      {training_with(R"("data": {"workers": -1})"),
       {at + "/data/workers: found -1, expected an integer in [0, 1024]"}},
      {training_with(R"("data": {})"), {at + "/data: found an object, expected at least one of its keys"}},
      {training_with(R"("checkpoint": {"async": true})"),
       {at + "/checkpoint/every: found nothing, expected an integer in [1, 1125899906842624]"}},
      {training_with(R"("tokens": 0)"), {at + "/tokens: found 0, expected a number above 0"}},
      {training_with(R"("flops_convention": "half")"),
       {at + "/flops_convention: found \"half\", expected one of full, causal"}},
  };
  for (const reading::Refusal& refusal : refusals) {
    const std::vector<std::string> lines = reading::training(refusal.text).lines;
    if (refusal.lines.empty()) {
      ASSERT_EQ(lines.size(), 1U) << refusal.text;
      EXPECT_EQ(lines.front().rfind(at + "/seq_len: found an unknown key, expected ", 0), 0U)
          << lines.front();
    } else {
      EXPECT_EQ(lines, refusal.lines) << refusal.text;
    }
  }
}

}  // namespace
}  // namespace orrery
