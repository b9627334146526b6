#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

enum class Activation { gelu, relu, squared_relu, swiglu, geglu };
enum class Norm { layernorm, rmsnorm };
enum class PositionEncoding { learned, rope, alibi, none };
enum class AttentionKind { mha, gqa, mla, sliding };
enum class Objective { causal_lm, masked_lm };

struct MoeSpec {
  int experts = 0, top_k = 0;
  std::int64_t ffn_hidden = 0;
  int shared_experts = 0;
  std::int64_t shared_ffn_hidden = 0;
  int first_dense_layers = 0, every = 1;
  int router_groups = 1, groups_per_token = 1;  ///< a token's experts lie in that many of the groups
  std::optional<double> capacity_factor;
  double imbalance = 1.0;
};

/// A transformer by its dimensions (contract section 2, `model`).
struct ModelSpec {
  std::string name;
  int layers = 0;
  std::int64_t hidden = 0;
  int heads = 0, kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t ffn_hidden = 0;
  std::int64_t vocab = 0;
  bool vocab_from_preset = false;  ///< then the software pads it (vocab_multiple x tensor)
  Activation activation = Activation::gelu;
  Norm norm = Norm::layernorm;
  bool gated = false;
  bool tied_embeddings = true;
  PositionEncoding position = PositionEncoding::learned;
  std::int64_t max_positions =
      0;  ///< rows of a learned position table; 0: the sequence length of the training
  std::int64_t token_types = 0;
  bool pooler = false;
  bool embedding_norm = false;  ///< a norm behind the embedding (a masked_lm has one in any case)
  bool normalises_embedding() const { return embedding_norm || objective == Objective::masked_lm; }
  bool bias = true;
  bool causal = true;
  AttentionKind attention = AttentionKind::mha;
  std::int64_t window = 0;
  int full_every = 0;  ///< sliding attention: every n-th layer attends in full; 0: none does
  std::int64_t q_lora_rank = 0, kv_lora_rank = 0, qk_nope_dim = 0, qk_rope_dim = 0, v_dim = 0;
  /// Whether values are narrower than the queries and keys.
  bool has_unequal_heads() const {
    return attention == AttentionKind::mla && v_dim < qk_nope_dim + qk_rope_dim;
  }
  std::optional<MoeSpec> moe;
  int mtp_layers = 0;
  bool qk_norm = false;
  bool attention_sinks = false;
  double rotary_fraction = 1.0;
  double rotary_scale = 1.0;        ///< of turned queries and keys (YaRN: Peng et al. 2023, section 3.4)
  bool clamped_activation = false;  ///< both inputs of a gated activation are clamped before it
  Objective objective = Objective::causal_lm;
  double masked_fraction = 0.15;
  std::string source;  ///< of a preset: paper or configuration file
};

/// A bound of some fraction as a number, of four decimals, that can be given in its stead.
double rounded_down(double bound);

/// Reads a `model` value: a preset's name, {"preset": ..., overrides}, or an object. Problems go to the
/// reader's list.
ModelSpec read_model_spec(const SpecReader& reader);

/// Number of parameters: whole model, embeddings included, tied weights once. The MLP part of a masked-LM
/// head is not counted (published counts of encoders leave it out); a masked LM has its norm after the
/// embedding, not at the end. `positions`: rows of a learned position table where the model does not say (the
/// training's sequence length).
double parameter_count(const ModelSpec& model, std::int64_t positions);
/// The same with the experts of one token alone: top_k of each mixture.
double active_parameter_count(const ModelSpec& model, std::int64_t positions);
/// Parameters of one transformer layer / of embedding (word + position + types) / of the final norm and
/// untied head.
double layer_parameters(const ModelSpec& model);
double embedding_parameters(const ModelSpec& model, std::int64_t positions);
double head_parameters(const ModelSpec& model);

}  // namespace orrery
