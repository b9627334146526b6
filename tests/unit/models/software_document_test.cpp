#include "models/software_document.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "models/software_stack.hpp"
#include "sim/base/data_files.hpp"
#include "sim/cost/year_month.hpp"
#include "tests/unit/base/temporary_folder.hpp"
#include "tests/unit/models/reading.hpp"

namespace orrery {
namespace {

using Lines = std::vector<std::string>;

/// A data root with one stack that changes twice, and one that begins later.
class SoftwareHistory : public ::testing::Test {
 protected:
  SoftwareHistory() : folder_("software_history") {
    write_history(
        R"([{"from": "2022-03", "changes": {"attention_kernel": {"default": "flash2", "ampere": "flash1"},
                        "forward_passes": {"rope": 2}}, "sources": {"attention_kernel": "notes", "forward_passes": {"rope": "code"}}},
                      {"from": "2023-06", "changes": {"attention_kernel": {"default": "cudnn"}, "kernels_forward": 9},
                       "sources": {"attention_kernel": "notes", "kernels_forward": "counted"}}])");
    folder_.write("models/software/late.json", R"({"since": "2023-01", "sources": {"since": "release"}})");
    ::setenv("ORRERY_DATA", folder_.path().c_str(), 1);
  }
  ~SoftwareHistory() override { ::unsetenv("ORRERY_DATA"); }

  /// The stack "early" with this `history` (JSON text), as the file's only changing part.
  void write_history(const std::string& history) {
    folder_.write("models/software/early.json",
                  R"({"since": "2021-02", "date": "2022-12", "attention_kernel": "unfused", "fusion": "full",
                      "gradient_dtype": "fp16", "kernels_forward": 20,
                      "forward_passes": {"hidden": 10, "rope": 10}, "history": )" +
                      history +
                      R"(, "variants": {"fusion": {"none": {"forward_passes": {"hidden": 19}}},
                                        "gradient_dtype": {"fp32": {"gradient_accumulation_bytes": 12}}},
                      "sources": {"variants": {"fusion": {"none": {"forward_passes": {"hidden": "assumed: eager"}}}}}})");
  }

  static SoftwareStack stack(const std::string& text, std::optional<GradientDtype> gradients = {}) {
    const auto outcome = reading::read_text(text, "/software", [&](const SpecReader& reader) {
      return read_software_stack(reader, StackAsked{gradients, Precision::bf16, std::nullopt});
    });
    EXPECT_EQ(outcome.lines, Lines{}) << text;
    return outcome.spec;
  }

  static StackDocument document(const std::string& text) {
    return reading::read_text(text, "/software",
                              [](const SpecReader& reader) { return lay_out_software(reader); })
        .spec;
  }

  /// What the user sees for the preset as it stands.
  static Lines preset_problems() {
    Lines lines;
    try {
      document(R"({"preset": "early"})");
    } catch (const InputError& error) {
      for (const InputProblem& problem : error.problems()) lines.push_back(problem.line());
    }
    return lines;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(SoftwareHistory, HoldsFromTheMonthOfAnEntryOn) {
  const SoftwareStack before = stack(R"({"preset": "early", "date": "2022-02"})");
  EXPECT_EQ(before.attention_kernel, AttentionKernel::unfused);
  EXPECT_EQ(before.forward_passes.rope, 10);
  const SoftwareStack first = stack(R"({"preset": "early", "date": "2022-03"})");
  EXPECT_EQ(first.attention_kernel, AttentionKernel::flash2);
  EXPECT_EQ(first.forward_passes.rope, 2);
  EXPECT_EQ(first.forward_passes.hidden, 10);  // an entry merges into an object
  EXPECT_EQ(first.kernels_forward, 20);
  const SoftwareStack second = stack(R"({"preset": "early", "date": "2024-01"})");
  EXPECT_EQ(second.kernels_forward, 9);
  EXPECT_EQ(second.forward_passes.rope, 2);  // entries add up
}

TEST_F(SoftwareHistory, ThePresetsOwnDateChoosesWhereNoneIsGiven) {
  EXPECT_EQ(stack(R"("early")").attention_kernel, AttentionKernel::flash2);
  EXPECT_EQ(stack(R"("early")").kernels_forward, 20);
}

TEST_F(SoftwareHistory, GivenKeysWin) {
  const SoftwareStack given = stack(
      R"({"preset": "early", "date": "2024-01", "attention_kernel": "flash3", "forward_passes": {"rope": 5}})");
  EXPECT_EQ(given.attention_kernel, AttentionKernel::flash3);
  EXPECT_TRUE(given.attention_kernel_on.empty());
  EXPECT_EQ(given.forward_passes.rope, 5);
  EXPECT_EQ(given.kernels_forward, 9);
}

TEST_F(SoftwareHistory, TheGpuChoosesAmongKernels) {
  SoftwareStack ampere = stack(R"({"preset": "early", "date": "2024-01"})");
  SoftwareStack hopper = ampere;
  ampere.choose_for_architecture("ampere");
  hopper.choose_for_architecture("hopper");
  EXPECT_EQ(ampere.attention_kernel, AttentionKernel::flash1);
  EXPECT_EQ(hopper.attention_kernel, AttentionKernel::cudnn);  // the default
}

TEST_F(SoftwareHistory, NamesThePartThatGivesAValue) {
  const StackDocument laid = document(R"({"preset": "early", "date": "2024-01", "fusion": "none"})");
  std::vector<std::string> origins;
  for (const StackLayer& layer : laid.layers) origins.push_back(layer.origin);
  EXPECT_EQ(origins, (Lines{"preset early", "preset early from 2022-03", "preset early from 2023-06",
                            "preset early, fusion none"}));
  EXPECT_EQ(laid.sources["kernels_forward"], "counted");
  EXPECT_EQ(laid.sources["forward_passes"]["hidden"], "assumed: eager");  // of the variant in force
  EXPECT_FALSE(laid.values.contains("history"));
}

TEST_F(SoftwareHistory, AFusionBringsItsKernelsOrIsRefused) {
  EXPECT_EQ(stack(R"({"preset": "early", "fusion": "none"})").forward_passes.hidden, 19);
  EXPECT_EQ(stack(R"({"preset": "early", "fusion": "full"})").forward_passes.hidden, 10);
  EXPECT_EQ(
      reading::software(R"({"preset": "early", "fusion": "partial"})").lines,
      (Lines{"experiment.json: /software/fusion: found \"partial\", expected full or none: the kernels of "
             "\"early\" are counted for no other (or give forward_passes and backward_passes)"}));
  EXPECT_EQ(
      reading::software(R"({"preset": "early", "fusion": "most"})").lines,
      (Lines{"experiment.json: /software/fusion: found \"most\", expected one of none, partial, full"}));
  EXPECT_EQ(stack(R"({"preset": "early", "fusion": "partial", "forward_passes": {"hidden": 12},
                      "backward_passes": {"hidden": 14}})")
                .forward_passes.hidden,
            12);
}

