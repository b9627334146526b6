#include "models/layer_operators.hpp"

#include <algorithm>

#include "models/layer_builder.hpp"

namespace orrery {

int launches_of(const LayerItem& item) {
  const auto* op = std::get_if<Operator>(&item);
  if (op == nullptr) return 0;
  const auto* memory = std::get_if<MemoryShape>(&op->shape);
  return memory != nullptr ? memory->launches : 1;
}

void distribute_launches(std::vector<PartItem>& items, int kernels) {
  int memory_operators = 0;
  int products = 0;
  for (const PartItem& entry : items) {
    if (entry.launches_known) continue;
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
    if (memory == nullptr || entry.launches_known) continue;
    memory->launches = left / memory_operators + (given < left % memory_operators ? 1 : 0);
    ++given;
  }
}

namespace {

void append(LayerPass& pass, const PartItem& entry) {
  const int launches = launches_of(entry.item);
  const int plain_launches = entry.launches_known ? 0 : launches;
  pass.launches += launches;
  pass.plain_launches += plain_launches;
  pass.items.push_back(entry.item);
  if (!entry.graphed) return;
  pass.graphed.launches += launches;
  pass.graphed.plain_launches += plain_launches;
  if (const auto* c = std::get_if<LayerCommunication>(&entry.item)) pass.graphed.collectives += c->count;
}

}  // namespace

LayerPass to_pass(const std::vector<PartItem>& items) {
  LayerPass pass;
  for (const PartItem& entry : items) append(pass, entry);
  return pass;
}

namespace {

/// The items of a backward that are weight-gradient work, or those that are not. A collective whose neighbour
/// goes to the other pass has nothing left to run beside.
LayerPass part_of_backward(const std::vector<PartItem>& items, bool weight_work) {
  LayerPass pass;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].weight_work != weight_work) continue;
    PartItem entry = items[i];
    if (auto* communication = std::get_if<LayerCommunication>(&entry.item)) {
      const bool neighbour_stays = i + 1 < items.size() && items[i + 1].weight_work == weight_work;
      communication->beside_next_operator = communication->beside_next_operator && neighbour_stays;
    }
    append(pass, entry);
  }
  return pass;
}

void set_backward(LayerWork& work, const std::vector<PartItem>& items, const ParallelPlan& plan) {
  work.backward = to_pass(items);
  if (!splits_backward(plan.schedule)) return;
  work.input_gradient = part_of_backward(items, false);
  work.weight_gradient = part_of_backward(items, true);
}

/// How many of a forward's items full recomputation runs again where it stops early. What follows the last
/// product of a dense layer (the reduction of its output, an adapter's output, the residual sum) reads
/// nothing that a backward needs; a mixture of experts keeps its experts' outputs for the gradients of their
/// weights.
size_t recomputed_items(const std::vector<PartItem>& forward, const SoftwareStack& stack, LayerKind kind) {
  if (!stack.recompute_stops_early || kind.moe) return forward.size();
  const auto last = std::find_if(forward.rbegin(), forward.rend(), [](const PartItem& entry) {
    const auto* op = std::get_if<Operator>(&entry.item);
    return op != nullptr && std::holds_alternative<GemmShape>(op->shape);
  });
  return last == forward.rend() ? forward.size()
                                : forward.size() - 1 - static_cast<size_t>(last - forward.rbegin());
}

/// What of the forward runs again before the backward.
/// @param host_wait  of the forward (LayerPass): experts that run again wait for their counts again
LayerPass recomputed(const std::vector<PartItem>& forward, const TrainingSpec& training,
                     const SoftwareStack& stack, LayerKind kind, int host_wait) {
  LayerPass pass;
  const bool all = training.recompute == Recompute::full;
  const bool core = recomputes_module(training, "core_attn");
  const bool mlp = recomputes_module(training, "mlp");
  const bool norm = recomputes_module(training, "layernorm");
  const bool latent_up = recomputes_module(training, "mla_up_proj");
  const bool moe = recomputes_module(training, "moe");
  const bool moe_activation = moe || recomputes_module(training, "moe_act");
  const size_t full = all ? recomputed_items(forward, stack, kind) : 0;
  for (size_t i = 0; i < forward.size(); ++i) {
    const PartItem& entry = forward[i];
    if ((all || moe) && static_cast<int>(i) == host_wait)
      pass.host_wait = static_cast<int>(pass.items.size());
    if (i < full || (core && entry.part == LayerPart::core_attention) ||
        (mlp && entry.part == LayerPart::mlp) || (norm && entry.part == LayerPart::norm) ||
        (latent_up && entry.part == LayerPart::latent_up) || (moe && entry.part == LayerPart::moe) ||
        (moe_activation && entry.part == LayerPart::moe_activation)) {
      append(pass, entry);
    }
  }
  return pass;
}

