#include "models/layer_operators.hpp"

#include <algorithm>
#include <array>

#include "models/layer_shapes.hpp"

namespace orrery {

namespace {

/// Parts of a layer's forward that selective recomputation picks from.
enum class LayerPart { norm, qkv, core_attention, attention_output, mlp, residual };

struct PartItem {
  LayerPart part;
  LayerItem item;
};

/// The stack's pass over `hidden`, `sharded` and `ffn` widths, in bytes.
struct PassBytes {
  double hidden, sharded, ffn, rope;
  PassBytes(const ElementwisePasses& passes, const ModelSpec& model, const RankShape& shape)
      : hidden(passes.hidden * shape.hidden_elements * shape.element),
        sharded(passes.sharded * shape.sharded_elements * shape.element),
        ffn(passes.feed_forward(model.gated) * shape.ffn_elements * shape.element),
        rope(model.position == PositionEncoding::rope
                 ? passes.rope *
                       static_cast<double>(shape.tokens * (shape.heads + shape.kv_heads) * shape.head_dim) *
                       model.rotary_fraction * shape.element
                 : 0.0) {}
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

/// Gives the kernels that are neither products nor attention to the memory-bound operators of a pass, as
/// evenly as possible, at least one each.
void distribute_launches(std::vector<PartItem>& items, int kernels) {
  int memory_operators = 0;
  int products = 0;
  for (const PartItem& entry : items) {
    if (const auto* op = std::get_if<Operator>(&entry.item)) {
      (std::holds_alternative<MemoryShape>(op->shape) ? memory_operators : products) += 1;
    }
  }
  if (memory_operators == 0) return;
  const int left = std::max(memory_operators, kernels - products);
  int given = 0;
  for (PartItem& entry : items) {
    auto* op = std::get_if<Operator>(&entry.item);
    auto* memory = op != nullptr ? std::get_if<MemoryShape>(&op->shape) : nullptr;
    if (memory == nullptr) continue;
    memory->launches = left / memory_operators + (given < left % memory_operators ? 1 : 0);
    ++given;
  }
}

int launches_of(const LayerItem& item) {
  const auto* op = std::get_if<Operator>(&item);
  if (op == nullptr) return 0;
  const auto* memory = std::get_if<MemoryShape>(&op->shape);
  return memory != nullptr ? memory->launches : 1;
}

void append(LayerPass& pass, const LayerItem& item) {
  pass.launches += launches_of(item);
  pass.items.push_back(item);
}

/// Operators and collectives of one transformer layer on one rank, in order.
class LayerBuilder {
 public:
  LayerBuilder(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
               const ParallelPlan& plan)
      : model_(model),
        training_(training),
        stack_(stack),
        plan_(plan),
        shape_(model, training, stack, plan),
        attention_precision_(is_quantized(training.precision) ? Precision::bf16 : training.precision) {}

  const RankShape& shape() const { return shape_; }
  std::vector<PartItem> take() { return std::move(items_); }

  void forward();
  void backward();