TEST_F(SoftwareHistory, TheGradientTypeOfTheTrainingChoosesItsTraffic) {
  EXPECT_EQ(stack(R"("early")").gradient_accumulation_bytes, 0);
  EXPECT_EQ(stack(R"("early")", GradientDtype::fp32).gradient_accumulation_bytes, 12);
  EXPECT_EQ(stack(R"({"preset": "early", "gradient_dtype": "fp32"})").gradient_accumulation_bytes, 12);
  EXPECT_EQ(stack(R"({"preset": "early", "gradient_dtype": "fp32"})", GradientDtype::fp16)
                .gradient_accumulation_bytes,
            0);                                                                        // the training's wins
  EXPECT_EQ(stack(R"("early")", GradientDtype::bf16).gradient_accumulation_bytes, 0);  // none listed
}

TEST_F(SoftwareHistory, ADateBeforeThePresetBeginsIsRefusedWithWhatDescribesIt) {
  EXPECT_EQ(
      reading::software(R"({"preset": "late", "date": "2022-12"})").lines,
      (Lines{"experiment.json: /software/date: found \"2022-12\", expected 2023-01 or later: \"late\" is not "
             "described before; at that date early does"}));
  EXPECT_EQ(reading::software(R"({"preset": "late", "date": "2023-01"})").lines, Lines{});
  EXPECT_EQ(
      reading::software(R"({"preset": "late", "date": "2020-01"})").lines,
      (Lines{"experiment.json: /software/date: found \"2020-01\", expected 2023-01 or later: \"late\" is not "
             "described before; at that date no preset does"}));
  EXPECT_EQ(
      reading::software(R"({"preset": "late", "date": "soon"})").lines,
      (Lines{
          "experiment.json: /software/date: found \"soon\", expected a year and month such as \"2024-11\""}));
}

