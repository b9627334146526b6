#include "reports/experiment/spec_json.hpp"

#include <array>
#include <string>

namespace orrery {
namespace {

template <typename Kind, size_t count>
std::string name_at(const std::array<const char*, count>& names, Kind kind) {
  return names[static_cast<size_t>(kind)];
}

// The names of the contract, in the order of the enums.
constexpr std::array kActivations = {"gelu", "relu", "squared_relu", "swiglu", "geglu"};
constexpr std::array kNorms = {"layernorm", "rmsnorm"};
constexpr std::array kPositions = {"learned", "rope", "alibi", "none"};
constexpr std::array kAttentions = {"mha", "gqa", "mla", "sliding"};
constexpr std::array kObjectives = {"causal_lm", "masked_lm"};
constexpr std::array kRecomputes = {"none", "selective", "full"};
constexpr std::array kOptimizers = {"sgd",   "momentum", "adagrad",   "adam",
                                    "adamw", "lamb",     "adafactor", "muon"};
constexpr std::array kGradientTypes = {"fp32", "bf16", "fp16"};
constexpr std::array kConventions = {"full", "causal"};
constexpr std::array kSchedules = {"gpipe",          "1f1b",          "interleaved",
                                   "zero_bubble_h1", "zero_bubble_v", "dualpipe"};
constexpr std::array kContextMethods = {"ring", "all_gather", "ulysses"};

Json attention_json(const ModelSpec& model) {
  Json json = {{"kind", name_at(kAttentions, model.attention)}};
  if (model.window > 0) {
    json["window"] = model.window;
    if (model.full_every > 0) json["full_every"] = model.full_every;
  }
  if (model.attention == AttentionKind::mla) {
    json["q_lora_rank"] = model.q_lora_rank;
    json["kv_lora_rank"] = model.kv_lora_rank;
    json["qk_nope_dim"] = model.qk_nope_dim;
    json["qk_rope_dim"] = model.qk_rope_dim;
    json["v_dim"] = model.v_dim;
  }
  return json;
}

Json moe_json(const MoeSpec& moe) {
  Json json = {{"experts", moe.experts}, {"top_k", moe.top_k}, {"ffn_hidden", moe.ffn_hidden}};
  if (moe.shared_experts > 0) {
    json["shared_experts"] = moe.shared_experts;
    json["shared_ffn_hidden"] = moe.shared_ffn_hidden;
  }
  json["first_dense_layers"] = moe.first_dense_layers;
  json["every"] = moe.every;
  if (moe.router_groups > 1) {
    json["router_groups"] = moe.router_groups;
    json["groups_per_token"] = moe.groups_per_token;
  }
  if (moe.capacity_factor) json["capacity_factor"] = *moe.capacity_factor;
  json["imbalance"] = moe.imbalance;
  return json;
}

}  // namespace

Json model_json(const ModelSpec& model, std::int64_t vocab) {
  Json json = {{"layers", model.layers},
               {"hidden", model.hidden},
               {"heads", model.heads},
               {"kv_heads", model.kv_heads},
               {"head_dim", model.head_dim},
               {"ffn_hidden", model.ffn_hidden},
               {"vocab", vocab},
               {"activation", name_at(kActivations, model.activation)},
               {"norm", name_at(kNorms, model.norm)},
               {"gated", model.gated},
               {"tied_embeddings", model.tied_embeddings},
               {"position", name_at(kPositions, model.position)}};
  if (model.max_positions > 0) json["max_positions"] = model.max_positions;
  json["token_types"] = model.token_types;
  json["pooler"] = model.pooler;
  if (model.embedding_norm) json["embedding_norm"] = true;
  json["bias"] = model.bias;
  json["causal"] = model.causal;
  json["attention"] = attention_json(model);
  if (model.moe) json["moe"] = moe_json(*model.moe);
  json["mtp_layers"] = model.mtp_layers;
  json["qk_norm"] = model.qk_norm;
  json["attention_sinks"] = model.attention_sinks;
  json["rotary_fraction"] = model.rotary_fraction;
  json["rotary_scale"] = model.rotary_scale;
  json["clamped_activation"] = model.clamped_activation;
  json["objective"] = name_at(kObjectives, model.objective);
  if (model.objective == Objective::masked_lm) json["masked_fraction"] = model.masked_fraction;
  return json;
}

Json optimizer_json(const TrainingSpec& training) {
  const OptimizerStorage& storage = training.optimizer_storage;
  if (storage == OptimizerStorage{}) return name_at(kOptimizers, training.optimizer);
  return {{"kind", name_at(kOptimizers, training.optimizer)},
          {"state_dtype", std::string(name_of(storage.states))},
          {"master_weights", std::string(name_of(storage.master))}};
}

Json training_json(const TrainingSpec& training, GradientDtype gradient_dtype) {
  Json recompute = {{"kind", name_at(kRecomputes, training.recompute)}};
  if (training.recompute_layers >= 0) recompute["layers"] = training.recompute_layers;
  if (!training.recompute_modules.empty()) recompute["modules"] = training.recompute_modules;
  Json json = {{"seq_length", training.seq_length},
               {"global_batch", training.global_batch},
               {"micro_batch", training.micro_batch},
               {"precision", std::string(name_of(training.precision))},
               {"gradient_dtype", name_at(kGradientTypes, gradient_dtype)},
               {"optimizer", optimizer_json(training)},
               {"recompute", recompute},
               {"flops_convention", name_at(kConventions, training.flops_convention)}};
  if (training.lora) {
    Json targets = Json::array();
    if (training.lora->attention) targets.push_back("attention");
    if (training.lora->mlp) targets.push_back("mlp");
    json["lora"] = {{"rank", training.lora->rank}, {"targets", targets}};
  }
  if (training.tokens) json["tokens"] = *training.tokens;
  json["sync"] = sync_json(training.sync);
  if (training.data) json["data"] = data_json(*training.data);
  if (training.checkpoint) json["checkpoint"] = checkpoint_json(*training.checkpoint);
  if (training.offload.activations_layers > 0 || training.offload.optimizer) {
    json["offload"] = {{"activations_layers", training.offload.activations_layers},
                       {"optimizer", training.offload.optimizer}};
  }
  return json;
}

Json plan_json(const ParallelPlan& plan) {
  Json json = {{"tensor", plan.tensor},
               {"pipeline", plan.pipeline},
               {"context", plan.context},
               {"expert", plan.expert},
               {"expert_tensor", plan.expert_tensor},
               {"data", plan.data},
               {"sequence", plan.sequence},
               {"interleave", plan.interleave},
               {"schedule", name_at(kSchedules, plan.schedule)},
               {"stage_layers", plan.stage_layers},
               {"context_method", name_at(kContextMethods, plan.context_method)},
               {"zero", plan.zero}};
  if (plan.zero > 0) json["shard_group"] = plan.shard_group;
  json["overlap"] = {{"gradient", plan.overlap.gradient},
                     {"parameter", plan.overlap.parameter},
                     {"tensor", plan.overlap.tensor},
                     {"pipeline", plan.overlap.pipeline},
                     {"expert", plan.overlap.expert}};
  if (plan.bucket > 0) json["bucket"] = plan.bucket;
  json["placement"] = plan.placement;
  return json;
}

}  // namespace orrery
