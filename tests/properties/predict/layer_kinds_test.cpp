// Models whose layers differ, through both engines and scopes, and laws of what they are made of.
#include <gtest/gtest.h>

#include <string>

#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"

namespace orrery {
namespace {

const char* const kLatent =
    R"({"kind": "mla", "q_lora_rank": 768, "kv_lora_rank": 512, "qk_nope_dim": 128, "qk_rope_dim": 64, "v_dim": 128})";

/// A dense model of 8 layers on 4 nodes of 8 H100, with changes (merge patches) of model and plan.
Json experiment_of(const std::string& model, const std::string& parallel) {
  Json document = parse_json(R"({
    "name": "kinds", "cluster": {"preset": "dgx-h100", "nodes": 4},
    "model": {"layers": 8, "hidden": 2048, "heads": 16, "head_dim": 128, "ffn_hidden": 8192, "vocab": 65536,
              "activation": "swiglu", "norm": "rmsnorm", "position": "rope", "bias": false, "tied_embeddings": false},
    "training": {"seq_length": 4096, "global_batch": 64, "micro_batch": 1},
    "software": {"preset": "megatron-core", "date": "2025-06"}, "parallel": {}})",
                             "test");
  document["model"].merge_patch(parse_json(model, "test"));
  document["parallel"] = parse_json(parallel, "test");
  return document;
}

Prediction predicted(const Json& document, EngineKind engine, bool full = false) {
  PredictOptions options;
  options.engine = engine;
  options.full_scope = full;
  options.echo = false;
  return predict(read_experiment(document, "test"), options);
}

double estimated(const Json& document) { return predicted(document, EngineKind::estimate).step_time.base(); }

std::string latent_patch() {
  return std::string(R"({"head_dim": 192, "mtp_layers": 1, "attention": )") + kLatent + "}";
}

TEST(LayerKinds, AgreeInBothEnginesAndScopes) {
  const std::string sliding =
      R"({"attention": {"kind": "sliding", "window": 512, "full_every": 4}, "attention_sinks": true})";
  for (const std::string& model :
       {latent_patch(), sliding, std::string(R"({"qk_norm": true, "mtp_layers": 2})")}) {
    for (const char* plan :
         {R"({"tensor": 2, "pipeline": 4, "zero": 1})", R"({"tensor": 4, "sequence": true, "zero": 1})",
          R"({"pipeline": 2, "interleave": 4, "zero": 0})", R"({"zero": 3})",
          R"({"pipeline": 4, "schedule": "zero_bubble_h1", "zero": 1})",
          R"({"context": 2, "context_method": "ulysses", "zero": 1, "overlap": {"gradient": true}})"}) {
      const Json document = experiment_of(model, plan);
      const Prediction estimate = predicted(document, EngineKind::estimate);
      const Prediction folded = predicted(document, EngineKind::simulate);
      const Prediction full = predicted(document, EngineKind::simulate, true);
      if (!folded.contended) {
        EXPECT_NEAR(folded.step_time / estimate.step_time, 1.0, 0.01) << model << " " << plan;
      }
      EXPECT_NEAR(full.step_time / folded.step_time, 1.0, 0.005) << model << " " << plan;
      double sum = 0;
      for (const double seconds : folded.breakdown) sum += seconds;
      EXPECT_NEAR(sum / folded.step_time.base(), 1.0, 1e-9) << model << " " << plan;
    }
  }
}

TEST(Laws, AWiderWindowIsNeverFasterAndAFullLayerNeverFasterThanASlidingOne) {
  const std::string plan = R"({"tensor": 2, "zero": 1})";
  const auto with = [&](const std::string& attention) {
    return estimated(experiment_of(R"({"attention": )" + attention + "}", plan));
  };
  double last = 0;
  for (const int window : {128, 256, 1000, 1024, 2048, 4096}) {
    const double now = with(R"({"kind": "sliding", "window": )" + std::to_string(window) + "}");
    EXPECT_GE(now, last * (1 - 1e-12)) << window;
    last = now;
  }
  EXPECT_DOUBLE_EQ(last, with(R"({"kind": "mha"})"));  // a window over the whole sequence
  double fewer = 0;
  for (const int every : {8, 4, 2}) {  // ever more layers attend in full
    const double now =
        with(R"({"kind": "sliding", "window": 256, "full_every": )" + std::to_string(every) + "}");
    EXPECT_GT(now, fewer) << every;
    fewer = now;
  }
}

TEST(Laws, EachTokenPredictionCostsALayerAndAHeadAtLeast) {
  const std::string plan = R"({"zero": 1})";
  const double none = estimated(experiment_of("{}", plan));
  const double one = estimated(experiment_of(R"({"mtp_layers": 1})", plan));
  const double two = estimated(experiment_of(R"({"mtp_layers": 2})", plan));
  const double layer = estimated(experiment_of(R"({"layers": 9})", plan)) - none;
  EXPECT_GT(one - none, layer);
  EXPECT_GT(two - one, layer);
}

TEST(Laws, WiderLatentsAndMoreRecomputationAreNeverFaster) {
  const std::string plan = R"({"tensor": 2, "sequence": true, "zero": 1})";
  Json document = experiment_of(latent_patch(), plan);
  const double narrow = estimated(document);
  Json wide = document;
  wide["model"]["attention"]["kv_lora_rank"] = 1024;
  EXPECT_GT(estimated(wide), narrow);
  document["training"]["recompute"] =
      parse_json(R"({"kind": "selective", "modules": ["mla_up_proj"]})", "test");
  const double recomputing = estimated(document);
  EXPECT_GT(recomputing, narrow);
  document["training"]["recompute"] = "full";
  EXPECT_GT(estimated(document), recomputing);
}

}  // namespace
}  // namespace orrery
