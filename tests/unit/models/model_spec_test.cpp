#include "models/model_spec.hpp"

#include <gtest/gtest.h>

#include "sim/base/data_files.hpp"
#include "tests/unit/models/reading.hpp"

namespace orrery {
namespace {

constexpr const char* kTiny =
    R"({"layers": 2, "hidden": 64, "heads": 4, "ffn_hidden": 256, "vocab": 1000, "activation": "gelu",
        "norm": "layernorm", "position": "learned"})";

/// kTiny with these members added or replaced.
std::string tiny_with(const std::string& members) {
  Json document = parse_json(kTiny, "tiny");
  const Json changes = parse_json("{" + members + "}", "changes");
  for (const auto& [key, value] : changes.items()) document[key] = value;
  return document.dump();
}

double count_of(const std::string& text, std::int64_t positions = 2048) {
  const auto outcome = reading::model(text);
  EXPECT_EQ(outcome.lines, std::vector<std::string>{}) << text;
  return parameter_count(outcome.spec, positions);
}

TEST(ModelSpec, FillsInTheDefaultsOfTheContract) {
  const ModelSpec model = reading::model(kTiny).spec;
  EXPECT_EQ(model.name, "custom");
  EXPECT_EQ(model.kv_heads, 4);
  EXPECT_EQ(model.head_dim, 16);  // 64 / 4
  EXPECT_FALSE(model.gated);
  EXPECT_TRUE(model.causal);
  EXPECT_EQ(model.attention, AttentionKind::mha);
  EXPECT_FALSE(model.vocab_from_preset);
}

TEST(ModelSpec, AGatedActivationAndFewerKeyValueHeadsAreUnderstood) {
  const ModelSpec model = reading::model(tiny_with(R"("activation": "swiglu", "kv_heads": 2)")).spec;
  EXPECT_TRUE(model.gated);
  EXPECT_EQ(model.attention, AttentionKind::gqa);
}

TEST(ModelSpec, OverridesReplaceSingleKeysOfAPreset) {
  const auto plain = reading::model(R"("llama2-7b")");
  EXPECT_EQ(plain.spec.name, "llama2-7b");
  EXPECT_TRUE(plain.spec.vocab_from_preset);
  const auto changed = reading::model(R"({"preset": "llama2-7b", "layers": 4, "vocab": 32064})");
  EXPECT_EQ(changed.lines, std::vector<std::string>{});
  EXPECT_EQ(changed.spec.layers, 4);
  EXPECT_EQ(changed.spec.hidden, 4096);
  EXPECT_EQ(changed.spec.vocab, 32064);
  EXPECT_FALSE(changed.spec.vocab_from_preset);  // a given vocabulary is not padded
}