  // Pieces that the embedding and the head are made of, too.
  void memory(LayerPart part, std::string_view name, double traffic,
              MemoryKind kind = MemoryKind::streaming) {
    if (traffic <= 0.0) return;
    items_.push_back({part, Operator{name, MemoryShape{Bytes(traffic), 1, kind}}});
  }
  void product(LayerPart part, std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k,
               Precision precision, double output_bytes, std::int64_t batch = 1) {
    GemmShape gemm{m, n, k, batch, precision, output_bytes, true};
    if (is_quantized(precision)) gemm.quantized_inputs = !quantizes_apart();
    items_.push_back({part, Operator{name, gemm}});
  }
  /// dW[out, in] = dY^T X over all tokens, added to the main gradient.
  void weight_gradient(LayerPart part, std::string_view name, std::int64_t out, std::int64_t in,
                       std::int64_t tokens, Precision precision) {
    if (stack_.fused_gradient_accumulation) {
      // The product reads and writes the main gradient itself.
      product(part, name, out, in, tokens, precision,
              2.0 * gradient_bytes(gradient_dtype_of(training_, stack_)));
      return;
    }
    product(part, name, out, in, tokens, precision, shape_.element);
    memory(part, "gradient_accumulation",
           stack_.gradient_accumulation_bytes * static_cast<double>(out) * static_cast<double>(in));
  }
  void tensor_communication(LayerPart part, std::string_view name, CollectiveOp op, double payload,
                            bool beside_next = false) {
    if (plan_.tensor == 1) return;
    LayerCommunication communication{name, GroupKind::tensor, op, Bytes(payload)};
    communication.exposed_share = plan_.overlap.tensor ? stack_.tensor_overlap_exposed : 1.0;
    communication.beside_next_operator = beside_next;
    items_.push_back({part, communication});
  }
  /// Makes the whole input of a column-parallel product from the sequence shards.
  void gather_input(LayerPart part, bool beside_next = false) {
    if (plan_.sequence) {
      tensor_communication(part, "tensor all_gather", CollectiveOp::all_gather, shape_.gathered_bytes(),
                           beside_next);
    }
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
  /// One step of context-parallel attention: query length, key length, whether the causal mask cuts it.
  struct AttentionStep {
    std::int64_t seq_q, seq_kv;
    bool causal;
  };

  bool quantizes_apart() const {
    const ElementwisePasses& forward = stack_.quantize_forward;
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
  void flash_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads,
                       std::int64_t kv_heads);
  void unfused_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads);

