#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "models/layer_operators.hpp"
#include "models/layer_shapes.hpp"
#include "models/low_rank_adapters.hpp"
#include "models/moe_shape.hpp"

namespace orrery {

/// Parts of a layer's forward that selective recomputation picks from.
enum class LayerPart {
  norm,
  qkv,
  latent_up,
  core_attention,
  attention_output,
  mlp,
  moe,
  moe_activation,
  residual
};

struct PartItem {
  LayerPart part;
  LayerItem item;
  /// Only the weights' gradients need it: their products, what accumulates them, the gathers of inputs for
  /// them. A schedule that splits the backward does it in a pass of its own.
  bool weight_work = false;
  bool launches_known = false;  ///< its kernels are not of those that the stack counts a dense layer by
  bool graphed = false;         ///< inside a graph over parts of a layer
};

/// Gives the kernels that are neither products nor attention to the memory-bound operators of a pass, as
/// evenly as possible, at least one each.
void distribute_launches(std::vector<PartItem>& items, int kernels);
/// The items in order, with their launches.
LayerPass to_pass(const std::vector<PartItem>& items);

/// The stack's pass over `hidden`, `sharded` and `ffn` widths, in bytes.
struct PassBytes {
  double hidden, sharded, ffn, rope;
  PassBytes(const ElementwisePasses& passes, const ModelSpec& model, const RankShape& shape)
      : hidden(passes.hidden * shape.hidden_elements * shape.element),
        sharded(passes.sharded * shape.sharded_elements * shape.element),
        ffn(passes.feed_forward(model.gated, model.clamped_activation) * shape.ffn_elements * shape.element),
        rope(model.position == PositionEncoding::rope
                 ? rotary(passes, model) * shape.rotary_elements * shape.element
                 : 0.0) {}
  static double rotary(const ElementwisePasses& passes, const ModelSpec& model) {
    if (model.kv_lora_rank > 0 && passes.rope_latent > 0.0) return passes.rope_latent;
    return model.rotary_scale != 1.0 && passes.rope_scaled > 0.0 ? passes.rope_scaled : passes.rope;
  }
};

/// How a stack's hidden-width passes fall on the two norms and the two residual additions of a layer. A norm
/// reads and writes its input once in the forward, and reads two tensors and writes one in the backward; the
/// rest is residual, bias and dropout.
struct HiddenPasses {
  double norm, residual;
  HiddenPasses(double hidden_bytes, double passes, double norm_passes)
      : norm(passes > 0.0 ? hidden_bytes * std::min(norm_passes, passes / 4.0) / passes : 0.0),
        residual(hidden_bytes / 2.0 - norm) {}
};

/// Operators and collectives of one transformer layer on one rank, in order of execution: attention in
/// attention_operators.cpp, the feed-forward part in feed_forward_operators.cpp or moe_operators.cpp.
class LayerBuilder {
 public:
  LayerBuilder(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
               const ParallelPlan& plan, LayerKind kind = {})
      : model_(model),
        training_(training),
        stack_(stack),
        plan_(plan),
        kind_(kind),
        shape_(model, training, stack, plan),
        adapters_(adapters_of_layer(model, training, plan)),
        attention_precision_(is_quantized(training.precision) ? Precision::bf16 : training.precision),
        core_precision_(!stack.fp8_attention                     ? attention_precision_
                        : training.precision == Precision::mxfp8 ? Precision::mxfp8
                                                                 : Precision::fp8) {}

  const RankShape& shape() const { return shape_; }
  std::vector<PartItem> take() { return std::move(items_); }
  size_t size() const { return items_.size(); }
  /// Kernels beside those that the stack counts a plain layer by; below zero where frozen weights (LoRA) do
  /// without their gradients.
  int extra_kernels() const { return extra_kernels_; }
  /// Number of the first item that the host starts after having waited for the counts of tokens; -1: no wait.
  int host_wait() const { return host_wait_; }

  // The two halves of a layer with their norms and residual additions.
  void attention_forward();
  void attention_backward();
  void feed_forward_forward();
  void feed_forward_backward();
  // What a multi-token-prediction layer does between its embedding and its transformer layer.
  void token_prediction_forward();
  void token_prediction_backward();

