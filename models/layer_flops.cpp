#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/layer_operators.hpp"
#include "models/layer_shapes.hpp"
#include "models/low_rank_adapters.hpp"
#include "models/moe_shape.hpp"

namespace orrery {

namespace {

/// Products of latent attention on one of `tensor` ranks, in columns times inputs: with the latents' norms
/// these are its parameters, and two FLOPs each a token.
struct LatentProductSizes {
  double down = 0, up = 0;  ///< into the latents, whole on every rank; out of them
  double latents = 0;       ///< widths that are normalised
  LatentProductSizes(const ModelSpec& model, double heads, double hidden, double head_dim)
      : latents(static_cast<double>(model.q_lora_rank + model.kv_lora_rank)) {
    const double q_latent = static_cast<double>(model.q_lora_rank);
    const double kv_latent = static_cast<double>(model.kv_lora_rank);
    down = hidden * (q_latent + kv_latent + static_cast<double>(model.qk_rope_dim));
    up = heads * head_dim * (model.q_lora_rank > 0 ? q_latent : hidden) +
         kv_latent * heads * static_cast<double>(model.qk_nope_dim + model.v_dim);
  }
};

/// A layer norm keeps its biases where linear layers have none (Megatron-core without add_bias_linear); a
/// model's own count (norm_parameters in model_spec) follows what was published.
double held_norm_parameters(const ModelSpec& model, double width) {
  return model.norm == Norm::layernorm ? 2.0 * width : width;
}

double as_double(std::int64_t value) { return static_cast<double>(value); }

/// Layers of a kind in the whole model, and those of them that recompute.
struct KindCount {
  LayerKind kind;
  int layers = 0, recomputing = 0;
};

std::vector<KindCount> count_kinds(const ModelSpec& model, const TrainingSpec& training,
                                   const ParallelPlan& plan) {
  std::vector<KindCount> counts;
  for (const LayerKind& kind : layer_kinds(model)) counts.push_back({kind});
  const std::vector<int> kinds = kinds_by_layer(model);
  for (const int kind : kinds) ++counts[static_cast<size_t>(kind)].layers;
  if (training.recompute == Recompute::none) return counts;
  if (training.recompute_layers < 0) {
    for (KindCount& count : counts) count.recomputing = count.layers;
    return counts;
  }
  std::vector<LayerRange> ranges = layers_by_virtual_stage(training, plan);
  ranges.resize(plan.stage_layers.size());  // a second chain holds the same layers for other micro-batches
  for (const LayerRange& range : ranges) {
    for (int i = 0; i < range.recomputed; ++i) {
      ++counts[static_cast<size_t>(kinds[static_cast<size_t>(range.first) + static_cast<size_t>(i)])]
            .recomputing;
    }
  }
  return counts;
}

}  // namespace

RankShape::RankShape(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& plan)
    : sequences(training.micro_batch),
      seq(training.seq_length),
      seq_local(largest_share(training.seq_length, plan.context)),
      tokens(sequences * seq_local),
      hidden(model.hidden),
      heads(largest_share(model.heads, plan.tensor)),
      kv_heads(largest_share(model.kv_heads, plan.tensor)),
      head_dim(model.head_dim),
      value_dim(model.attention == AttentionKind::mla ? model.v_dim : model.head_dim),
      ffn(largest_share(model.ffn_hidden, plan.tensor)),
      up_columns(model.gated ? 2 * ffn : ffn),
      vocab(largest_share(padded_vocabulary(model, stack.vocab_multiple, plan.tensor), plan.tensor)),
      head_tokens(model.objective == Objective::masked_lm
                      ? std::max<std::int64_t>(1, std::llround(model.masked_fraction * as_double(tokens)))
                      : tokens),
      element(activation_bytes(training.precision)),
      hidden_elements(as_double(tokens) * as_double(hidden) / (plan.sequence ? plan.tensor : 1)),
      sharded_elements(as_double(tokens) * as_double(hidden) / plan.tensor),
      ffn_elements(as_double(tokens) * as_double(model.ffn_hidden) / plan.tensor),
      // Latent attention turns a slice of each query head and one slice of keys that all heads share.
      rotary_elements(model.attention == AttentionKind::mla
                          ? as_double(tokens * (heads + 1) * model.qk_rope_dim)
                          : query_and_key_elements() * model.rotary_fraction) {}

int layers_of_stage(const ParallelPlan& plan, int stage) {
  const PipelinePlacement place = plan.pipeline_placement();
  int layers = 0;
  for (int chunk = 0; chunk < place.chunks(); ++chunk) {
    layers += plan.stage_layers[static_cast<size_t>(place.position(place.virtual_stage(stage, chunk)))];
  }
  return layers;
}

namespace {

/// Deals layers to recompute evenly over the virtual stages of a stage.
/// @param ranges of the stage's virtual stages
void deal_recomputed(int layers, std::span<LayerRange* const> ranges) {
  for (LayerRange* range : ranges) range->recomputed = 0;
  for (; layers > 0; --layers) {
    LayerRange* fewest = nullptr;
    for (LayerRange* range : ranges) {
      if (range->recomputed == range->count) continue;
      if (fewest == nullptr || range->recomputed < fewest->recomputed) fewest = range;
    }
    if (fewest == nullptr) return;
    ++fewest->recomputed;
  }
}

}  // namespace

std::vector<LayerRange> layers_by_virtual_stage(const TrainingSpec& training, const ParallelPlan& plan) {
  const PipelinePlacement place = plan.pipeline_placement();
  std::vector<LayerRange> ranges;
  ranges.reserve(static_cast<size_t>(place.virtual_stages()));
  int first = 0;
  for (int v = 0; v < place.chain_length(); ++v) {
    const int layers = plan.stage_layers[static_cast<size_t>(v)];
    ranges.push_back({first, layers, layers});
    first += layers;
  }
  if (training.recompute_layers >= 0) {
    std::vector<std::vector<LayerRange*>> of_stage(static_cast<size_t>(plan.pipeline));
    for (int v = 0; v < place.chain_length(); ++v) {
      of_stage[static_cast<size_t>(place.stage_of(v))].push_back(&ranges[static_cast<size_t>(v)]);
    }
    for (const auto& stage : of_stage) deal_recomputed(training.recompute_layers, stage);
  }
  for (int v = place.chain_length(); v < place.virtual_stages(); ++v) {
    ranges.push_back(ranges[static_cast<size_t>(place.position(v))]);
  }
  return ranges;
}

std::int64_t padded_vocabulary(const ModelSpec& model, int multiple, int tensor) {
  if (!model.vocab_from_preset) return model.vocab;
  const std::int64_t unit = std::int64_t{multiple} * tensor;
  return largest_share(model.vocab, unit) * unit;
}

LayerFlops layer_forward_flops(const ModelSpec& model, const TrainingSpec& training, double sequences,
                               LayerKind kind) {
  const double seq = as_double(training.seq_length);
  const double tokens = sequences * seq;
  const double hidden = as_double(model.hidden);
  const double attention_columns = as_double(model.head_dim) * model.heads;
  const double kv_columns = 2.0 * as_double(model.head_dim) * model.kv_heads;
  const bool halved = training.flops_convention == FlopsConvention::causal && model.causal;
  LayerFlops flops;
  const double keys = kind.sliding ? std::min(seq, as_double(model.window)) : seq;
  if (model.attention == AttentionKind::mla) {
    const double value_columns = as_double(model.v_dim) * model.heads;
    const LatentProductSizes products(model, model.heads, hidden, as_double(model.head_dim));
    flops.latent_up = 2.0 * tokens * products.up;
    flops.projections = 2.0 * tokens * (products.down + products.up + value_columns * hidden);
    flops.attention_core = 2.0 * tokens * keys * (attention_columns + value_columns) * (halved ? 0.5 : 1.0);
  } else {
    flops.projections = 2.0 * tokens * hidden * (attention_columns + kv_columns + attention_columns);
    flops.attention_core = 4.0 * tokens * keys * attention_columns * (halved ? 0.5 : 1.0);
  }
  if (kind.moe) {
    const MoeFlops token = moe_flops_per_token(model);
    flops.moe = tokens * token.total();
    flops.routed = tokens * token.experts;
    return flops;
  }
  flops.mlp = 2.0 * tokens * hidden * as_double(model.ffn_hidden) * (model.gated ? 3.0 : 2.0);
  for (const LowRankAdapter& adapter : adapters_of_layer(model, training, ParallelPlan{})) {
    const bool attention =
        adapter.place == LowRankAdapter::Place::qkv || adapter.place == LowRankAdapter::Place::output;
    (attention ? flops.attention_adapters : flops.mlp_adapters) +=
        adapter.forward_flops(tokens, training.lora->rank);
  }
  return flops;
}

bool recomputes_token_prediction(const TrainingSpec& training) {
  return training.recompute != Recompute::none && training.recompute_layers < 0;
}

bool recomputes_module(const TrainingSpec& training, const char* module) {
  if (training.recompute != Recompute::selective) return false;
  const auto& modules = training.recompute_modules;
  if (modules.empty()) return std::string("core_attn") == module;
  return std::find(modules.begin(), modules.end(), module) != modules.end();
}

double recomputed_flops(const LayerFlops& forward, const TrainingSpec& training) {
  if (training.recompute == Recompute::full) return forward.total();
  double again = 0.0;
  if (recomputes_module(training, "core_attn")) again += forward.attention_core;
  if (recomputes_module(training, "mla_up_proj")) again += forward.latent_up;
  if (recomputes_module(training, "mlp")) again += forward.mlp + forward.mlp_adapters;
  if (recomputes_module(training, "moe")) again += forward.moe;
  return again;
}

double head_forward_flops(const ModelSpec& model, const TrainingSpec& training, int vocab_multiple,
                          int tensor, double sequences) {
  const double hidden = as_double(model.hidden);
  const double vocab = as_double(padded_vocabulary(model, vocab_multiple, tensor));
  double tokens = sequences * as_double(training.seq_length);
  double flops = model.pooler ? 2.0 * sequences * hidden * hidden : 0.0;
  if (model.objective == Objective::masked_lm) {
    tokens *= model.masked_fraction;
    flops += 2.0 * tokens * hidden * hidden;
  }
  return flops + 2.0 * tokens * hidden * vocab;
}

StepFlops step_flops(const ModelSpec& model, const TrainingSpec& training, const ParallelPlan& plan,
                     int vocab_multiple, double expert_rows) {
  const double batch = as_double(training.global_batch);
  // Forward, gradient of the input, gradient of the weight; a frozen weight (LoRA) has no third.
  const double base = training.lora ? 2.0 : 3.0;
  double counted = 0.0;
  double further = 0.0;
  for (const KindCount& count : count_kinds(model, training, plan)) {
    const LayerFlops layer = layer_forward_flops(model, training, batch, count.kind);
    counted +=
        (base * layer.base_products() + 3.0 * (layer.attention_core + layer.adapters())) * count.layers;
    LayerFlops worked = layer;
    worked.moe += (expert_rows - 1.0) * layer.routed;
    further += base * (worked.moe - layer.moe) * count.layers;
    further += recomputed_flops(worked, training) * count.recomputing;
  }
  const double projections = model.mtp_layers * token_prediction_flops(model, training, batch);
  counted +=
      base * (projections + (1 + model.mtp_layers) *
                                head_forward_flops(model, training, vocab_multiple, plan.tensor, batch));
  if (training.recompute == Recompute::full && recomputes_token_prediction(training)) further += projections;
  StepFlops flops;
  flops.model = Flops(counted);
  flops.hardware = flops.model + Flops(further);
  return flops;
}

double layer_matrix_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan, LayerKind kind) {
  const double hidden = as_double(model.hidden);
  const double heads = as_double(largest_share(model.heads, plan.tensor));
  const double kv_heads = as_double(largest_share(model.kv_heads, plan.tensor));
  const double head_dim = as_double(model.head_dim);
  const double ffn = as_double(largest_share(model.ffn_hidden, plan.tensor));
  const double qkv_columns = (heads + 2.0 * kv_heads) * head_dim;
  const double parameters =
      kind.moe ? moe_parameters_per_rank(model, plan).matrices : hidden * ((model.gated ? 3.0 : 2.0) * ffn);
  if (model.attention == AttentionKind::mla) {
    const LatentProductSizes products(model, heads, hidden, head_dim);
    return parameters + products.down + products.up + heads * as_double(model.v_dim) * hidden;
  }
  return parameters + hidden * (qkv_columns + heads * head_dim);
}