/// Of the kernels that a stack counts a layer by, those of a dense feed-forward part: two products and their
/// activation, in the backward twice as many products.
int dense_feed_forward_kernels(bool backward) { return backward ? 5 : 3; }

LayerWork layer_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& plan, LayerKind kind, bool recomputes) {
  const GraphScope& scope = stack.graph_scope;
  LayerBuilder forward(model, training, stack, plan, kind);
  if (scope.attention) forward.copy_into_graph(1);
  const size_t attention = forward.size();
  forward.attention_forward();
  forward.mark_graphed(attention, scope.attention);
  forward.feed_forward_forward();
  std::vector<PartItem> forward_items = forward.take();
  distribute_launches(forward_items, stack.kernels_forward + forward.extra_kernels() -
                                         (kind.moe ? dense_feed_forward_kernels(false) : 0));
  LayerBuilder backward(model, training, stack, plan, kind);
  backward.feed_forward_backward();
  // Where the graph goes on into the router, the gradients that enter it are the router's.
  if (scope.attention && !(kind.moe && scope.moe_router)) backward.copy_into_graph(1);
  const size_t attention_gradients = backward.size();
  backward.attention_backward();
  backward.mark_graphed(attention_gradients, scope.attention);
  std::vector<PartItem> backward_items = backward.take();
  distribute_launches(backward_items, stack.kernels_backward + backward.extra_kernels() -
                                          (kind.moe ? dense_feed_forward_kernels(true) : 0));

  LayerWork work;
  if (recomputes) {
    work.recompute = recomputed(forward_items, training, stack, kind, forward.host_wait());
  }
  work.forward = to_pass(forward_items);
  work.forward.host_wait = forward.host_wait();
  set_backward(work, backward_items, plan);
  // The parts of a layer follow one another: one graph holds all that are asked for.
  if (scope.attention || (kind.moe && scope.moe_router)) {
    work.forward.graphed.graphs = work.backward.graphed.graphs = 1;
  }
  if (kind.moe) {
    const int experts = model.moe->experts / plan.expert;
    work.forward.experts = work.backward.experts = work.input_gradient.experts = experts;
    const bool again = training.recompute == Recompute::full || recomputes_module(training, "moe");
    if (again && !work.recompute.items.empty()) work.recompute.experts = experts;
  }
  work.model_flops_forward =
      Flops(layer_forward_flops(model, training, static_cast<double>(training.micro_batch), kind).total());
  return work;
}

bool adds_positions(const ModelSpec& model) {
  return model.position == PositionEncoding::learned || model.token_types > 0;
}

void embedding_forward(const ModelSpec& model, LayerBuilder& forward) {
  const RankShape& shape = forward.shape();
  // Every tensor rank writes rows for all tokens: its own vocabulary's, zeros elsewhere; the reduction sums
  // them.
  forward.memory(LayerPart::residual, "embedding_lookup", 2.0 * shape.gathered_bytes(), MemoryKind::gather);
  forward.reduce_output(LayerPart::residual);
  if (adds_positions(model)) {
    forward.memory(LayerPart::residual, "position_embedding", 3.0 * shape.hidden_elements * shape.element);
  }
  if (model.normalises_embedding()) {
    forward.memory(LayerPart::norm, "embedding_norm", 2.0 * shape.hidden_elements * shape.element,
                   MemoryKind::norm);
  }
}

void embedding_backward(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                        LayerBuilder& backward) {
  const RankShape& shape = backward.shape();
  if (model.normalises_embedding()) {
    backward.memory(LayerPart::norm, "embedding_norm", 3.0 * shape.hidden_elements * shape.element,
                    MemoryKind::norm);
  }
  if (adds_positions(model)) {
    backward.memory(LayerPart::residual, "position_embedding", 2.0 * shape.hidden_elements * shape.element);
  }
  backward.gather_input(LayerPart::residual);
  // Read the gradient; read and write the rows it falls on.
  backward.memory(LayerPart::residual, "embedding_scatter", 3.0 * shape.gathered_bytes(),
                  MemoryKind::scatter);
  // The table's gradient is dense: zeroed and read in the activations' type, added to the main gradient.
  const double table = static_cast<double>(shape.vocab) * static_cast<double>(shape.hidden);
  backward.memory(LayerPart::residual, "embedding_gradient",
                  table * 2.0 * (shape.element + gradient_bytes(gradient_dtype_of(training, stack))));
}

/// Formats that the head's products keep outside the 8- and 4-bit recipes (contract section 2).
Precision unquantized(Precision precision) { return is_quantized(precision) ? Precision::bf16 : precision; }

}  // namespace

LayerWork transformer_layer_work(const ModelSpec& model, const TrainingSpec& training,
                                 const SoftwareStack& stack, const ParallelPlan& plan, LayerKind kind) {
  return layer_work(model, training, stack, plan, kind, training.recompute != Recompute::none);
}