TEST_F(SoftwareHistory, AnExperimentCannotRewriteIt) {
  EXPECT_EQ(reading::software(R"({"preset": "early", "history": []})").lines,
            (Lines{"experiment.json: /software/history: belongs in a preset of models/software, not in an "
                   "experiment"}));
}

TEST_F(SoftwareHistory, RefusesAPresetThatBreaksItsRules) {
  const std::string at = "models/software/early.json: /history/";
  write_history(R"([{"from": "2021-02", "changes": {}, "sources": {}}])");
  EXPECT_EQ(preset_problems(),
            (Lines{at + "0/from: found \"2021-02\", expected a month after 2021-02: the entries "
                        "stand in ascending order"}));
  write_history(R"([{"from": "2023-01", "changes": {}}, {"from": "2022-01", "changes": {}}])");
  EXPECT_EQ(preset_problems(),
            (Lines{at + "1/from: found \"2022-01\", expected a month after 2023-01: the entries "
                        "stand in ascending order"}));
  write_history(
      R"([{"from": "2022-01", "changes": {"kernels_forward": 8, "forward_passes": {"rope": 2, "ffn": 3}},
                     "sources": {"forward_passes": {"ffn": "code"}}}])");
  EXPECT_EQ(
      preset_problems(),
      (Lines{
          at + "0/changes/kernels_forward: has no source; expected a text at the same place of \"sources\"",
          at + "0/changes/forward_passes/rope: has no source; expected a text at the same place of "
               "\"sources\""}));
  write_history(R"([{"from": "2022-01", "changes": {"kernel_forward": 8, "kernels_backward": "many"},
                     "sources": {"kernel_forward": "code", "kernels_backward": "code"}, "why": ""}])");
  EXPECT_EQ(preset_problems().size(), 3U);  // the unknown key, its text for a count, and "why"
  write_history(R"([{"from": "2022-01", "changes": {"date": "2022-01"}, "sources": {"date": "code"}}])");
  EXPECT_EQ(preset_problems(), (Lines{at + "0/changes/date: cannot change"}));
}

/// Shipped presets at every date at which they change, and the month before.
TEST(ShippedSoftware, IsReadWithoutAProblemAtEveryDate) {
  for (const std::string& name : preset_names("models/software")) {
    const Json preset = read_json_file((data_root() / "models/software" / (name + ".json")).string());
    Lines dates = {preset["since"].get<std::string>()};
    for (const Json& entry : preset.value("history", Json::array()))
      dates.push_back(entry["from"].get<std::string>());
    for (const std::string& date : dates) {
      const auto outcome = reading::software(Json{{"preset", name}, {"date", date}}.dump());
      EXPECT_EQ(outcome.lines, Lines{}) << name << " " << date;
      EXPECT_EQ(to_text(outcome.spec.date), date);
    }
  }
}