  const ModelSpec& model_;
  const TrainingSpec& training_;
  const SoftwareStack& stack_;
  const ParallelPlan& plan_;
  RankShape shape_;
  Precision attention_precision_;
  std::vector<PartItem> items_;
};

/// A rank's share of the scores: seq_local x seq, of which the mask leaves half. Rings balance the causal
/// mask by giving each rank a piece of both ends of the sequence, so that every step after the first does
/// half a block.
std::vector<LayerBuilder::AttentionStep> LayerBuilder::attention_steps() const {
  const std::int64_t whole = shape_.seq;
  const std::int64_t local = shape_.seq_local;
  const bool halves = model_.causal && !unfused();
  if (plan_.context == 1 || plan_.context_method == ContextMethod::ulysses)
    return {{whole, whole, model_.causal}};
  if (plan_.context_method == ContextMethod::all_gather) {
    return {{local, halves ? largest_share(whole, 2) : whole, false}};
  }
  std::vector<AttentionStep> steps(static_cast<size_t>(plan_.context),
                                   AttentionStep{local, halves ? largest_share(local, 2) : local, false});
  steps.front() = {local, local, model_.causal};
  return steps;
}

void LayerBuilder::context_communication(std::string_view name, CollectiveOp op, double payload, int count,
                                         bool overlaps) {
  LayerCommunication communication{name, GroupKind::context, op, Bytes(payload), count};
  communication.overlaps_attention = overlaps;
  items_.push_back({LayerPart::core_attention, communication});
}

void LayerBuilder::flash_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads,
                                   std::int64_t kv_heads) {
  AttentionShape attention;
  attention.batch = shape_.sequences;
  attention.seq_q = step.seq_q;
  attention.seq_kv = step.seq_kv;
  attention.heads = heads;
  attention.kv_heads = kv_heads;
  attention.head_dim = shape_.head_dim;
  attention.value_dim = shape_.head_dim;
  attention.causal = step.causal;
  attention.pass = pass;
  attention.kernel = stack_.attention_kernel;
  attention.precision = attention_precision_;
  items_.push_back({LayerPart::core_attention, Operator{"attention_core", attention}});
}

void LayerBuilder::unfused_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads) {
  const std::int64_t batch = shape_.sequences * heads;
  const std::int64_t dim = shape_.head_dim;
  const double score_bytes = static_cast<double>(batch) * static_cast<double>(step.seq_q) *
                             static_cast<double>(step.seq_kv) * shape_.element;
  const auto batched = [&](std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k) {
    product(LayerPart::core_attention, name, m, n, k, attention_precision_, shape_.element, batch);
  };
  if (pass == AttentionPass::forward) {
    batched("attention_scores", step.seq_q, step.seq_kv, dim);
    memory(LayerPart::core_attention, "attention_softmax",
           stack_.attention_score_passes_forward * score_bytes);
    batched("attention_values", step.seq_q, dim, step.seq_kv);
    return;
  }
  batched("attention_values_dgrad", step.seq_q, step.seq_kv, dim);
  batched("attention_values_wgrad", step.seq_kv, dim, step.seq_q);
  memory(LayerPart::core_attention, "attention_softmax",
         stack_.attention_score_passes_backward * score_bytes);
  batched("attention_scores_dgrad", step.seq_q, dim, step.seq_kv);
  batched("attention_scores_wgrad", step.seq_kv, dim, step.seq_q);
}

void LayerBuilder::core_attention(AttentionPass pass) {
  const bool forward = pass == AttentionPass::forward;
  const std::int64_t split = head_ranks();
  const std::int64_t heads = largest_share(shape_.heads, split);
  const std::int64_t kv_heads = largest_share(shape_.kv_heads, split);
  const double head_bytes =
      static_cast<double>(shape_.tokens) * static_cast<double>(shape_.head_dim) * shape_.element;
  const double query_bytes = head_bytes * static_cast<double>(shape_.heads);
  const double kv_bytes = 2.0 * head_bytes * static_cast<double>(shape_.kv_heads);
  // Key and value heads that do not divide are repeated before they are exchanged.
  const double exchanged_kv_bytes = head_bytes * static_cast<double>(kv_heads * split);
  const int context = plan_.context;
  const bool parallel = context > 1;
  const auto exchange_heads = [&](double payload) {
    context_communication("context all_to_all", CollectiveOp::all_to_all, payload, 1, false);
  };

  if (parallel && plan_.context_method == ContextMethod::ring) {
    // Keys and values go round; in the backward their gradients go with them.
    context_communication("context ring exchange", CollectiveOp::send_receive,
                          forward ? kv_bytes : 2.0 * kv_bytes, context - 1, true);
  } else if (parallel && plan_.context_method == ContextMethod::all_gather) {
    context_communication("context all_gather", CollectiveOp::all_gather, kv_bytes * context, 1, false);
  } else if (parallel && forward) {
    exchange_heads(query_bytes);
    exchange_heads(exchanged_kv_bytes);
    exchange_heads(exchanged_kv_bytes);
  } else if (parallel) {
    exchange_heads(query_bytes);
  }

  for (const AttentionStep& step : attention_steps()) {
    if (unfused()) {
      unfused_attention(pass, step, heads);
    } else {
      flash_attention(pass, step, heads, kv_heads);
    }
  }

  if (!parallel) return;
  if (plan_.context_method == ContextMethod::ulysses) {
    exchange_heads(query_bytes);
    if (!forward) {
      exchange_heads(exchanged_kv_bytes);
      exchange_heads(exchanged_kv_bytes);
    }
  } else if (plan_.context_method == ContextMethod::all_gather && !forward) {
    context_communication("context reduce_scatter", CollectiveOp::reduce_scatter, kv_bytes * context, 1,
                          false);
  }
}

void LayerBuilder::forward() {
  const PassBytes passes(stack_.forward_passes, model_, shape_);
  const HiddenPasses hidden(passes.hidden, stack_.forward_passes.hidden, 2.0);
  const bool quantized = is_quantized(training_.precision);
  const PassBytes casts(quantized ? stack_.quantize_forward : ElementwisePasses{}, model_, shape_);
  const Precision precision = training_.precision;
  const std::int64_t tokens = shape_.tokens;

  memory(LayerPart::norm, "input_norm", hidden.norm, MemoryKind::norm);
  gather_input(LayerPart::qkv);
  memory(LayerPart::qkv, "quantize", casts.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::qkv, "qkv_projection", tokens, shape_.qkv_columns(), shape_.hidden, precision,
          shape_.element);
  memory(LayerPart::qkv, "rope_and_transposes", passes.sharded + passes.rope);
  core_attention(AttentionPass::forward);
  memory(LayerPart::attention_output, "quantize", casts.sharded, MemoryKind::quantize);
  product(LayerPart::attention_output, "output_projection", tokens, shape_.hidden, shape_.attention_columns(),
          precision, shape_.element);
  reduce_output(LayerPart::attention_output);
  memory(LayerPart::residual, "attention_residual", hidden.residual);
  memory(LayerPart::norm, "mlp_norm", hidden.norm, MemoryKind::norm);
  gather_input(LayerPart::mlp);
  memory(LayerPart::mlp, "quantize", casts.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::mlp, "mlp_up_projection", tokens, shape_.up_columns, shape_.hidden, precision,
          shape_.element);
  memory(LayerPart::mlp, "activation", passes.ffn);
  memory(LayerPart::mlp, "quantize", casts.ffn, MemoryKind::quantize);
  product(LayerPart::mlp, "mlp_down_projection", tokens, shape_.hidden, shape_.ffn, precision,
          shape_.element);
  reduce_output(LayerPart::mlp);
  memory(LayerPart::residual, "mlp_residual", hidden.residual);
}

void LayerBuilder::backward() {
  const PassBytes passes(stack_.backward_passes, model_, shape_);
  const HiddenPasses hidden(passes.hidden, stack_.backward_passes.hidden, 3.0);
  const bool quantized = is_quantized(training_.precision);
  const PassBytes casts(quantized ? stack_.quantize_backward : ElementwisePasses{}, model_, shape_);
  const Precision precision = training_.precision;
  const std::int64_t tokens = shape_.tokens;

  memory(LayerPart::residual, "mlp_residual", hidden.residual);
  gather_input(LayerPart::mlp);
  memory(LayerPart::mlp, "quantize", casts.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::mlp, "mlp_down_dgrad", tokens, shape_.ffn, shape_.hidden, precision, shape_.element);
  weight_gradient(LayerPart::mlp, "mlp_down_wgrad", shape_.hidden, shape_.ffn, tokens, precision);
  memory(LayerPart::mlp, "activation", passes.ffn);
  memory(LayerPart::mlp, "quantize", casts.ffn, MemoryKind::quantize);
  gather_input(LayerPart::mlp, true);
  product(LayerPart::mlp, "mlp_up_dgrad", tokens, shape_.hidden, shape_.up_columns, precision,
          shape_.element);
  reduce_output(LayerPart::mlp, true);
  weight_gradient(LayerPart::mlp, "mlp_up_wgrad", shape_.up_columns, shape_.hidden, tokens, precision);
  memory(LayerPart::norm, "mlp_norm", hidden.norm, MemoryKind::norm);

  memory(LayerPart::residual, "attention_residual", hidden.residual);
  gather_input(LayerPart::attention_output);
  memory(LayerPart::attention_output, "quantize", casts.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::attention_output, "output_dgrad", tokens, shape_.attention_columns(), shape_.hidden,
          precision, shape_.element);
  weight_gradient(LayerPart::attention_output, "output_wgrad", shape_.hidden, shape_.attention_columns(),
                  tokens, precision);
  core_attention(AttentionPass::backward);
  memory(LayerPart::qkv, "rope_and_transposes", passes.sharded + passes.rope);
  memory(LayerPart::qkv, "quantize", casts.sharded, MemoryKind::quantize);
  gather_input(LayerPart::qkv, true);
  product(LayerPart::qkv, "qkv_dgrad", tokens, shape_.hidden, shape_.qkv_columns(), precision,
          shape_.element);
  reduce_output(LayerPart::qkv, true);
  weight_gradient(LayerPart::qkv, "qkv_wgrad", shape_.qkv_columns(), shape_.hidden, tokens, precision);
  memory(LayerPart::norm, "input_norm", hidden.norm, MemoryKind::norm);
}

LayerPass to_pass(const std::vector<PartItem>& items) {
  LayerPass pass;
  for (const PartItem& entry : items) append(pass, entry.item);
  return pass;
}

/// What of the forward runs again before the backward.
LayerPass recomputed(const std::vector<PartItem>& forward, const TrainingSpec& training) {
  LayerPass pass;
  const bool all = training.recompute == Recompute::full;
  const bool core = recomputes_module(training, "core_attn");
  const bool mlp = recomputes_module(training, "mlp");
  const bool norm = recomputes_module(training, "layernorm");
  for (const PartItem& entry : forward) {
    if (all || (core && entry.part == LayerPart::core_attention) || (mlp && entry.part == LayerPart::mlp) ||
        (norm && entry.part == LayerPart::norm)) {
      append(pass, entry.item);
    }
  }
  return pass;
}

LayerWork layer_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& plan, bool recomputes) {
  require_supported(model);
  LayerBuilder forward(model, training, stack, plan);
  forward.forward();
  std::vector<PartItem> forward_items = forward.take();
  distribute_launches(forward_items, stack.kernels_forward);
  LayerBuilder backward(model, training, stack, plan);
  backward.backward();
  std::vector<PartItem> backward_items = backward.take();
  distribute_launches(backward_items, stack.kernels_backward);

  LayerWork work;
  if (recomputes) work.recompute = recomputed(forward_items, training);
  work.forward = to_pass(forward_items);
  work.backward = to_pass(backward_items);
  work.model_flops_forward =
      Flops(layer_forward_flops(model, training, static_cast<double>(training.micro_batch)).total());
  return work;
}