LayerWork transformer_layer_work_without_recompute(const ModelSpec& model, const TrainingSpec& training,
                                                   const SoftwareStack& stack, const ParallelPlan& plan,
                                                   LayerKind kind) {
  return layer_work(model, training, stack, plan, kind, false);
}

LayerWork embedding_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan) {
  LayerBuilder forward(model, training, stack, plan);
  embedding_forward(model, forward);
  LayerWork work;
  work.forward = to_pass(forward.take());
  if (training.lora) return work;  // a frozen table takes no gradient

  LayerBuilder backward(model, training, stack, plan);
  embedding_backward(model, training, stack, backward);
  set_backward(work, backward.take(), plan);
  return work;
}

LayerWork token_prediction_work(const ModelSpec& model, const TrainingSpec& training,
                                const SoftwareStack& stack, const ParallelPlan& plan) {
  LayerBuilder lookup(model, training, stack, plan);
  embedding_forward(model, lookup);
  LayerBuilder projection(model, training, stack, plan);
  projection.token_prediction_forward();
  LayerBuilder backward(model, training, stack, plan);
  backward.token_prediction_backward();
  embedding_backward(model, training, stack, backward);

  const std::vector<PartItem> projected = projection.take();
  LayerWork work;
  work.forward = to_pass(lookup.take());
  for (const PartItem& entry : projected) append(work.forward, entry);
  if (training.recompute == Recompute::full && recomputes_token_prediction(training)) {
    work.recompute = to_pass(projected);
  }
  set_backward(work, backward.take(), plan);
  work.model_flops_forward =
      Flops(token_prediction_flops(model, training, static_cast<double>(training.micro_batch)));
  return work;
}

LayerWork head_work(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                    const ParallelPlan& plan) {
  LayerBuilder forward(model, training, stack, plan);
  LayerBuilder backward(model, training, stack, plan);
  const RankShape& shape = forward.shape();
  const bool narrow = stack.fp8_output_projection;
  const Precision wide_precision = unquantized(training.precision);
  const Precision precision = narrow ? training.precision : wide_precision;
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
    forward.product(LayerPart::mlp, "pooler", shape.sequences, hidden, hidden, wide_precision, shape.element);
  }
  if (masked) {
    // Replicated on every tensor rank (Megatron-LM's BERT head); the activation between reads and writes
    // once.
    forward.product(LayerPart::mlp, "head_dense", tokens, hidden, hidden, wide_precision, shape.element);
    forward.memory(LayerPart::mlp, "head_activation", 2.0 * head_elements * shape.element);
  }
  forward.memory(LayerPart::norm, "final_norm", 2.0 * normed * shape.element, MemoryKind::norm);
  if (sequence) {
    forward.tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather, payload);
  }
  if (narrow) {
    // Cast like the input of a feed-forward product that no norm writes in 8 bits.
    forward.memory(LayerPart::mlp, "quantize", stack.quantize.forward.ffn * payload, MemoryKind::quantize);
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
    const size_t first = backward.size();
    backward.tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather, payload,
                                  true);
    backward.mark_weight_work(first);
  }
  if (narrow) {
    backward.memory(LayerPart::mlp, "quantize", stack.quantize.backward.ffn * logits * shape.element,
                    MemoryKind::quantize);
  }
  backward.product(LayerPart::mlp, "logits_dgrad", tokens, hidden, shape.vocab, precision, shape.element);
  backward.tensor_communication(LayerPart::mlp, sequence ? "tensor reduce_scatter" : "tensor all_reduce",
                                sequence ? CollectiveOp::reduce_scatter : CollectiveOp::all_reduce, payload,
                                true);
  backward.weight_gradient(LayerPart::mlp, "logits_wgrad", shape.vocab, hidden, tokens, precision);
  backward.memory(LayerPart::norm, "final_norm", 3.0 * normed * shape.element, MemoryKind::norm);
  if (masked) {
    backward.memory(LayerPart::mlp, "head_activation", 3.0 * head_elements * shape.element);
    backward.product(LayerPart::mlp, "head_dense_dgrad", tokens, hidden, hidden, wide_precision,
                     shape.element);
    backward.weight_gradient(LayerPart::mlp, "head_dense_wgrad", hidden, hidden, tokens, wide_precision);
  }
  if (model.pooler) {
    backward.product(LayerPart::mlp, "pooler_dgrad", shape.sequences, hidden, hidden, wide_precision,
                     shape.element);
    backward.weight_gradient(LayerPart::mlp, "pooler_wgrad", hidden, hidden, shape.sequences, wide_precision);
  }

  LayerWork work;
  work.forward = to_pass(forward.take());
  set_backward(work, backward.take(), plan);
  work.model_flops_forward = Flops(head_forward_flops(model, training, stack.vocab_multiple, plan.tensor,
                                                      static_cast<double>(training.micro_batch)));
  return work;
}

}  // namespace orrery
