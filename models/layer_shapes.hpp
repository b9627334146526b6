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
      kv_heads;  ///< on this tensor rank; key and value heads are replicated when tensor > kv_heads
  std::int64_t head_dim;
  std::int64_t ffn;         ///< columns of the activation's output on this rank
  std::int64_t up_columns;  ///< columns of the first MLP product: twice ffn when gated
  std::int64_t vocab;       ///< columns of the logits on this rank, after padding
  std::int64_t
      head_tokens;  ///< tokens that the output head works on (a masked language model: masked_fraction)
  double element;   ///< bytes of an activation element
  double hidden_elements;   ///< tokens x hidden; divided by tensor under sequence parallelism
  double sharded_elements;  ///< tokens x hidden / tensor
  double ffn_elements;      ///< tokens x ffn_hidden / tensor

  std::int64_t attention_columns() const { return heads * head_dim; }
  std::int64_t qkv_columns() const { return (heads + 2 * kv_heads) * head_dim; }
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
/// ranks together. The attention core counts every score (4 sequences seq^2 heads head_dim), half of them
/// under the causal convention. Source of the convention: Narayanan et al. 2021 (SC21), appendix A.
struct LayerFlops {
  double projections = 0;     ///< QKV and output projection
  double attention_core = 0;  ///< Q K^T and P V
  double mlp = 0;
  double total() const { return projections + attention_core + mlp; }
};
LayerFlops layer_forward_flops(const ModelSpec& model, const TrainingSpec& training, double sequences,
                               LayerKind kind = {});
/// Of these, what the recomputation of a layer runs again.
double recomputed_flops(const LayerFlops& forward, const TrainingSpec& training);
/// The output head (and the dense layers of a masked language model in front of it), forward.
double head_forward_flops(const ModelSpec& model, const TrainingSpec& training, int vocab_multiple,
                          int tensor, double sequences);

/// True if selective recomputation names this module ("core_attn" when it names none).
bool recomputes_module(const TrainingSpec& training, const char* module);

/// @throws std::invalid_argument if unsupported_features(model) names something
void require_supported(const ModelSpec& model);

/// Type of the main gradients: the training's, else the stack's.
GradientDtype gradient_dtype_of(const TrainingSpec& training, const SoftwareStack& stack);
double gradient_bytes(GradientDtype type);

}  // namespace orrery
