#include "models/software_stack.hpp"

#include <gtest/gtest.h>

#include "sim/base/data_files.hpp"
#include "tests/unit/models/reading.hpp"

namespace orrery {
namespace {

/// Pointers of the numbers, unit texts and flags of `values` that have no text at the same place of
/// `sources`.
void find_unsourced(const Json& values, const Json& sources, const std::string& pointer,
                    std::vector<std::string>& missing) {
  for (const auto& [key, value] : values.items()) {
    const std::string place = pointer + "/" + key;
    const Json source = sources.is_object() && sources.contains(key) ? sources[key] : Json();
    if (value.is_object()) {
      // A text explains all that is below it.
      if (!source.is_string()) find_unsourced(value, source, place, missing);
    } else if (!source.is_string() || source.get<std::string>().size() < 8) {
      missing.push_back(place);
    }
  }
}

TEST(SoftwarePresets, AreTheTenOfTheContract) {
  EXPECT_EQ(preset_names("models/software"),
            (std::vector<std::string>{"huggingface-ddp", "llm-foundry", "llm.c", "megatron-core",
                                      "megatron-deepspeed", "megatron-lm-2021", "nanotron", "nvidia-bert",
                                      "paxml", "torchtitan"}));
}

TEST(SoftwarePresets, EveryNumberHasASource) {
  for (const std::string& name : preset_names("models/software")) {
    Json preset = read_json_file((data_root() / "models/software" / (name + ".json")).string());
    const Json sources = preset["sources"];
    // An entry of `history` brings its own sources, which the reader demands.
    for (const char* key : {"sources", "source", "history"}) preset.erase(key);
    std::vector<std::string> missing;
    find_unsourced(preset, sources, name, missing);
    EXPECT_EQ(missing, std::vector<std::string>{});
  }
}

TEST(SoftwarePresets, AreReadWithoutAProblemAndDescribeAWorkingStack) {
  for (const std::string& name : preset_names("models/software")) {
    const auto outcome = reading::software("\"" + name + "\"");
    EXPECT_EQ(outcome.lines, std::vector<std::string>{}) << name;
    const SoftwareStack& stack = outcome.spec;
    EXPECT_EQ(stack.name, name);
    EXPECT_GE(stack.date.year, 2021) << name;
    EXPECT_FALSE(stack.source.empty()) << name;
    // Two norms and two residual additions of a layer touch each element at least this often, whatever is
    // fused: a fused residual-and-norm reads two and writes two, twice.
    EXPECT_GE(stack.forward_passes.hidden, 8) << name;
    EXPECT_GT(stack.backward_passes.hidden, stack.forward_passes.hidden) << name;
    // Four products, attention, activation and two fused norms, and at least a gradient for the input and one
    // for the weights of each.
    EXPECT_GE(stack.kernels_forward, 8) << name;
    EXPECT_GE(stack.kernels_backward, 16) << name;
    // Adam in mixed precision moves master, two moments and a gradient at least once: 4 + 8 read and written,
    // 2 + 2.
    EXPECT_GE(stack.optimizer_bytes_per_parameter, 28) << name;
    EXPECT_EQ(stack.fused_gradient_accumulation, stack.gradient_accumulation_bytes == 0) << name;
    EXPECT_EQ(stack.slowest_gpu_spread, 0.0175) << name;
    EXPECT_GT(stack.forward_passes.feed_forward(true), stack.forward_passes.feed_forward(false)) << name;
  }
}

TEST(SoftwareStack, DefaultsToMegatronCoreAndTakesOverrides) {
  const auto outcome = reading::software(
      R"({"date": "2023-11", "attention_kernel": "flash1", "overlap": {"tensor": true}, "collectives": "nccl 2.18.3",
          "host": {"per_collective": "7 us"}, "vocab_multiple": 64, "gradient_dtype": "bf16", "graph_scope": "full"})");
  EXPECT_EQ(outcome.lines, std::vector<std::string>{});
  const SoftwareStack& stack = outcome.spec;
  EXPECT_EQ(stack.name, "megatron-core");
  EXPECT_EQ(stack.date, (YearMonth{2023, 11}));
  EXPECT_EQ(stack.attention_kernel, AttentionKernel::flash1);
  EXPECT_TRUE(stack.overlap_tensor);
  EXPECT_TRUE(stack.overlap_gradient);  // the preset's
  EXPECT_EQ(stack.collectives, "nccl");
  EXPECT_EQ(stack.collectives_version, "2.18.3");
  EXPECT_EQ(stack.host.per_collective, microseconds(7));
  EXPECT_EQ(stack.host.per_layer_forward, milliseconds(0.5));
  EXPECT_EQ(stack.vocab_multiple, 64);
  EXPECT_EQ(stack.gradient_dtype, GradientDtype::bf16);
}

// Workers that step on their own reduce nothing that could be overlapped, unless sharding does.
TEST(SoftwareStack, IsAskedForNoOverlapWhereNothingIsReduced) {
  TrainingSpec training;
  EXPECT_EQ(asked_of_stack(training, Json::object()).overlap_gradient, std::nullopt);
  training.sync.kind = SyncKind::local;
  EXPECT_EQ(asked_of_stack(training, Json::object()).overlap_gradient, false);
  EXPECT_EQ(asked_of_stack(training, Json{{"zero", 2}}).overlap_gradient, std::nullopt);
  EXPECT_EQ(asked_of_stack(training, Json{{"context", 2}}).overlap_gradient, std::nullopt);
}

TEST(SoftwareStack, AnExpertCostsTheHostMoreInEightBits) {
  const auto per_expert = [](Precision precision) {
    Problems problems("experiment.json");
    const Json json = "megatron-core";
    const SoftwareStack stack = read_software_stack(SpecReader(json, "/software", problems),
                                                    StackAsked{std::nullopt, precision, std::nullopt});
    return stack.host.per_expert.base();
  };
  // Two products: launches of 5 us, 1 in the forward and 2 in the backward, there 2 operators of 20 us, too:
  // (2 x 5 + 2 x 50) / 2. In eight bits 4 operators more in the forward, 3 in the backward.
  EXPECT_NEAR(per_expert(Precision::bf16), 55e-6, 1e-12);
  for (const Precision precision : {Precision::fp8, Precision::fp8_current, Precision::mxfp8})
    EXPECT_NEAR(per_expert(precision), (2 * (5 + 4 * 20) + 2 * (10 + 5 * 20)) / 2 * 1e-6, 1e-12);
}

TEST(SoftwareStack, HostTimesFollowTheLaunchMode) {
  const auto eager = reading::software(R"("megatron-core")");
  const auto graph = reading::software(R"({"preset": "megatron-core", "launch": "cuda_graph"})");
  const auto compiled = reading::software(R"({"preset": "megatron-core", "launch": "compiled"})");
  EXPECT_EQ(graph.spec.host.per_layer_backward, Seconds(0));
  EXPECT_GT(eager.spec.host.per_layer_backward, compiled.spec.host.per_layer_backward);
  EXPECT_GT(compiled.spec.host.per_layer_backward, graph.spec.host.per_layer_backward);
}

TEST(SoftwareStack, RefusesByName) {
  const std::string at = "experiment.json: /software";
  const std::vector<reading::Refusal> refusals = {
      {R"("megatron-cor")",
       {at +
        ": found \"megatron-cor\", expected \"megatron-core\" or one of huggingface-ddp, llm-foundry, llm.c, "
        "megatron-deepspeed, megatron-lm-2021, nanotron, nvidia-bert, paxml, torchtitan"}},
      {R"({"date": "2024-13"})",
       {at + "/date: found \"2024-13\", expected a year and month such as \"2024-11\""}},
      {R"({"date": 2024})",
       {at + "/date: found 2024 (number), expected a year and month such as \"2024-11\""}},
      {R"({"attention_kernel": "flash5"})", {}},
      {R"({"launch": "jit"})", {at + "/launch: found \"jit\", expected one of eager, compiled, cuda_graph"}},
      // Of a launch mode that is not in use, too.
      {R"({"launch": "eager", "host_by_launch": {"compiled": {"per_kernel": "soon"}}})", {}},
      {R"({"graph_scope": ["attention"]})",
       {at + "/graph_scope: a list of parts is only legal with launch \"cuda_graph\""}},
      {R"({"launch": "cuda_graph", "graph_scope": []})",
       {at + "/graph_scope: found a list, expected \"full\", or at least one of attention, moe_router, "
             "moe_preprocess"}},
      {R"({"launch": "cuda_graph", "graph_scope": ["attention", "attention"]})",
       {at + "/graph_scope/1: found \"attention\", expected each part once"}},
      {R"({"launch": "cuda_graph", "graph_scope": ["mlp"]})",
       {at + "/graph_scope/0: found \"mlp\", expected one of attention, moe_router, moe_preprocess"}},
      {R"({"launch": "cuda_graph", "graph_scope": "attention"})",
       {at + "/graph_scope: found \"attention\", expected \"full\", or a list of attention, moe_router, "
             "moe_preprocess"}},
      {R"({"launch": "cuda_graph", "graph_scope": ["attention", "moe_preprocess"]})",
       {at + "/graph_scope: moe_preprocess is only legal beside moe_router"}},
      {R"({"collectives": "ucc"})",
       {at +
        "/collectives: found \"ucc\", expected one of nccl, rccl, mpi, gloo, with its version if it matters "
        "(\"nccl 2.21\")"}},
      {R"({"moe": {"dispatchers": ["alltoall"], "router_kernels": 3}})",
       {at + "/moe/router_kernels: found an unknown key, expected one of dispatchers, router_bytes_forward, "
             "router_bytes_backward, router_kernels_forward, router_kernels_backward, fp32_router, "
             "preprocess_kernels, "
             "output_bias_passes_forward, output_bias_passes_backward, padding_passes_forward, "
             "padding_passes_backward, cast_kernels_per_expert, padding_dispatchers, fused_experts_multiple, "
             "weights_in_activation, weight_gradient_passes, pads_to_capacity, overlaps_shared_experts, "
             "overlaps_micro_batches, fp8_dispatch, grouped_experts, permutation_forward, "
             "permutation_backward",
        at + "/moe/dispatchers/0: found \"alltoall\", expected \"all_to_all\" or one of deepep, hybridep"}},
      {R"({"host": {"per_layer": "1 ms"}})", {}},
      {R"({"vocab_multiple": 0})", {at + "/vocab_multiple: found 0, expected an integer in [1, 1048576]"}},
      {R"({"tensor_overlap_exposed": 1.5})",
       {at + "/tensor_overlap_exposed: found 1.5, expected a number in [0, 1]"}},
  };
  for (const reading::Refusal& refusal : refusals) {
    const std::vector<std::string> lines = reading::software(refusal.text).lines;
    if (refusal.lines.empty()) {
      EXPECT_EQ(lines.size(), 1U) << refusal.text;
    } else {
      EXPECT_EQ(lines, refusal.lines) << refusal.text;
    }
  }
}

}  // namespace
}  // namespace orrery