  // Pieces that the embedding and the head are made of, too.
  void memory(LayerPart part, std::string_view name, double traffic,
              MemoryKind kind = MemoryKind::streaming) {
    if (traffic <= 0.0) return;
    items_.push_back({part, Operator{name, MemoryShape{Bytes(traffic), 1, kind}}});
  }
  /// Kernels that take one element at a time, over `elements`; the stack counts their launches apart.
  void unvectorised(LayerPart part, std::string_view name, const UnvectorisedKernels& kernels,
                    double elements) {
    const double launches = std::ceil(kernels.strided + kernels.converting);
    unvectorised(part, name, kernels, elements, static_cast<int>(launches));
  }
  void unvectorised(LayerPart part, std::string_view name, const UnvectorisedKernels& kernels,
                    double elements, int launches) {
    if (kernels.strided + kernels.converting <= 0.0 || elements <= 0.0) return;
    const MemoryShape shape{Bytes(kernels.passes * elements * shape_.element), launches,
                            MemoryKind::streaming, stack_.unvectorised.of_element(kernels) * elements};
    items_.push_back({part, Operator{name, shape}});
    items_.back().launches_known = true;
  }
  void product(LayerPart part, std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k,
               Precision precision, double output_bytes, std::int64_t batch = 1) {
    GemmShape gemm{m, n, k, batch, precision, output_bytes, true};
    if (is_quantized(precision)) gemm.quantized_inputs = !quantizes_apart();
    items_.push_back({part, Operator{name, gemm}});
  }
  /// dW[out, in] = dY^T X over all tokens, added to the main gradient; nothing of a frozen weight (LoRA).
  void weight_gradient(LayerPart part, std::string_view name, std::int64_t out, std::int64_t in,
                       std::int64_t tokens, Precision precision) {
    if (training_.lora) {
      --extra_kernels_;
    } else {
      trained_weight_gradient(part, name, out, in, tokens, precision);
    }
  }
  void trained_weight_gradient(LayerPart part, std::string_view name, std::int64_t out, std::int64_t in,
                               std::int64_t tokens, Precision precision) {
    const size_t first = items_.size();
    if (stack_.fused_gradient_accumulation) {
      // The product reads and writes the main gradient itself.
      product(part, name, out, in, tokens, precision,
              2.0 * gradient_bytes(gradient_dtype_of(training_, stack_)));
    } else {
      product(part, name, out, in, tokens, precision, shape_.element);
      memory(part, "gradient_accumulation",
             stack_.gradient_accumulation_bytes * static_cast<double>(out) * static_cast<double>(in));
    }
    mark_weight_work(first);
  }
  /// The items from number `first` on are weight-gradient work.
  void mark_weight_work(size_t first) {
    for (size_t i = first; i < items_.size(); ++i) items_[i].weight_work = true;
  }
  /// The items from number `first` on stand in a graph over parts of a layer if `inside`.
  void mark_graphed(size_t first, bool inside) {
    for (size_t i = first; i < items_.size(); ++i) items_[i].graphed = items_[i].graphed || inside;
  }
  /// What a graph works on lies in memory of its own: `tensors` of the hidden size are copied there (PyTorch,
  /// torch/cuda/graphs.py, make_graphed_callables: inputs in the forward, gradients of outputs in the
  /// backward; Transformer Engine's graph.py alike).
  void copy_into_graph(int tensors) {
    items_.push_back({LayerPart::residual,
                      Operator{"copy_into_graph",
                               MemoryShape{Bytes(2.0 * tensors * shape_.hidden_elements * shape_.element),
                                           tensors, MemoryKind::streaming}}});
    items_.back().launches_known = true;
  }
  void tensor_communication(LayerPart part, std::string_view name, CollectiveOp op, double payload,
                            bool beside_next = false) {
    if (plan_.tensor == 1) return;
    LayerCommunication communication{name, GroupKind::tensor, op, Bytes(payload)};
    communication.cut_up = plan_.overlap.tensor && stack_.tensor_overlap_exposed < 1.0;
    communication.exposed_share = plan_.overlap.tensor ? stack_.tensor_overlap_exposed : 1.0;
    communication.beside_next_operator = beside_next;
    items_.push_back({part, communication});
  }
  /// Makes the whole input of a column-parallel product from the sequence shards; again in the backward,
  /// where only the weight gradient needs it, beside the input gradient's product.
  void gather_input(LayerPart part, bool for_weight_gradient = false, double share = 1.0) {
    if (!plan_.sequence) return;
    const size_t first = items_.size();
    tensor_communication(part, "tensor all_gather", CollectiveOp::all_gather, share * shape_.gathered_bytes(),
                         for_weight_gradient);
    if (for_weight_gradient) mark_weight_work(first);
  }
  /// The same of a layer's product, which a stack with quantized_gather sends already cast (Transformer
  /// Engine, pytorch/distributed.py, gather_along_first_dim). A tensor with one scale is transposed after the
  /// gather; block scales follow the direction of the product, so what two products read comes twice.
  void gather_operand(LayerPart part, bool two_products, bool for_weight_gradient = false) {
    gather_input(part, for_weight_gradient, gathered_element(two_products) / shape_.element);
  }
  /// Bytes an element of what gather_operand sends.
  double gathered_element(bool two_products) const {
    const Precision precision = training_.precision;
    if (!stack_.quantized_gather || !is_quantized(precision)) return shape_.element;
    const bool one_scale = precision == Precision::fp8 || precision == Precision::fp8_current;
    return stored_operand_bytes(precision) * (two_products && !one_scale ? 2.0 : 1.0);
  }
  /// Sums the partial outputs of a row-parallel product (forward) or of a column-parallel product's input
  /// gradient.
  void reduce_output(LayerPart part, bool beside_next = false) {
    const bool sequence = plan_.sequence;
    tensor_communication(part, sequence ? "tensor reduce_scatter" : "tensor all_reduce",
                         sequence ? CollectiveOp::reduce_scatter : CollectiveOp::all_reduce,
                         shape_.gathered_bytes(), beside_next);
  }