/// Formats that the head's products keep outside the 8- and 4-bit recipes (contract section 2).
Precision unquantized(Precision precision) { return is_quantized(precision) ? Precision::bf16 : precision; }

}  // namespace

LayerWork transformer_layer_work(const ModelSpec& model, const TrainingSpec& training,
                                 const SoftwareStack& stack, const ParallelPlan& plan) {
  return layer_work(model, training, stack, plan, training.recompute != Recompute::none);
}

LayerWork transformer_layer_work_without_recompute(const ModelSpec& model, const TrainingSpec& training,
                                                   const SoftwareStack& stack, const ParallelPlan& plan) {
  return layer_work(model, training, stack, plan, false);
}

LayerWork embedding_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan) {
  LayerBuilder forward(model, training, stack, plan);
  const RankShape& shape = forward.shape();
  const double activations = shape.hidden_elements * shape.element;
  const bool adds_positions = model.position == PositionEncoding::learned || model.token_types > 0;

  // Every tensor rank writes rows for all tokens: its own vocabulary's, zeros elsewhere; the reduction sums
  // them.
  forward.memory(LayerPart::residual, "embedding_lookup", 2.0 * shape.gathered_bytes(), MemoryKind::gather);
  forward.reduce_output(LayerPart::residual);
  if (adds_positions) forward.memory(LayerPart::residual, "position_embedding", 3.0 * activations);

  LayerBuilder backward(model, training, stack, plan);
  if (adds_positions) backward.memory(LayerPart::residual, "position_embedding", 2.0 * activations);
  backward.gather_input(LayerPart::residual);
  // Read the gradient; read and write the rows it falls on.
  backward.memory(LayerPart::residual, "embedding_scatter", 3.0 * shape.gathered_bytes(),
                  MemoryKind::scatter);
  // The table's gradient is dense: zeroed and read in the activations' type, added to the main gradient.
  const double table = static_cast<double>(shape.vocab) * static_cast<double>(shape.hidden);
  backward.memory(LayerPart::residual, "embedding_gradient",
                  table * 2.0 * (shape.element + gradient_bytes(gradient_dtype_of(training, stack))));

  LayerWork work;
  work.forward = to_pass(forward.take());
  work.backward = to_pass(backward.take());
  return work;
}