TEST(ShippedSoftware, TakesTheAttentionOfItsDayAndGpu) {
  const auto kernel = [](const std::string& name, const std::string& date, const std::string& architecture,
                         bool unequal_heads = false) {
    SoftwareStack stack = reading::software(Json{{"preset", name}, {"date", date}}.dump()).spec;
    stack.choose_for_architecture(architecture, unequal_heads);
    return stack.attention_kernel;
  };
  // Transformer Engine 1.2 (January 2024) turned to cuDNN on Hopper; on Ampere flash-attn stays first.
  EXPECT_EQ(kernel("megatron-core", "2023-12", "hopper"), AttentionKernel::flash2);
  EXPECT_EQ(kernel("megatron-core", "2024-01", "hopper"), AttentionKernel::cudnn);
  EXPECT_EQ(kernel("megatron-core", "2024-01", "ampere"), AttentionKernel::flash2);
  EXPECT_EQ(kernel("megatron-core", "2025-06", "blackwell"), AttentionKernel::cudnn);
  EXPECT_EQ(kernel("megatron-core", "2025-06", "cdna3"), AttentionKernel::flash2);
  EXPECT_EQ(kernel("megatron-core", "2025-06", "volta"), AttentionKernel::unfused);
  // Latent attention on Blackwell: unfused until cuDNN 9.11 (July 2025); on Hopper it never was.
  EXPECT_EQ(kernel("megatron-core", "2025-06", "blackwell", true), AttentionKernel::unfused);
  EXPECT_EQ(kernel("megatron-core", "2025-07", "blackwell", true), AttentionKernel::cudnn);
  EXPECT_EQ(kernel("megatron-core", "2025-06", "hopper", true), AttentionKernel::cudnn);
  // Triton's kernel until the benchmarks chose flash-attn 2 (2.4.2, December 2023).
  EXPECT_EQ(kernel("llm-foundry", "2023-06", "ampere"), AttentionKernel::flash1);
  EXPECT_EQ(kernel("llm-foundry", "2024-01", "ampere"), AttentionKernel::flash2);
}

TEST(ShippedSoftware, ThePlainLossKeepsOneFp32CopyOfTheLogitsOnceItWorksInPlace) {
  const auto kept = [](const char* date, const char* fusion) {
    return reading::software(Json{{"preset", "megatron-core"}, {"date", date}, {"fusion", fusion}}.dump())
        .spec.loss_kept_bytes_per_logit;
  };
  // The logits in fp32 and what the subtraction of their maximum writes; from Core 0.8 (2024-07) on it writes
  // over them. The fused loss of late 2025 keeps none; without fusion that release must not be taken for it.
  EXPECT_EQ(kept("2024-06", "none"), 4 + 4);
  EXPECT_EQ(kept("2024-07", "none"), 4);
  EXPECT_EQ(kept("2025-10", "full"), 0);
  EXPECT_EQ(kept("2025-10", "none"), 4);
}

TEST(ShippedSoftware, FusesTheRouterWithTheRecipesThatTurnItOn) {
  const auto stack = [](const char* date) {
    return reading::software(Json{{"preset", "megatron-core"}, {"date", date}}.dump()).spec;
  };
  // Of an entry of tokens x experts in fp32: logits in, probabilities, map and kept scores out; the same for
  // the auxiliary loss; the sum of its map and the loss. Backward: 4 + 4 + 1 in, 4 out; 4 + 4 in, 4 out; 4
  // out of the loss; two gradients read, their sum written.
  const SoftwareStack before = stack("2025-09"), fused = stack("2025-10");
  EXPECT_EQ(before.moe.router_bytes_forward, 59);
  EXPECT_EQ(fused.moe.router_bytes_forward, 2 * (4 + 4 + 1 + 4) + 1 + 4);
  EXPECT_EQ(fused.moe.router_bytes_backward, (4 + 4 + 1 + 4) + (4 + 4 + 4) + 4 + 3 * 4);
  EXPECT_EQ(fused.moe.router_kernels_forward, 4);
  EXPECT_EQ(fused.moe.router_kernels_backward, 4);
  EXPECT_DOUBLE_EQ(fused.host.per_moe_router.base(), 10 * 20e-6);
  EXPECT_DOUBLE_EQ(before.host.per_moe_router.base(), 25 * 20e-6);
}