double layer_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan, LayerKind kind) {
  const double hidden = as_double(model.hidden);
  const double heads = as_double(largest_share(model.heads, plan.tensor));
  const double kv_heads = as_double(largest_share(model.kv_heads, plan.tensor));
  const double head_dim = as_double(model.head_dim);
  const double ffn = as_double(largest_share(model.ffn_hidden, plan.tensor));
  double parameters = layer_matrix_parameters_per_rank(model, plan, kind);
  if (kind.moe) {
    const MoeParameters moe = moe_parameters_per_rank(model, plan);
    parameters += moe.total() - moe.matrices;
  } else if (model.bias) {
    parameters += (model.gated ? 2.0 * ffn : ffn) + hidden;
  }
  if (model.attention == AttentionKind::mla) {
    // The products around the latents have no biases (multi_latent_attention.py).
    const LatentProductSizes products(model, heads, hidden, head_dim);
    parameters += held_norm_parameters(model, products.latents) + (model.bias ? hidden : 0.0);
  } else if (model.bias) {
    parameters += (heads + 2.0 * kv_heads) * head_dim + hidden;
  }
  parameters += 2.0 * held_norm_parameters(model, hidden);
  if (model.qk_norm) parameters += 2.0 * held_norm_parameters(model, head_dim);
  if (model.attention_sinks) parameters += heads;
  return parameters;
}

