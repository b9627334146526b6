#include "models/layer_builder.hpp"

namespace orrery {

// Multi-head latent attention (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1), as Megatron-core computes it
// in training: queries, and keys with values, go through a narrow latent each, with a norm between the two
// products; a slice of the key latent's product carries the rotary positions of all heads. Nothing is
// absorbed: whole keys and values are made. Tensor parallelism splits the heads; the products into the
// latents are whole on every rank and work on its sequence shard
// (megatron/core/transformer/multi_latent_attention.py: TELinear with parallel_mode duplicated). The gathers
// that the products out of the latents then need carry latents, not hidden states. Not modelled: the sum over
// the tensor group, once a step, of the whole products' weight gradients under sequence parallelism, as of
// the norms'.

namespace {

/// A stack's quantised casts of a backward have the `sharded` width at 1.5 times the queries' for the output
/// gradients of the QKV product; a latent product's output gradient is cast over its own width.
constexpr double kQkvGradientWidth = 1.5;
/// Two gradients of one tensor are read and their sum is written.
constexpr double kSumPasses = 3.0;
/// A norm reads and writes once in the forward; reads two tensors and writes one in the backward.
constexpr double kNormPasses = 2.0;
constexpr double kNormBackwardPasses = 3.0;

double elements(std::int64_t rows, std::int64_t columns) {
  return static_cast<double>(rows) * static_cast<double>(columns);
}

}  // namespace

std::int64_t LayerBuilder::latent_rows() const {
  return plan_.sequence ? largest_share(shape_.tokens, plan_.tensor) : shape_.tokens;
}

/// Rotary positions and the keys' and values' tensors put together from the product's output and the shared
/// rotary slice; queries are turned in place by fused kernels, else copied too
/// (fused_mla_yarn_rope_apply.py). The rotary passes are the stack's, over the turned columns alone.
/// Backward: the same tensors the other way.
double LayerBuilder::assembly_traffic(const ElementwisePasses& of_stack) const {
  const double heads = static_cast<double>(shape_.heads);
  const double made = static_cast<double>(shape_.head_dim + shape_.value_dim);
  const double read = static_cast<double>(model_.qk_nope_dim + shape_.value_dim);
  double traffic = heads * (read + made) + static_cast<double>(model_.qk_rope_dim);
  if (stack_.fusion != Fusion::full || of_stack.rope_latent > 0.0) {
    traffic += 2.0 * heads * static_cast<double>(shape_.head_dim);
  }
  return passes(of_stack).rope + traffic * static_cast<double>(shape_.tokens) * shape_.element;
}

void LayerBuilder::gather_latent(LayerPart part, std::int64_t columns, bool for_weight_gradient) {
  if (!plan_.sequence) return;
  const size_t first = items_.size();
  tensor_communication(part, "tensor all_gather", CollectiveOp::all_gather,
                       elements(shape_.tokens, columns) * gathered_element(false), for_weight_gradient);
  if (for_weight_gradient) mark_weight_work(first);
}

void LayerBuilder::reduce_latent(LayerPart part, std::int64_t columns, bool beside_next) {
  tensor_communication(part, plan_.sequence ? "tensor reduce_scatter" : "tensor all_reduce",
                       plan_.sequence ? CollectiveOp::reduce_scatter : CollectiveOp::all_reduce,
                       elements(shape_.tokens, columns) * shape_.element, beside_next);
}

/// One latent, forward: the product into it (`extra` columns beside it), its norm, the product out of it. The
/// norm is part of that product's module and runs again with it.
void LayerBuilder::latent_forward(const LatentProducts& of, double cast_passes) {
  const std::int64_t rows = latent_rows();
  product(LayerPart::qkv, of.down, rows, of.latent + of.extra, shape_.hidden, training_.precision,
          shape_.element);
  memory(LayerPart::latent_up, of.norm, kNormPasses * elements(rows, of.latent) * shape_.element,
         MemoryKind::norm);
  memory(LayerPart::latent_up, "quantize", cast_passes * elements(rows, of.latent) * shape_.element,
         MemoryKind::quantize);
  gather_latent(LayerPart::latent_up, of.latent);
  if (of.extra > 0) gather_latent(LayerPart::qkv, of.extra);
  product(LayerPart::latent_up, of.up, shape_.tokens, of.columns, of.latent, training_.precision,
          shape_.element);
}

void LayerBuilder::latent_backward(const LatentProducts& of, double cast_passes) {
  const std::int64_t rows = latent_rows();
  const Precision precision = training_.precision;
  memory(LayerPart::qkv, "quantize", cast_passes * elements(shape_.tokens, of.columns) * shape_.element,
         MemoryKind::quantize);
  gather_latent(LayerPart::qkv, of.latent, true);
  product(LayerPart::qkv, of.up_dgrad, shape_.tokens, of.latent, of.columns, precision, shape_.element);
  reduce_latent(LayerPart::qkv, of.latent, true);
  weight_gradient(LayerPart::qkv, of.up_wgrad, of.columns, of.latent, shape_.tokens, precision);
  if (of.extra > 0) reduce_latent(LayerPart::qkv, of.extra);
  memory(LayerPart::qkv, of.norm, kNormBackwardPasses * elements(rows, of.latent) * shape_.element,
         MemoryKind::norm);
  memory(LayerPart::qkv, "quantize", cast_passes * elements(rows, of.latent + of.extra) * shape_.element,
         MemoryKind::quantize);
  product(LayerPart::qkv, of.down_dgrad, rows, shape_.hidden, of.latent + of.extra, precision,
          shape_.element);
  weight_gradient(LayerPart::qkv, of.down_wgrad, of.latent + of.extra, shape_.hidden, rows, precision);
}

LayerBuilder::LatentProducts LayerBuilder::query_latent() const {
  return {"q_down_projection", "q_latent_norm", "q_up_projection",  "q_up_dgrad",           "q_up_wgrad",
          "q_down_dgrad",      "q_down_wgrad",  model_.q_lora_rank, shape_.query_columns(), 0};
}

LayerBuilder::LatentProducts LayerBuilder::key_latent() const {
  return {"kv_down_projection", "kv_latent_norm",    "kv_up_projection",
          "kv_up_dgrad",        "kv_up_wgrad",       "kv_down_dgrad",
          "kv_down_wgrad",      model_.kv_lora_rank, shape_.heads * (model_.qk_nope_dim + shape_.value_dim),
          model_.qk_rope_dim};
}

void LayerBuilder::latent_projections_forward() {
  const PassBytes cast = casts(stack_.quantize.forward);
  // Of a norm's output, as the stack casts the hidden one: half of its two norms'.
  const double cast_passes = cast.hidden / 2.0 / (shape_.hidden_elements * shape_.element);
  memory(LayerPart::qkv, "quantize", cast.hidden / 2.0, MemoryKind::quantize);
  if (model_.q_lora_rank > 0) {
    latent_forward(query_latent(), cast_passes);
  } else {
    gather_operand(LayerPart::latent_up, false);
    product(LayerPart::latent_up, "q_projection", shape_.tokens, shape_.query_columns(), shape_.hidden,
            training_.precision, shape_.element);
  }
  latent_forward(key_latent(), cast_passes);
  memory(LayerPart::latent_up, "rope_and_assembly", assembly_traffic(stack_.forward_passes));
  // Beyond the one product and the one copy that a stack counts: products, norms.
  extra_kernels_ += model_.q_lora_rank > 0 ? 3 + 2 : 2 + 1;
}

void LayerBuilder::latent_projections_backward() {
  const PassBytes cast = casts(stack_.quantize.backward);
  const double cast_passes = cast.sharded / kQkvGradientWidth / (shape_.sharded_elements * shape_.element);
  memory(LayerPart::qkv, "rope_and_assembly", assembly_traffic(stack_.backward_passes));
  latent_backward(key_latent(), cast_passes);
  if (model_.q_lora_rank > 0) {
    latent_backward(query_latent(), cast_passes);
  } else {
    memory(LayerPart::qkv, "quantize",
           cast_passes * elements(shape_.tokens, shape_.query_columns()) * shape_.element,
           MemoryKind::quantize);
    gather_operand(LayerPart::qkv, false, true);
    product(LayerPart::qkv, "q_dgrad", shape_.tokens, shape_.hidden, shape_.query_columns(),
            training_.precision, shape_.element);
    reduce_output(LayerPart::qkv, true);
    weight_gradient(LayerPart::qkv, "q_wgrad", shape_.query_columns(), shape_.hidden, shape_.tokens,
                    training_.precision);
  }
  memory(LayerPart::qkv, "latent_gradient_sum",
         kSumPasses * elements(latent_rows(), shape_.hidden) * shape_.element);
  // Products, two kernels a norm, the sum.
  extra_kernels_ += model_.q_lora_rank > 0 ? 6 + 4 + 1 : 4 + 2 + 1;
}

}  // namespace orrery