 private:
  // Queries, keys and values out of latents (multi-head latent attention).
  /// The two products of a latent: their names and widths.
  struct LatentProducts {
    std::string_view down, norm, up, up_dgrad, up_wgrad, down_dgrad, down_wgrad;
    std::int64_t latent;   ///< its width
    std::int64_t columns;  ///< of the product out of it, on this rank
    std::int64_t extra;    ///< columns of the product into it that pass it by (rotary keys)
  };
  LatentProducts query_latent() const;
  LatentProducts key_latent() const;
  std::int64_t latent_rows() const;
  double assembly_traffic(const ElementwisePasses& of_stack) const;
  void gather_latent(LayerPart part, std::int64_t columns, bool for_weight_gradient = false);
  void reduce_latent(LayerPart part, std::int64_t columns, bool beside_next = false);
  void latent_forward(const LatentProducts& of, double cast_passes);
  void latent_backward(const LatentProducts& of, double cast_passes);
  void latent_projections_forward();
  void latent_projections_backward();
  void projections_forward();
  void projections_backward();
  bool latent() const { return model_.attention == AttentionKind::mla; }
  /// Keys that a query attends to under this layer's window; 0: all.
  std::int64_t window() const {
    return kind_.sliding && model_.window < training_.seq_length ? model_.window : 0;
  }