double embedding_parameters_per_rank(const ModelSpec& model, const TrainingSpec& training,
                                     const ParallelPlan& plan, int vocab_multiple) {
  const double hidden = as_double(model.hidden);
  double rows = as_double(largest_share(padded_vocabulary(model, vocab_multiple, plan.tensor), plan.tensor));
  if (model.position == PositionEncoding::learned) {
    rows += as_double(model.max_positions > 0 ? model.max_positions : training.seq_length);
  }
  rows += as_double(model.token_types);
  double parameters = rows * hidden;
  if (model.normalises_embedding()) parameters += held_norm_parameters(model, hidden);
  return parameters;
}

double head_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan, int vocab_multiple) {
  const double hidden = as_double(model.hidden);
  const double vocab =
      as_double(largest_share(padded_vocabulary(model, vocab_multiple, plan.tensor), plan.tensor));
  double parameters = 0.0;
  if (model.objective == Objective::masked_lm) {
    parameters += hidden * hidden + hidden + held_norm_parameters(model, hidden) + vocab;
  } else {
    parameters += held_norm_parameters(model, hidden);
  }
  if (model.pooler) parameters += hidden * hidden + hidden;
  // Tied weights that stand on two ranks are held twice.
  if (!model.tied_embeddings || !plan.pipeline_placement().ends_together()) parameters += vocab * hidden;
  if (model.mtp_layers > 0 && !model.tied_embeddings && !plan.pipeline_placement().ends_together()) {
    parameters += vocab * hidden;
  }
  return parameters;
}

