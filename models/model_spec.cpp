#include "models/model_spec.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <set>
#include <string>
#include <string_view>

#include "models/layer_kind.hpp"
#include "sim/base/presets.hpp"

namespace orrery {

namespace {

constexpr std::int64_t kMostWidth = std::int64_t{1} << 40;
constexpr int kMostCount = 1 << 20;

constexpr std::array<std::string_view, 5> kActivations = {"gelu", "relu", "squared_relu", "swiglu", "geglu"};
constexpr std::array<std::string_view, 2> kNorms = {"layernorm", "rmsnorm"};
constexpr std::array<std::string_view, 4> kPositions = {"learned", "rope", "alibi", "none"};
constexpr std::array<std::string_view, 4> kAttentionKinds = {"mha", "gqa", "mla", "sliding"};
constexpr std::array<std::string_view, 2> kObjectives = {"causal_lm", "masked_lm"};

int count_at(const SpecReader& reader, std::string_view key, int least) {
  return static_cast<int>(reader.at(key).integer(least, kMostCount));
}

std::int64_t width_at(const SpecReader& reader, std::string_view key) {
  return reader.at(key).integer(1, kMostWidth);
}

void read_mla(const SpecReader& attention, ModelSpec& model) {
  model.q_lora_rank = attention.at("q_lora_rank").integer(0, kMostWidth);
  model.kv_lora_rank = width_at(attention, "kv_lora_rank");
  model.qk_nope_dim = width_at(attention, "qk_nope_dim");
  model.qk_rope_dim = width_at(attention, "qk_rope_dim");
  model.v_dim = width_at(attention, "v_dim");
}

void read_attention(const SpecReader& attention, ModelSpec& model) {
  attention.only(
      {"kind", "window", "full_every", "q_lora_rank", "kv_lora_rank", "qk_nope_dim", "qk_rope_dim", "v_dim"});
  if (!attention.is_object()) return;
  if (attention.has("kind")) {
    model.attention = static_cast<AttentionKind>(attention.at("kind").choice(kAttentionKinds));
  }
  const bool sliding = model.attention == AttentionKind::sliding;
  if (sliding) {
    model.window = width_at(attention, "window");
    if (attention.has("full_every")) model.full_every = count_at(attention, "full_every", 2);
  }
  for (const std::string_view key : {"window", "full_every"}) {
    if (!sliding && attention.has(key)) {
      attention.at(key).refuse_message("is only legal with attention kind \"sliding\"");
    }
  }
  if (model.attention == AttentionKind::mla) {
    read_mla(attention, model);
    return;
  }
  for (const std::string_view key : {"q_lora_rank", "kv_lora_rank", "qk_nope_dim", "qk_rope_dim", "v_dim"}) {
    if (attention.has(key)) attention.at(key).refuse_message("is only legal with attention kind \"mla\"");
  }
}

void read_router_groups(const SpecReader& reader, MoeSpec& moe) {
  if (!reader.has("router_groups")) {
    if (reader.has("groups_per_token")) {
      reader.at("groups_per_token").refuse_message("is only legal beside router_groups");
    }
    return;
  }
  const int groups = count_at(reader, "router_groups", 1);
  if (moe.experts % groups != 0) {
    reader.at("router_groups").refuse("a divisor of experts " + std::to_string(moe.experts), true);
    return;
  }
  const int allowed =
      static_cast<int>(reader.at("groups_per_token").integer(1, std::min(groups, std::max(1, moe.top_k))));
  if (moe.top_k > moe.experts / groups * allowed) {
    reader.at("top_k").refuse(
        "at most the " + std::to_string(moe.experts / groups * allowed) + " experts of a token's groups",
        true);
    return;
  }
  moe.router_groups = groups;
  moe.groups_per_token = allowed;
}

MoeSpec read_moe(const SpecReader& reader, const ModelSpec& model) {
  MoeSpec moe;
  reader.only({"experts", "top_k", "ffn_hidden", "shared_experts", "shared_ffn_hidden", "first_dense_layers",
               "every", "router_groups", "groups_per_token", "capacity_factor", "imbalance"});
  if (!reader.is_object()) return moe;
  moe.experts = count_at(reader, "experts", 2);
  moe.top_k = static_cast<int>(reader.at("top_k").integer(1, moe.experts));
  moe.ffn_hidden = reader.has("ffn_hidden") ? width_at(reader, "ffn_hidden") : model.ffn_hidden;
  if (reader.has("shared_experts")) moe.shared_experts = count_at(reader, "shared_experts", 0);
  if (moe.shared_experts > 0) {
    moe.shared_ffn_hidden =
        reader.has("shared_ffn_hidden") ? width_at(reader, "shared_ffn_hidden") : moe.ffn_hidden;
  } else if (reader.has("shared_ffn_hidden")) {
    reader.at("shared_ffn_hidden").refuse_message("is only legal with shared_experts above 0");
  }
  if (reader.has("first_dense_layers")) {
    moe.first_dense_layers = static_cast<int>(reader.at("first_dense_layers").integer(0, model.layers));
  }
  if (reader.has("every")) moe.every = count_at(reader, "every", 1);
  read_router_groups(reader, moe);
  if (reader.has("capacity_factor")) {
    const SpecReader factor = reader.at("capacity_factor");
    moe.capacity_factor = factor.number_above(0.0);
    // The router's top_k experts of a token are different ones.
    const double most = static_cast<double>(moe.experts) / moe.top_k;
    if (*moe.capacity_factor > most) {
      factor.refuse(
          fmt::format("at most {}, experts / top_k: an expert receives a token once", rounded_down(most)),
          true);
    }
  }
  if (reader.has("imbalance")) moe.imbalance = reader.at("imbalance").number(1.0, 1e6);
  return moe;
}

/// Heads, key and value heads, head size and the kind of attention: what is left out follows from the rest.
void read_heads(const SpecReader& reader, ModelSpec& model) {
  model.heads = count_at(reader, "heads", 1);
  model.kv_heads = reader.has("kv_heads") ? count_at(reader, "kv_heads", 1) : model.heads;
  // What does not fit a count that was refused follows from it.
  const std::set<std::string> refused = reader.problems().refused_below(reader.pointer());
  const bool counted = !refused.contains("heads") && !refused.contains("kv_heads");
  if (counted && model.heads % model.kv_heads != 0) {
    reader.problems().add(reader.pointer() + "/kv_heads", std::to_string(model.kv_heads),
                          "a divisor of heads " + std::to_string(model.heads));
  }
  model.attention = model.kv_heads == model.heads ? AttentionKind::mha : AttentionKind::gqa;
  if (reader.has("attention")) read_attention(reader.at("attention"), model);
  if (counted && model.attention == AttentionKind::mha && model.kv_heads != model.heads) {
    reader.problems().add(reader.pointer() + "/attention/kind", "\"mha\"",
                          "\"gqa\" with " + std::to_string(model.kv_heads) + " kv_heads for " +
                              std::to_string(model.heads) + " heads");
  }
  const bool mla = model.attention == AttentionKind::mla;
  if (counted && mla && model.kv_heads != model.heads) {
    reader.at("kv_heads")
        .refuse("heads " + std::to_string(model.heads) +
                    " with attention kind \"mla\", which makes keys for every head",
                true);
  }
  const std::int64_t mla_dim = model.qk_nope_dim + model.qk_rope_dim;
  if (reader.has("head_dim")) {
    model.head_dim = width_at(reader, "head_dim");
    if (mla && model.head_dim != mla_dim) {
      reader.at("head_dim").refuse("qk_nope_dim + qk_rope_dim = " + std::to_string(mla_dim), true);
    }
  } else if (mla) {
    model.head_dim = mla_dim;
  } else if (model.hidden % model.heads != 0) {
    if (!refused.contains("heads") && !refused.contains("hidden")) {
      reader.at("heads").refuse(
          "a divisor of hidden " + std::to_string(model.hidden) + ", or head_dim beside it", true);
    }
    model.head_dim = 1;
  } else {
    model.head_dim = model.hidden / model.heads;
  }
}

void read_feed_forward(const SpecReader& reader, ModelSpec& model) {
  model.ffn_hidden = width_at(reader, "ffn_hidden");
  model.activation = static_cast<Activation>(reader.at("activation").choice(kActivations));
  const bool gated = model.activation == Activation::swiglu || model.activation == Activation::geglu;
  model.gated = reader.has("gated") ? reader.at("gated").boolean() : gated;
  if (model.gated != gated) {
    const std::string name(kActivations[static_cast<size_t>(model.activation)]);
    reader.at("gated").refuse(std::string(gated ? "true" : "false") + " with activation \"" + name + "\"");
  }
  if (reader.has("clamped_activation")) {
    model.clamped_activation = reader.at("clamped_activation").boolean();
    if (model.clamped_activation && !gated) {
      reader.at("clamped_activation").refuse("false with an activation that is not gated");
    }
  }
  if (reader.has("moe")) model.moe = read_moe(reader.at("moe"), model);
  if (reader.has("mtp_layers")) model.mtp_layers = count_at(reader, "mtp_layers", 0);
}

void read_positions(const SpecReader& reader, ModelSpec& model) {
  model.position = static_cast<PositionEncoding>(reader.at("position").choice(kPositions));
  if (reader.has("max_positions")) model.max_positions = reader.at("max_positions").integer(0, kMostWidth);
  if (reader.has("token_types")) model.token_types = reader.at("token_types").integer(0, kMostWidth);
  if (reader.has("rotary_scale")) {
    model.rotary_scale = reader.at("rotary_scale").number(0.0, 100.0);
    if (model.position != PositionEncoding::rope && model.rotary_scale != 1.0) {
      reader.at("rotary_scale").refuse_message("is only legal with position \"rope\"");
    } else if (model.attention == AttentionKind::mla && model.rotary_scale != 1.0) {
      reader.at("rotary_scale").refuse("1 with attention kind \"mla\", whose kernels scale the scores");
    }
  }
  if (!reader.has("rotary_fraction")) return;
  model.rotary_fraction = reader.at("rotary_fraction").number(0.0, 1.0);
  if (model.position != PositionEncoding::rope && model.rotary_fraction != 1.0) {
    reader.at("rotary_fraction").refuse_message("is only legal with position \"rope\"");
  } else if (model.attention == AttentionKind::mla && model.rotary_fraction != 1.0) {
    reader.at("rotary_fraction")
        .refuse_message("is not legal with attention kind \"mla\": qk_rope_dim says it");
  }
}

void read_objective(const SpecReader& reader, ModelSpec& model) {
  if (reader.has("objective"))
    model.objective = static_cast<Objective>(reader.at("objective").choice(kObjectives));
  const bool masked = model.objective == Objective::masked_lm;
  model.causal = reader.has("causal") ? reader.at("causal").boolean() : !masked;
  if (masked && model.causal) reader.at("causal").refuse("false with objective \"masked_lm\"");
  if (!reader.has("masked_fraction")) return;
  model.masked_fraction = reader.at("masked_fraction").number(0.0, 1.0);
  if (!masked) reader.at("masked_fraction").refuse_message("is only legal with objective \"masked_lm\"");
}

bool flag_at(const SpecReader& reader, std::string_view key, bool otherwise) {
  return reader.has(key) ? reader.at(key).boolean() : otherwise;
}

ModelSpec read_dimensions(const SpecReader& reader) {
  ModelSpec model;
  reader.only({"schema",          "source",       "layers",
               "hidden",          "heads",        "kv_heads",
               "head_dim",        "ffn_hidden",   "vocab",
               "activation",      "norm",         "gated",
               "tied_embeddings", "position",     "bias",
               "causal",          "attention",    "moe",
               "mtp_layers",      "qk_norm",      "attention_sinks",
               "rotary_fraction", "rotary_scale", "clamped_activation",
               "max_positions",   "token_types",  "pooler",
               "masked_fraction", "objective",    "embedding_norm"});
  model.layers = count_at(reader, "layers", 1);
  model.hidden = width_at(reader, "hidden");
  model.vocab = width_at(reader, "vocab");
  model.norm = static_cast<Norm>(reader.at("norm").choice(kNorms));
  read_heads(reader, model);
  read_feed_forward(reader, model);
  read_positions(reader, model);
  read_objective(reader, model);
  if (model.mtp_layers > 0 && model.objective == Objective::masked_lm) {
    reader.at("mtp_layers").refuse("0 with objective \"masked_lm\"", true);
  }
  model.tied_embeddings = flag_at(reader, "tied_embeddings", true);
  model.bias = flag_at(reader, "bias", true);
  model.pooler = flag_at(reader, "pooler", false);
  if (model.mtp_layers > 0 && model.pooler) reader.at("pooler").refuse("false with mtp_layers above 0");
  model.embedding_norm = flag_at(reader, "embedding_norm", false);
  if (model.embedding_norm && model.objective == Objective::masked_lm) {
    reader.at("embedding_norm").refuse("false with objective \"masked_lm\", which has one");
  }
  model.qk_norm = flag_at(reader, "qk_norm", false);
  if (model.qk_norm && model.attention == AttentionKind::mla) {
    reader.at("qk_norm").refuse("false with attention kind \"mla\", whose latents are normalised");
  }
  model.attention_sinks = flag_at(reader, "attention_sinks", false);
  if (reader.has("source")) model.source = reader.at("source").text();
  return model;
}

double norm_parameters(const ModelSpec& model, std::int64_t width) {
  const bool has_bias = model.norm == Norm::layernorm && model.bias;
  return static_cast<double>(width) * (has_bias ? 2.0 : 1.0);
}

double product_parameters(const ModelSpec& model, std::int64_t inputs, std::int64_t outputs) {
  return static_cast<double>(inputs) * static_cast<double>(outputs) +
         (model.bias ? static_cast<double>(outputs) : 0.0);
}

double feed_forward_parameters(const ModelSpec& model, std::int64_t ffn) {
  const double up = product_parameters(model, model.hidden, ffn) * (model.gated ? 2.0 : 1.0);
  return up + product_parameters(model, ffn, model.hidden);
}

double mla_parameters(const ModelSpec& model) {
  // The products around the latents have no biases (megatron/core/transformer/multi_latent_attention.py).
  const auto product = [](std::int64_t inputs, std::int64_t outputs) {
    return static_cast<double>(inputs) * static_cast<double>(outputs);
  };
  const std::int64_t queries = model.heads * model.head_dim;
  double parameters = 0;
  if (model.q_lora_rank > 0) {
    parameters += product(model.hidden, model.q_lora_rank);
    parameters += norm_parameters(model, model.q_lora_rank);
    parameters += product(model.q_lora_rank, queries);
  } else {
    parameters += product(model.hidden, queries);
  }
  parameters += product(model.hidden, model.kv_lora_rank + model.qk_rope_dim);
  parameters += norm_parameters(model, model.kv_lora_rank);
  parameters += product(model.kv_lora_rank, model.heads * (model.qk_nope_dim + model.v_dim));
  return parameters + product_parameters(model, model.heads * model.v_dim, model.hidden);
}

double attention_parameters(const ModelSpec& model) {
  double parameters = 0;
  if (model.attention == AttentionKind::mla) {
    parameters = mla_parameters(model);
  } else {
    const std::int64_t queries = model.heads * model.head_dim;
    const std::int64_t keys_and_values = std::int64_t{2} * model.kv_heads * model.head_dim;
    parameters = product_parameters(model, model.hidden, queries + keys_and_values) +
                 product_parameters(model, queries, model.hidden);
  }
  if (model.qk_norm) parameters += 2.0 * norm_parameters(model, model.head_dim);
  if (model.attention_sinks) parameters += model.heads;
  return parameters;
}

/// Router, experts and shared experts of a mixture-of-experts layer, in place of its feed-forward part.
double moe_parameters(const ModelSpec& model, const MoeSpec& moe) {
  return product_parameters(model, model.hidden, moe.experts) +
         moe.experts * feed_forward_parameters(model, moe.ffn_hidden) +
         moe.shared_experts * feed_forward_parameters(model, moe.shared_ffn_hidden);
}

double layer_parameters_with(const ModelSpec& model, double feed_forward) {
  return attention_parameters(model) + feed_forward + 2.0 * norm_parameters(model, model.hidden);
}

}  // namespace

double rounded_down(double bound) { return std::floor(bound * 1e4) / 1e4; }

ModelSpec read_model_spec(const SpecReader& reader) {
  std::string preset;
  const Json whole = with_preset(reader, "models/presets", &preset);
  const bool spelled_out = reader.is_object() && !reader.has("preset");
  if (whole.empty() && !spelled_out) return {};
  ModelSpec model = read_dimensions(SpecReader(whole, reader.pointer(), reader.problems()));
  model.name = preset.empty() ? "custom" : preset;
  model.vocab_from_preset = !preset.empty() && !reader.has("vocab");
  return model;
}

double layer_parameters(const ModelSpec& model) {
  return layer_parameters_with(model, feed_forward_parameters(model, model.ffn_hidden));
}

double embedding_parameters(const ModelSpec& model, std::int64_t positions) {
  const double width = static_cast<double>(model.hidden);
  double rows = static_cast<double>(model.vocab + model.token_types);
  if (model.position == PositionEncoding::learned) {
    rows += static_cast<double>(model.max_positions > 0 ? model.max_positions : positions);
  }
  return rows * width + (model.normalises_embedding() ? norm_parameters(model, model.hidden) : 0.0);
}

double head_parameters(const ModelSpec& model) {
  double parameters = 0;
  if (model.objective == Objective::causal_lm) parameters += norm_parameters(model, model.hidden);
  if (!model.tied_embeddings)
    parameters += static_cast<double>(model.vocab) * static_cast<double>(model.hidden);
  if (model.pooler) parameters += product_parameters(model, model.hidden, model.hidden);
  return parameters;
}

double parameter_count(const ModelSpec& model, std::int64_t positions) {
  int expert_layers = 0;
  for (int layer = 0; layer < model.layers; ++layer) expert_layers += kind_of_layer(model, layer).moe ? 1 : 0;
  double parameters = embedding_parameters(model, positions) + head_parameters(model) +
                      (model.layers - expert_layers) * layer_parameters(model);
  const double expert_layer =
      model.moe ? layer_parameters_with(model, moe_parameters(model, *model.moe)) : 0.0;
  parameters += expert_layers * expert_layer;
  const double last_layer =
      kind_of_layer(model, model.layers - 1).moe ? expert_layer : layer_parameters(model);
  // A multi-token-prediction layer has two norms and a projection of its own; the embedding and the head are
  // shared.
  const double projection = 2.0 * static_cast<double>(model.hidden) * static_cast<double>(model.hidden);
  return parameters +
         model.mtp_layers * (last_layer + projection + 3.0 * norm_parameters(model, model.hidden));
}

double active_parameter_count(const ModelSpec& model, std::int64_t positions) {
  ModelSpec active = model;
  if (!model.moe) return parameter_count(model, positions);
  // The router still scores all experts.
  const double scored = product_parameters(model, model.hidden, model.moe->experts - model.moe->top_k);
  active.moe->experts = model.moe->top_k;
  const bool last = (model.layers % model.moe->every) == 0 && model.layers > model.moe->first_dense_layers;
  int mixtures = last ? model.mtp_layers : 0;
  for (int layer = model.moe->first_dense_layers; layer < model.layers; ++layer) {
    if ((layer + 1) % model.moe->every == 0) ++mixtures;
  }
  return parameter_count(active, positions) + mixtures * scored;
}

}  // namespace orrery