  // A mixture of experts in place of the feed-forward part.
  void moe_forward();
  void moe_backward();
  void shared_experts_forward(const MoeShape& moe);
  void shared_experts_backward(const MoeShape& moe);
  void tokens_to_experts(const MoeShape& moe, bool forward);
  void tokens_from_experts(const MoeShape& moe, bool forward);
  void exchange_tokens(const MoeShape& moe, bool dispatches, bool forward, double element);
  void gather_routing_map(const MoeShape& moe);
  void sort_by_expert(const MoeShape& moe);
  void unfused_permutation(const MoeShape& moe, const PermutationPasses& passes);
  void join_experts(const MoeShape& moe);
  Precision router_precision() const;
  void cast_for_router(const MoeShape& moe, bool forward);
  double received_tokens(const MoeShape& moe) const;
  bool knows_counts() const;
  bool fuses_experts(const MoeShape& moe) const;
  void pad_experts(const MoeShape& moe, double passes);
  bool exchanges_counts() const;
  bool graphs_shared_experts() const;
  void copy_gradients_into_graph(const MoeShape& moe);
  void expert_output_bias(const MoeShape& moe, bool forward);
  void expert_activation(const MoeShape& moe, bool forward);
  void wait_for_counts(const MoeShape& moe);
  double sum_traffic() const;
  LayerCommunication expert_communication(std::string_view name, CollectiveOp op, double payload,
                                          Members members) const;
  void moe_memory(LayerPart part, std::string_view name, double traffic, int launches, MemoryKind kind);
  void moe_product(std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k, Precision precision,
                   double output_bytes);
  void moe_weight_gradient(std::string_view name, std::int64_t out, std::int64_t in, std::int64_t tokens,
                           Precision precision);
  void expert_product(std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k, int experts,
                      double output_bytes);
  void expert_weight_gradient(std::string_view name, std::int64_t out, std::int64_t in, const MoeShape& moe);
  void cast_for_attention(bool inputs, double passes);
  void quantize_rows(double passes, double rows, std::int64_t columns, int launches = 1);
  void quantize_expert_rows(double passes, const MoeShape& moe, std::int64_t columns);

  /// One step of context-parallel attention: query length, key length, whether the causal mask cuts it.
  struct AttentionStep {
    std::int64_t seq_q, seq_kv;
    bool causal;
  };

  const LowRankAdapter* adapter_at(LowRankAdapter::Place place) const;
  void adapter_forward(LayerPart part, LowRankAdapter::Place place);
  void adapter_backward(LayerPart part, LowRankAdapter::Place place);
  double adapter_traffic(const LowRankAdapter& adapter, const AdapterPasses& passes) const;

  /// A pass's traffic under the stack, and that of the casts which a quantised precision adds.
  PassBytes passes(const ElementwisePasses& of_stack) const { return {of_stack, model_, shape_}; }
  PassBytes casts(const ElementwisePasses& of_stack) const {
    PassBytes bytes(is_quantized(training_.precision) ? of_stack : ElementwisePasses{}, model_, shape_);
    if (training_.lora) {
      // No weight gradient reads a copy along the tokens.
      for (double* each : {&bytes.hidden, &bytes.sharded, &bytes.ffn}) *each *= stack_.quantize.frozen_share;
    }
    return bytes;
  }
  bool quantizes_apart() const {
    const ElementwisePasses& forward = stack_.quantize.forward;
    return forward.hidden + forward.sharded + forward.ffn > 0.0;
  }
  bool unfused() const { return stack_.attention_kernel == AttentionKernel::unfused; }
  /// Context ranks that split the heads instead of the sequence inside the attention core (Ulysses).
  std::int64_t head_ranks() const {
    return plan_.context_method == ContextMethod::ulysses ? plan_.context : 1;
  }
  std::vector<AttentionStep> attention_steps() const;
  void context_communication(std::string_view name, CollectiveOp op, double payload, int count,
                             bool overlaps);
  void core_attention(AttentionPass pass);
  void scaled_rotation(const UnvectorisedKernels& kernels);
  void clamps(LayerPart part, const UnvectorisedKernels& kernels, double elements);
  void flash_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads,
                       std::int64_t kv_heads);
  void unfused_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads);

  const ModelSpec& model_;
  const TrainingSpec& training_;
  const SoftwareStack& stack_;
  const ParallelPlan& plan_;
  LayerKind kind_;
  RankShape shape_;
  std::vector<LowRankAdapter> adapters_;
  Precision attention_precision_;
  Precision core_precision_;  ///< of the fused attention itself
  std::vector<PartItem> items_;
  int extra_kernels_ = 0;
  int host_wait_ = -1;
};

}  // namespace orrery