GradientDtype gradient_dtype_of(const TrainingSpec& training, const SoftwareStack& stack) {
  if (training.gradient_dtype) return *training.gradient_dtype;
  return activation_bytes(training.precision) > 2.0 ? GradientDtype::fp32 : stack.gradient_dtype;
}

double gathered_weight_bytes(const TrainingSpec& training, const SoftwareStack& stack) {
  const bool eight_bits =
      (stack.fp8_parameter_gather || training.lora) && operand_bytes(training.precision) == 1.0;
  // A block-scaled weight is cast once for each direction of its products, from what was gathered.
  if (eight_bits && training.precision != Precision::mxfp8) return stored_operand_bytes(training.precision);
  return activation_bytes(training.precision);
}

double cast_weight_traffic(const TrainingSpec& training, const SoftwareStack& stack,
                           const ParallelPlan& plan) {
  // A frozen weight (LoRA) is cast before the first step.
  if (!is_quantized(training.precision) || training.lora) return 0.0;
  const bool gathered = stack.fp8_parameter_gather && plan.zero >= 1;
  return gathered ? stack.quantize.gathered_weight_traffic : stack.quantize.weight_traffic;
}

double gradient_bytes(GradientDtype type) { return type == GradientDtype::fp32 ? 4.0 : 2.0; }

}  // namespace orrery