LayerWork head_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                    const ParallelPlan& plan) {
  LayerBuilder forward(model, training, stack, plan);
  LayerBuilder backward(model, training, stack, plan);
  const RankShape& shape = forward.shape();
  const Precision precision = unquantized(training.precision);
  const std::int64_t tokens = shape.head_tokens;
  const std::int64_t hidden = shape.hidden;
  const double head_elements = static_cast<double>(tokens) * static_cast<double>(hidden);
  const bool masked = model.objective == Objective::masked_lm;
  const double normed = masked ? head_elements : shape.hidden_elements;
  const double payload = head_elements * shape.element;
  const double logits = static_cast<double>(tokens) * static_cast<double>(shape.vocab);
  const double loss_bytes = stack.loss_bytes_per_logit * logits;
  const bool sequence = plan.sequence;

  if (model.pooler) {
    forward.product(LayerPart::mlp, "pooler", shape.sequences, hidden, hidden, precision, shape.element);
  }
  if (masked) {
    // Replicated on every tensor rank (Megatron-LM's BERT head); the activation between reads and writes
    // once.
    forward.product(LayerPart::mlp, "head_dense", tokens, hidden, hidden, precision, shape.element);
    forward.memory(LayerPart::mlp, "head_activation", 2.0 * head_elements * shape.element);
  }
  forward.memory(LayerPart::norm, "final_norm", 2.0 * normed * shape.element, MemoryKind::norm);
  if (sequence) {
    forward.tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather, payload);
  }
  forward.product(LayerPart::mlp, "logits", tokens, shape.vocab, hidden, precision, shape.element);
  forward.memory(LayerPart::mlp, "loss", loss_bytes / 2.0, MemoryKind::loss);
  // Vocabulary-parallel cross entropy: the maximum, the label's logit and the sum of exponentials, fp32 a
  // token (Shoeybi et al. 2019, section 3; Megatron-LM sends the three apart).
  for (int i = 0; i < 3; ++i) {
    forward.tensor_communication(LayerPart::mlp, "tensor all_reduce", CollectiveOp::all_reduce,
                                 4.0 * static_cast<double>(tokens));
  }

  backward.memory(LayerPart::mlp, "loss", loss_bytes / 2.0, MemoryKind::loss);
  if (sequence) {
    backward.tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather, payload,
                                  true);
  }
  backward.product(LayerPart::mlp, "logits_dgrad", tokens, hidden, shape.vocab, precision, shape.element);
  backward.tensor_communication(LayerPart::mlp, sequence ? "tensor reduce_scatter" : "tensor all_reduce",
                                sequence ? CollectiveOp::reduce_scatter : CollectiveOp::all_reduce, payload,
                                true);
  backward.weight_gradient(LayerPart::mlp, "logits_wgrad", shape.vocab, hidden, tokens, precision);
  backward.memory(LayerPart::norm, "final_norm", 3.0 * normed * shape.element, MemoryKind::norm);
  if (masked) {
    backward.memory(LayerPart::mlp, "head_activation", 3.0 * head_elements * shape.element);
    backward.product(LayerPart::mlp, "head_dense_dgrad", tokens, hidden, hidden, precision, shape.element);
    backward.weight_gradient(LayerPart::mlp, "head_dense_wgrad", hidden, hidden, tokens, precision);
  }
  if (model.pooler) {
    backward.product(LayerPart::mlp, "pooler_dgrad", shape.sequences, hidden, hidden, precision,
                     shape.element);
    backward.weight_gradient(LayerPart::mlp, "pooler_wgrad", hidden, hidden, shape.sequences, precision);
  }

  LayerWork work;
  work.forward = to_pass(forward.take());
  work.backward = to_pass(backward.take());
  work.model_flops_forward = Flops(head_forward_flops(model, training, stack.vocab_multiple, plan.tensor,
                                                      static_cast<double>(training.micro_batch)));
  return work;
}

