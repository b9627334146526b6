#pragma once

#include <cstdint>
#include <vector>

#include "models/layer_kind.hpp"
#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"

namespace orrery {

/// Rounded up: the largest share when `total` is dealt to `ranks`.
constexpr std::int64_t largest_share(std::int64_t total, std::int64_t ranks) {
  return (total + ranks - 1) / ranks;
}

/// Dimensions of a model's layers as one rank sees them, after tensor, sequence and context parallelism, for
/// one micro-batch: what operators and memory are both counted from.
struct RankShape {
  RankShape(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
            const ParallelPlan& plan);

  std::int64_t sequences;  ///< of a micro-batch
  std::int64_t seq;        ///< whole sequence
  std::int64_t seq_local;  ///< tokens of a sequence on this context rank
  std::int64_t tokens;     ///< sequences x seq_local; the tensor ranks of a group share them
  std::int64_t hidden;
  std::int64_t heads,
      kv_heads;            ///< on this tensor rank; key and value heads are replicated when tensor > kv_heads
  std::int64_t head_dim;   ///< of queries and keys
  std::int64_t value_dim;  ///< of values: differs under latent attention
  std::int64_t ffn;        ///< columns of the activation's output on this rank
  std::int64_t up_columns;  ///< columns of the first MLP product: twice ffn when gated
  std::int64_t vocab;       ///< columns of the logits on this rank, after padding
  std::int64_t
      head_tokens;  ///< tokens that the output head works on (a masked language model: masked_fraction)
  double element;   ///< bytes of an activation element
  double hidden_elements;   ///< tokens x hidden; divided by tensor under sequence parallelism
  double sharded_elements;  ///< tokens x hidden / tensor
  double ffn_elements;      ///< tokens x ffn_hidden / tensor

  double rotary_elements;  ///< of queries and keys, that rotary positions turn

  std::int64_t query_columns() const { return heads * head_dim; }
  std::int64_t attention_columns() const { return heads * value_dim; }
  /// Of queries, keys and values; one product makes them but for latent attention.
  std::int64_t qkv_columns() const { return query_columns() + kv_heads * (head_dim + value_dim); }
  double query_and_key_elements() const {
    return static_cast<double>(tokens) * static_cast<double>((heads + kv_heads) * head_dim);
  }
  /// Whole buffer that tensor collectives work on: tokens x hidden.
  double gathered_bytes() const {
    return static_cast<double>(tokens) * static_cast<double>(hidden) * element;
  }
};

/// Transformer layers of a stage, all its virtual stages together (multi-token prediction left out).
int layers_of_stage(const ParallelPlan& plan, int stage);

/// Layers of a virtual stage: `count` from number `first` on, the first `recomputed` of them with the
/// training's recomputation, if it has any.
struct LayerRange {
  int first = 0, count = 0, recomputed = 0;
};
/// By virtual stage. training.recompute_layers counts over all virtual stages of a stage (of one chain:
/// DualPipe holds every stage twice), the first ones first.
std::vector<LayerRange> layers_by_virtual_stage(const TrainingSpec& training, const ParallelPlan& plan);

/// Vocabulary after padding: a preset's is rounded up to a multiple of `multiple` x tensor (Megatron-LM,
/// --make-vocab-size-divisible-by); one that the user gives is taken as given.
std::int64_t padded_vocabulary(const ModelSpec& model, int multiple, int tensor);

/// Forward FLOPs of one transformer layer of a kind over `sequences` whole sequences, 2 m n k a product, all
/// ranks together. The attention core counts every score (2 sequences seq^2 heads (head_dim + value_dim);
/// under a window min(window, seq) a query in place of seq), half of them under the causal convention.
/// Sources of the convention: Narayanan et al. 2021 (SC21), appendix A; windows and latent attention:
/// Megatron-Bridge, training/utils/flop_utils.py.
struct LayerFlops {
  double projections = 0;     ///< QKV and output projection
  double latent_up = 0;       ///< of these, the products out of the latents (and of queries without one)
  double attention_core = 0;  ///< Q K^T and P V
  double mlp = 0;             ///< of a dense layer
  double moe = 0;             ///< of a mixture: router, top_k experts and shared experts
  double routed = 0;          ///< of these, the top_k experts
  double attention_adapters = 0, mlp_adapters = 0;  ///< LoRA's
  double adapters() const { return attention_adapters + mlp_adapters; }
  /// Of weights that the step does not train when it trains adapters.
  double base_products() const { return projections + mlp + moe; }
  double total() const { return base_products() + attention_core + adapters(); }
};
LayerFlops layer_forward_flops(const ModelSpec& model, const TrainingSpec& training, double sequences,
                               LayerKind kind = {});
/// Of these, what the recomputation of a layer runs again.
double recomputed_flops(const LayerFlops& forward, const TrainingSpec& training);
/// Forward FLOPs of the projection of one multi-token-prediction layer.
double token_prediction_flops(const ModelSpec& model, const TrainingSpec& training, double sequences);
/// True if multi-token-prediction layers recompute: with all layers. A limited number is of the model's own
/// layers (megatron/core/transformer/multi_token_prediction.py leaves its own out of recompute_method block).
bool recomputes_token_prediction(const TrainingSpec& training);
/// The output head (and the dense layers of a masked language model in front of it), forward.
double head_forward_flops(const ModelSpec& model, const TrainingSpec& training, int vocab_multiple,
                          int tensor, double sequences);

/// True if selective recomputation names this module ("core_attn" when it names none).
bool recomputes_module(const TrainingSpec& training, const char* module);

/// Bytes in which a data-parallel group gathers a weight of a layer's product: 16 bits, or 8 under
/// fp8_parameter_gather. mxfp8 gathers 16 bits all the same, because its weights are scaled along both
/// dimensions (Megatron-LM, distributed_data_parallel_config.py, reuse_grad_buf_for_mxfp8_param_ag).
double gathered_weight_bytes(const TrainingSpec& training, const SoftwareStack& stack);
/// Bytes moved a weight and step to have it in the products' format; 0 without a recipe.
double cast_weight_traffic(const TrainingSpec& training, const SoftwareStack& stack,
                           const ParallelPlan& plan);

/// Type of the main gradients: the training's, else fp32 of fp32 weights and the stack's of 16-bit ones.
GradientDtype gradient_dtype_of(const TrainingSpec& training, const SoftwareStack& stack);
double gradient_bytes(GradientDtype type);

}  // namespace orrery