// Exact numbers of parameters of the checkpoints on huggingface.co (sum over their safetensors headers),
// encoders with pooler and without pre-training heads.
TEST(ParameterCount, EqualsThePublishedCheckpoints) {
  EXPECT_EQ(count_of(R"("gpt2-124m")"), 124'439'808);
  EXPECT_EQ(count_of(R"("gpt2-355m")"), 354'823'168);
  EXPECT_EQ(count_of(R"("gpt2-774m")"), 774'030'080);
  EXPECT_EQ(count_of(R"("gpt2-1.5b")"), 1'557'611'200);
  EXPECT_EQ(count_of(R"("bert-base")"), 109'482'240);
  EXPECT_EQ(count_of(R"("bert-base-cased")"), 108'310'272);
  EXPECT_EQ(count_of(R"("bert-large")"), 335'141'888);
  EXPECT_EQ(count_of(R"("llama2-7b")"), 6'738'415'616);
  EXPECT_EQ(count_of(R"("llama2-13b")"), 13'015'864'320);
  EXPECT_EQ(count_of(R"("llama2-70b")"), 68'976'648'192);
  EXPECT_EQ(count_of(R"("llama3-8b")"), 8'030'261'248);
  EXPECT_EQ(count_of(R"("llama3-70b")"), 70'553'706'496);
  EXPECT_EQ(count_of(R"("llama3-405b")"), 405'853'388'800);
}

// scripts/train/benchmarking/README.md of mosaicml/llm-foundry prints the parameters of every run, by
// sequence length; the released MPT-7B has ALiBi, no biases and another vocabulary.
TEST(ParameterCount, EqualsTheCountsThatLlmFoundryPrints) {
  EXPECT_EQ(count_of(R"("mpt-7b")", 2048), 6'658'859'008);
  EXPECT_EQ(count_of(R"("mpt-7b")", 65536), 6'918'905'856);
  EXPECT_EQ(count_of(R"("mpt-30b")", 2048), 29'975'214'080);
  EXPECT_EQ(count_of(R"("mpt-70b")", 2048), 64'862'437'376);
  EXPECT_EQ(count_of(R"({"preset": "mpt-7b", "position": "alibi", "bias": false, "vocab": 50432})"),
            6'649'286'656);
}

// Narayanan et al. 2021 (SC21), equation 2: P = 12 l h^2 (1 + 13/(12h) + (V + s)/(12 l h)), and Table 1's
// rounding.
TEST(ParameterCount, FollowsTheFormulaAndTableOfSC21) {
  const std::vector<std::pair<std::string, double>> table = {
      {"gpt3-1.7b", 1.7},   {"gpt3-3.6b", 3.6}, {"gpt3-7.5b", 7.5},   {"gpt3-18b", 18.4},
      {"gpt3-39b", 39.1},   {"gpt3-76b", 76.1}, {"gpt3-145b", 145.6}, {"gpt3-310b", 310.1},
      {"gpt3-530b", 529.6}, {"gpt3-1t", 1008.0}};
  for (const auto& [name, billions] : table) {
    const ModelSpec model = reading::model("\"" + name + "\"").spec;
    const double l = model.layers;
    const auto h = static_cast<double>(model.hidden);
    const double formula = 12 * l * h * h * (1 + 13 / (12 * h) + (51200 + 2048) / (12 * l * h));
    const double count = parameter_count(model, 2048);
    EXPECT_NEAR(count, formula + 2 * h, 1.0)
        << name;  // the formula leaves out the final norm; 1: round-off of 1e12
    EXPECT_NEAR(count / 1e9, billions, 0.0501) << name;
  }
}

// Brown et al. 2020, Table 2.1 (174,600 M in the appendix's Table D.1); Parmar et al. 2024 and Adler et al.
// 2024 give embedding and other parameters of Nemotron-4 to one decimal.
TEST(ParameterCount, AgreesWithPapersToTheirRounding) {
  EXPECT_NEAR(count_of(R"("gpt3-175b")") / 1e9, 174.6, 0.05);
  const ModelSpec small = reading::model(R"("nemotron-15b")").spec;
  EXPECT_NEAR(2 * embedding_parameters(small, 0) / 1e9, 3.2, 0.06);
  EXPECT_NEAR(small.layers * layer_parameters(small) / 1e9, 12.5, 0.05);
  const ModelSpec large = reading::model(R"("nemotron-340b")").spec;
  EXPECT_NEAR(2 * embedding_parameters(large, 0) / 1e9, 9.4, 0.05);
  EXPECT_NEAR(large.layers * layer_parameters(large) / 1e9, 331.6, 0.05);
}

// Sizes of the checkpoints on huggingface.co. Left out of the count: what DeepSeek-V3's routers add for the
// load balance, which no gradient trains (256 in each of 58 layers).
TEST(ParameterCount, EqualsPublishedCheckpoints) {
  const std::vector<std::pair<std::string, double>> checkpoints = {
      {"mistral-7b", 7'241'732'096},        {"qwen3-8b", 8'190'735'360},
      {"mixtral-8x7b", 46'702'792'704},     {"qwen3-30b-a3b", 30'532'122'624},
      {"qwen3-235b-a22b", 235'093'634'560}, {"deepseek-v2-lite", 15'706'484'224},
      {"gpt-oss-20b", 20'914'757'184},      {"gpt-oss-120b", 116'829'156'672}};
  for (const auto& [name, parameters] : checkpoints) {
    EXPECT_EQ(count_of("\"" + name + "\""), parameters) << name;
  }
  EXPECT_EQ(count_of(R"({"preset": "deepseek-v3", "mtp_layers": 0})"), 671'026'419'200.0 - 58 * 256);
}

// Mistral AI: 141 B. DeepSeek-AI 2024 (arXiv 2405.04434): 236 B. README_WEIGHTS.md of DeepSeek-V3: 11.5 B
// parameters of its multi-token prediction are its own (a mixture layer alone, with 256 experts of 3 x 7168 x
// 2048, has 11.51).
TEST(ParameterCount, AgreesWithAnnouncedSizes) {
  EXPECT_NEAR(count_of(R"("mixtral-8x22b")") / 1e9, 141, 0.5);
  EXPECT_NEAR(count_of(R"("deepseek-v2")") / 1e9, 236, 0.5);
  const double mtp = count_of(R"("deepseek-v3")") - count_of(R"({"preset": "deepseek-v3", "mtp_layers": 0})");
  EXPECT_NEAR(mtp / 1e9, 11.5, 0.15);
}

// DeepSeek-V3 technical report (arXiv 2412.19437), section 4.2: 671 B parameters, without the multi-token
// prediction.
TEST(ParameterCount, CountsLatentAttentionAndSharedExperts) {
  const std::string text =
      R"({"layers": 61, "hidden": 7168, "heads": 128, "ffn_hidden": 18432, "vocab": 129280, "activation": "swiglu",
          "norm": "rmsnorm", "position": "rope", "tied_embeddings": false, "bias": false,
          "attention": {"kind": "mla", "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_dim": 128, "qk_rope_dim": 64,
                        "v_dim": 128},
          "moe": {"experts": 256, "top_k": 8, "ffn_hidden": 2048, "shared_experts": 1, "first_dense_layers": 3}})";
  EXPECT_NEAR(count_of(text) / 1e9, 671.0, 0.5);
  EXPECT_EQ(reading::model(text).spec.head_dim, 192);
}

// Jiang et al. 2024 (arXiv 2401.04088), abstract: a token has access to 47 B parameters and uses 13 B of
// them: 46,702,792,704 without six of the eight experts of 3 x 4096 x 14336 weights in each of 32 layers.
// DeepSeek-AI 2024: 37 B activated for each token.
TEST(ParameterCount, CountsTheActiveOnesOfAMixture) {
  const ModelSpec mixtral =
      reading::model(
          R"({"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn_hidden": 14336, "vocab": 32000,
              "activation": "swiglu", "norm": "rmsnorm", "position": "rope", "tied_embeddings": false,
              "bias": false, "moe": {"experts": 8, "top_k": 2}})")
          .spec;
  EXPECT_EQ(active_parameter_count(mixtral, 2048), 46'702'792'704.0 - 32.0 * 6 * 3 * 4096 * 14336);
  const ModelSpec deepseek =
      reading::model(
          R"({"layers": 61, "hidden": 7168, "heads": 128, "ffn_hidden": 18432, "vocab": 129280,
              "activation": "swiglu", "norm": "rmsnorm", "position": "rope", "tied_embeddings": false, "bias": false,
              "attention": {"kind": "mla", "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_dim": 128,
                            "qk_rope_dim": 64, "v_dim": 128},
              "moe": {"experts": 256, "top_k": 8, "ffn_hidden": 2048, "shared_experts": 1,
                      "first_dense_layers": 3}})")
          .spec;
  EXPECT_NEAR(active_parameter_count(deepseek, 2048) / 1e9, 37.0, 0.7);
  const ModelSpec dense = reading::model("\"llama2-7b\"").spec;
  EXPECT_EQ(active_parameter_count(dense, 2048), parameter_count(dense, 2048));
}

TEST(ParameterCount, IsTheSumOfItsParts) {
  for (const std::string& name : preset_names("models/presets")) {
    const ModelSpec model = reading::model("\"" + name + "\"").spec;
    if (model.moe) continue;
    EXPECT_EQ(parameter_count(model, 2048), embedding_parameters(model, 2048) + head_parameters(model) +
                                                model.layers * layer_parameters(model))
        << name;
  }
}

TEST(ModelPresets, AllAreReadWithoutAProblemAndNameTheirSource) {
  const std::vector<std::string> names = preset_names("models/presets");
  EXPECT_GE(names.size(), 30U);
  for (const std::string& name : names) {
    const auto outcome = reading::model("\"" + name + "\"");
    EXPECT_EQ(outcome.lines, std::vector<std::string>{}) << name;
    EXPECT_FALSE(outcome.spec.source.empty()) << name;
  }
}

TEST(ModelSpec, RefusesWhatDoesNotFitTogether) {
  const std::string file = "experiment.json: ";
  const std::vector<reading::Refusal> refusals = {
      {"7", {file + "/model: found 7 (number), expected a preset's name or an object"}},
      {tiny_with(R"("layers": 2.0)"),
       {file + "/model/layers: found 2.0, expected an integer in [1, 1048576]"}},
      {tiny_with(R"("kv_heads": 3)"), {file + "/model/kv_heads: found 3, expected a divisor of heads 4"}},
      {tiny_with(R"("heads": 6)"),
       {file + "/model/heads: found 6, expected a divisor of hidden 64, or head_dim beside it"}},
      {tiny_with(R"("activation": "swiglu", "gated": false)"),
       {file + R"(/model/gated: found false, expected true with activation "swiglu")"}},
      {tiny_with(R"("activation": "silu")"),
       {file +
        R"(/model/activation: found "silu", expected "gelu" or one of relu, squared_relu, swiglu, geglu)"}},
      {tiny_with(R"("attention": {"kind": "mha"}, "kv_heads": 2)"),
       {file + R"(/model/attention/kind: found "mha", expected "gqa" with 2 kv_heads for 4 heads)"}},
      {tiny_with(R"("attention": {"kind": "gqa", "window": 128})"),
       {file + R"(/model/attention/window: is only legal with attention kind "sliding")"}},
      {tiny_with(
           R"("attention": {"kind": "mla", "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_dim": 8, "qk_rope_dim": 4,
                    "v_dim": 8}, "head_dim": 16)"),
       {file + "/model/head_dim: found 16, expected qk_nope_dim + qk_rope_dim = 12"}},
      {tiny_with(
           R"("attention": {"kind": "mla", "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_dim": 8, "qk_rope_dim": 4,
                    "v_dim": 8}, "kv_heads": 2, "qk_norm": true)"),
       {file +
            R"(/model/kv_heads: found 2, expected heads 4 with attention kind "mla", which makes keys for every head)",
        file +
            R"(/model/qk_norm: found true, expected false with attention kind "mla", whose latents are normalised)"}},
      {tiny_with(R"("attention": {"kind": "sliding", "window": 128, "full_every": 1})"),
       {file + "/model/attention/full_every: found 1, expected an integer in [2, 1048576]"}},
      {tiny_with(R"("moe": {"experts": 4, "top_k": 5})"),
       {file + "/model/moe/top_k: found 5, expected an integer in [1, 4]"}},
      {tiny_with(R"("moe": {"experts": 8, "top_k": 2, "router_groups": 3, "groups_per_token": 1})"),
       {file + "/model/moe/router_groups: found 3, expected a divisor of experts 8"}},
      {tiny_with(R"("moe": {"experts": 8, "top_k": 2, "router_groups": 4, "groups_per_token": 3})"),
       {file + "/model/moe/groups_per_token: found 3, expected an integer in [1, 2]"}},
      {tiny_with(R"("moe": {"experts": 8, "top_k": 3, "router_groups": 4, "groups_per_token": 1})"),
       {file + "/model/moe/top_k: found 3, expected at most the 2 experts of a token's groups"}},
      {tiny_with(R"("moe": {"experts": 8, "top_k": 2, "groups_per_token": 1})"),
       {file + "/model/moe/groups_per_token: is only legal beside router_groups"}},
      {tiny_with(R"("rotary_fraction": 0.5)"),
       {file + R"(/model/rotary_fraction: is only legal with position "rope")"}},
      {tiny_with(R"("rotary_scale": 1.2)"),
       {file + R"(/model/rotary_scale: is only legal with position "rope")"}},
      {tiny_with(R"("objective": "masked_lm", "causal": true)"),
       {file + R"(/model/causal: found true, expected false with objective "masked_lm")"}},
      {tiny_with(R"("objective": "masked_lm", "mtp_layers": 1, "pooler": true)"),
       {file + R"(/model/mtp_layers: found 1, expected 0 with objective "masked_lm")",
        file + "/model/pooler: found true, expected false with mtp_layers above 0"}},
      {tiny_with(R"("masked_fraction": 0.2)"),
       {file + R"(/model/masked_fraction: is only legal with objective "masked_lm")"}},
  };
  for (const reading::Refusal& refusal : refusals) {
    EXPECT_EQ(reading::model(refusal.text).lines, refusal.lines) << refusal.text;
  }
  const std::vector<std::string> unknown = reading::model(R"("llama2-7")").lines;
  ASSERT_EQ(unknown.size(), 1U);  // the rest of the line is the list of presets
  EXPECT_EQ(unknown.front().rfind(file + R"(/model: found "llama2-7", expected "llama2-7b" or one of )", 0),
            0U);
}

TEST(ModelSpec, ReportsEveryMissingKeyAtOnce) {
  const std::vector<std::string> lines = reading::model(R"({"layers": 2, "hiden": 64})").lines;
  EXPECT_EQ(lines.size(), 8U);  // the unknown key, and hidden heads ffn_hidden vocab activation norm position
  EXPECT_EQ(lines.front().substr(0, 75),
            "experiment.json: /model/hiden: found an unknown key, expected \"hidden\" or o");
}

}  // namespace
}  // namespace orrery