double optimizer_traffic(Optimizer optimizer, Precision precision) {
  const bool mixed = activation_bytes(precision) < 4.0;
  // Gradient read, weight read and written, 16-bit weight written; each state read and written.
  double bytes = 4.0 + 8.0 + (mixed ? 2.0 : 0.0) + 8.0 * optimizer_states(optimizer);
  // The update is written, read for its norm and read to be applied, the weight is read for its norm (You et
  // al. 2020, algorithm 2: the trust ratio needs both norms before the weight moves).
  if (optimizer == Optimizer::lamb) bytes += 12.0 + 4.0;
  return bytes;
}

LayerPass optimizer_pass(const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& /*plan*/, double updated, double resident) {
  const double scale = optimizer_traffic(training.optimizer, training.precision) /
                       optimizer_traffic(Optimizer::adam, Precision::bf16);
  std::vector<PartItem> items;
  items.push_back(
      {LayerPart::residual,
       Operator{"gradient_norm_and_zero", MemoryShape{Bytes(stack.optimizer_bytes_per_resident * resident), 1,
                                                      MemoryKind::optimizer}}});
  items.push_back(
      {LayerPart::residual,
       Operator{"optimizer_update", MemoryShape{Bytes(stack.optimizer_bytes_per_parameter * scale * updated),
                                                1, MemoryKind::optimizer}}});
  distribute_launches(items, stack.optimizer_kernels);
  return to_pass(items);
}

}  // namespace orrery