TEST(ShippedSoftware, ReducesGradientsInTheTypeOfItsRecipes) {
  const StackAsked without_overlap{std::nullopt, Precision::bf16, false};
  const StackAsked with_overlap{std::nullopt, Precision::bf16, true};
  // Megatron-LM's own arguments: no overlap, fp32; NVIDIA's recipes: overlap and bf16 (models/software).
  const auto dtype = [](const Json& software, const StackAsked& asked) {
    Problems problems("experiment.json");
    return read_software_stack(SpecReader(software, "/software", problems), asked).gradient_dtype;
  };
  EXPECT_EQ(dtype("megatron-core", {}), GradientDtype::bf16);
  EXPECT_EQ(dtype("megatron-core", without_overlap), GradientDtype::fp32);
  EXPECT_EQ(dtype("megatron-core", StackAsked{std::nullopt, Precision::fp8, std::nullopt}),
            GradientDtype::bf16);
  EXPECT_EQ(dtype("megatron-core", StackAsked{std::nullopt, Precision::fp16, std::nullopt}),
            GradientDtype::fp32);
  EXPECT_EQ(dtype({{"overlap", {{"gradient", false}}}}, {}), GradientDtype::fp32);
  EXPECT_EQ(dtype({{"gradient_dtype", "fp32"}}, {}), GradientDtype::fp32);
  EXPECT_EQ(dtype("nanotron", with_overlap), GradientDtype::fp32);
  // The counts follow the type: 46 bytes a parameter in fp32, 52 from 16 bits.
  const auto traffic = [](const Json& software, const StackAsked& asked) {
    Problems problems("experiment.json");
    return read_software_stack(SpecReader(software, "/software", problems), asked)
        .optimizer_bytes_per_parameter;
  };
  EXPECT_EQ(traffic("megatron-core", {}), 52);
  EXPECT_EQ(traffic("megatron-core", StackAsked{GradientDtype::fp32, Precision::bf16, std::nullopt}), 46);
  EXPECT_EQ(traffic("megatron-core", without_overlap), 46);
  EXPECT_EQ(traffic({{"gradient_dtype", "fp32"}}, {}), 46);
}

TEST(ShippedSoftware, HasARecipeFromItsRelease) {
  // Transformer Engine 2.0 brought MXFP8, 2.8 NVFP4; the default stack is of November 2024 otherwise.
  Problems problems("experiment.json");
  const auto date = [&problems](const Json& software, Precision precision) {
    return lay_out_software(SpecReader(software, "/software", problems),
                            StackAsked{std::nullopt, precision, std::nullopt})
        .values["date"]
        .get<std::string>();
  };
  EXPECT_EQ(date("megatron-core", Precision::bf16), "2024-11");
  EXPECT_EQ(date("megatron-core", Precision::fp8), "2024-11");
  EXPECT_EQ(date("megatron-core", Precision::mxfp8), "2025-02");
  EXPECT_EQ(date("megatron-core", Precision::nvfp4), "2025-10");
  EXPECT_EQ(date({{"preset", "megatron-core"}, {"date", "2026-01"}}, Precision::nvfp4), "2026-01");
  EXPECT_TRUE(problems.empty());
  date({{"preset", "megatron-core"}, {"date", "2025-09"}}, Precision::nvfp4);
  EXPECT_EQ(problems.list().size(), 1U);
}

}  // namespace
}  // namespace orrery
