#include "models/layer_builder.hpp"

namespace orrery {

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
    // Under a window the kernel meets its band of the gathered keys.
    if (window() > 0) return {{local, whole, model_.causal}};
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
  attention.value_dim = shape_.value_dim;
  attention.causal = step.causal;
  attention.window = window();
  attention.pass = pass;
  attention.kernel = stack_.attention_kernel;
  attention.precision = core_precision_;
  items_.push_back({LayerPart::core_attention, Operator{"attention_core", attention}});
}

void LayerBuilder::unfused_attention(AttentionPass pass, const AttentionStep& step, std::int64_t heads) {
  const std::int64_t batch = shape_.sequences * heads;
  const std::int64_t dim = shape_.head_dim;
  const std::int64_t value_dim = shape_.value_dim;
  const double score_bytes = static_cast<double>(batch) * static_cast<double>(step.seq_q) *
                             static_cast<double>(step.seq_kv) * shape_.element;
  const auto batched = [&](std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k) {
    product(LayerPart::core_attention, name, m, n, k, attention_precision_, shape_.element, batch);
  };
  if (pass == AttentionPass::forward) {
    batched("attention_scores", step.seq_q, step.seq_kv, dim);
    memory(LayerPart::core_attention, "attention_softmax",
           stack_.attention_score_passes_forward * score_bytes);
    batched("attention_values", step.seq_q, value_dim, step.seq_kv);
    return;
  }
  batched("attention_values_dgrad", step.seq_q, step.seq_kv, value_dim);
  batched("attention_values_wgrad", step.seq_kv, value_dim, step.seq_q);
  memory(LayerPart::core_attention, "attention_softmax",
         stack_.attention_score_passes_backward * score_bytes);
  batched("attention_scores_dgrad", step.seq_q, dim, step.seq_kv);
  batched("attention_scores_wgrad", step.seq_kv, dim, step.seq_q);
}

/// Casts of attention in 8 bits: queries, keys and values before the forward, the output after it; the
/// output's gradient before the backward, the three gradients after it.
void LayerBuilder::cast_for_attention(bool inputs, double passes) {
  if (!stack_.fp8_attention || passes <= 0.0) return;
  const std::int64_t columns = inputs ? shape_.qkv_columns() : shape_.attention_columns();
  memory(LayerPart::core_attention, "attention_quantize",
         passes * static_cast<double>(shape_.tokens) * static_cast<double>(columns) * shape_.element,
         MemoryKind::quantize);
  ++extra_kernels_;
}

void LayerBuilder::core_attention(AttentionPass pass) {
  const bool forward = pass == AttentionPass::forward;
  const std::int64_t split = head_ranks();
  const std::int64_t heads = largest_share(shape_.heads, split);
  const std::int64_t kv_heads = largest_share(shape_.kv_heads, split);
  const auto bytes_of = [this](std::int64_t of_heads, std::int64_t dim, double element) {
    return static_cast<double>(shape_.tokens) * static_cast<double>(dim) * element *
           static_cast<double>(of_heads);
  };
  const Fp8Attention& casts = stack_.fp8_attention_costs;
  const auto sent = [&](double in_8_bits) { return stack_.fp8_attention ? in_8_bits : shape_.element; };
  const double kv_bytes = bytes_of(shape_.kv_heads, shape_.head_dim, shape_.element) +
                          bytes_of(shape_.kv_heads, shape_.value_dim, shape_.element);
  const int context = plan_.context;
  const bool parallel = context > 1;
  const auto exchange_heads = [&](double payload) {
    const double put_in_order = stack_.head_exchange_passes / 2.0 * payload;
    memory(LayerPart::core_attention, "context_reorder", put_in_order);
    context_communication("context all_to_all", CollectiveOp::all_to_all, payload, 1, false);
    memory(LayerPart::core_attention, "context_reorder", put_in_order);
    if (put_in_order > 0.0) extra_kernels_ += 2;
  };
  // Key and value heads that do not divide are repeated before they are exchanged.
  const auto exchange_inputs = [&](double element) {
    exchange_heads(bytes_of(shape_.heads, shape_.head_dim, element));
    exchange_heads(bytes_of(kv_heads * split, shape_.head_dim, element));
    exchange_heads(bytes_of(kv_heads * split, shape_.value_dim, element));
  };
  // Each rank's keys and values give a part of the output, and of the gradients, that is put to the others'.
  const auto merge_ring = [&](const RingPasses& queries, const RingPasses& key_values) {
    const double traffic =
        queries.of(context) *
            bytes_of(shape_.heads, forward ? shape_.value_dim : shape_.head_dim, shape_.element) +
        key_values.of(context) * kv_bytes;
    memory(LayerPart::core_attention, "context_merge", traffic);
    if (traffic > 0.0) extra_kernels_ += 2 * context + (forward ? 0 : 1);
  };
  const auto exchange_output = [&](double element) {
    exchange_heads(bytes_of(shape_.heads, shape_.value_dim, element));
  };

  cast_for_attention(forward, forward ? casts.cast_inputs : casts.cast_output_gradient);
  if (parallel && plan_.context_method == ContextMethod::ring) {
    // Keys and values go round; in the backward their gradients go with them.
    context_communication("context ring exchange", CollectiveOp::send_receive,
                          forward ? kv_bytes : 2.0 * kv_bytes, context - 1, true);
  } else if (parallel && plan_.context_method == ContextMethod::all_gather) {
    context_communication("context all_gather", CollectiveOp::all_gather, kv_bytes * context, 1, false);
  } else if (parallel && forward) {
    exchange_inputs(sent(casts.sent_inputs));
  } else if (parallel) {
    exchange_output(sent(casts.sent_output_gradient));
  }

  for (const AttentionStep& step : attention_steps()) {
    if (unfused()) {
      unfused_attention(pass, step, heads);
    } else {
      flash_attention(pass, step, heads, kv_heads);
    }
  }

  if (parallel && plan_.context_method == ContextMethod::ring) {
    const RingMerge& merge = stack_.ring_merge;
    merge_ring(forward ? merge.output : merge.query_gradient,
               forward ? merge.key_values : merge.key_value_gradients);
  }

  if (!forward && model_.attention_sinks) {
    // A sink's gradient is a sum over its head's rows: their fp32 softmax statistic and product of output and
    // gradient are read again (Xiao et al. 2024; gpt-oss's learnt sinks are one more logit of each row).
    memory(LayerPart::core_attention, "sink_gradient",
           8.0 * static_cast<double>(shape_.tokens) * static_cast<double>(shape_.heads));
    ++extra_kernels_;
  }

  if (parallel && plan_.context_method == ContextMethod::ulysses) {
    if (forward) {
      exchange_output(sent(casts.sent_output));
    } else {
      exchange_inputs(sent(casts.sent_input_gradients));
    }
  } else if (parallel && plan_.context_method == ContextMethod::all_gather && !forward) {
    context_communication("context reduce_scatter", CollectiveOp::reduce_scatter, kv_bytes * context, 1,
                          false);
  }
  cast_for_attention(!forward, forward ? casts.cast_output : casts.cast_input_gradients);
}

/// Queries, keys and values from one product.
void LayerBuilder::projections_forward() {
  const PassBytes traffic = passes(stack_.forward_passes);
  const PassBytes cast = casts(stack_.quantize.forward);
  gather_operand(LayerPart::qkv, false);
  memory(LayerPart::qkv, "quantize", cast.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::qkv, "qkv_projection", shape_.tokens, shape_.qkv_columns(), shape_.hidden,
          training_.precision, shape_.element);
  adapter_forward(LayerPart::qkv, LowRankAdapter::Place::qkv);
  if (model_.qk_norm) {
    // Each head of queries and of keys: read and written, by two kernels.
    memory(LayerPart::qkv, "qk_norm", 2.0 * shape_.query_and_key_elements() * shape_.element,
           MemoryKind::norm);
    extra_kernels_ += 2;
  }
  memory(LayerPart::qkv, "rope_and_transposes", traffic.sharded + traffic.rope);
  scaled_rotation(stack_.unvectorised.rope_forward);
}

/// What of a rotation with a scale runs one element at a time.
void LayerBuilder::scaled_rotation(const UnvectorisedKernels& kernels) {
  if (model_.position != PositionEncoding::rope || model_.rotary_scale == 1.0) return;
  unvectorised(LayerPart::qkv, "rope_by_element", kernels, shape_.rotary_elements);
}

void LayerBuilder::projections_backward() {
  const PassBytes traffic = passes(stack_.backward_passes);
  const PassBytes cast = casts(stack_.quantize.backward);
  memory(LayerPart::qkv, "rope_and_transposes", traffic.sharded + traffic.rope);
  scaled_rotation(stack_.unvectorised.rope_backward);
  if (model_.qk_norm) {
    memory(LayerPart::qkv, "qk_norm", 3.0 * shape_.query_and_key_elements() * shape_.element,
           MemoryKind::norm);
    extra_kernels_ += 4;  // the weights' gradients are reduced by a second kernel each
  }
  memory(LayerPart::qkv, "quantize", cast.sharded, MemoryKind::quantize);
  gather_operand(LayerPart::qkv, false, true);
  product(LayerPart::qkv, "qkv_dgrad", shape_.tokens, shape_.hidden, shape_.qkv_columns(),
          training_.precision, shape_.element);
  reduce_output(LayerPart::qkv, true);
  weight_gradient(LayerPart::qkv, "qkv_wgrad", shape_.qkv_columns(), shape_.hidden, shape_.tokens,
                  training_.precision);
  adapter_backward(LayerPart::qkv, LowRankAdapter::Place::qkv);
}

void LayerBuilder::attention_forward() {
  const PassBytes traffic = passes(stack_.forward_passes);
  const PassBytes cast = casts(stack_.quantize.forward);
  const HiddenPasses hidden(traffic.hidden, stack_.forward_passes.hidden, 2.0);
  const Precision precision = training_.precision;
  const std::int64_t tokens = shape_.tokens;

  if (plan_.zero >= 3) {
    // A sharded layer is gathered for each pass, and its casts go with it.
    memory(LayerPart::qkv, "quantize_weights",
           cast_weight_traffic(training_, stack_, plan_) *
               layer_matrix_parameters_per_rank(model_, plan_, kind_),
           MemoryKind::quantize);
  }
  memory(LayerPart::norm, "input_norm", hidden.norm, MemoryKind::norm);
  if (latent()) {
    latent_projections_forward();
  } else {
    projections_forward();
  }
  core_attention(AttentionPass::forward);
  memory(LayerPart::attention_output, "quantize", cast.sharded, MemoryKind::quantize);
  product(LayerPart::attention_output, "output_projection", tokens, shape_.hidden, shape_.attention_columns(),
          precision, shape_.element);
  reduce_output(LayerPart::attention_output);
  adapter_forward(LayerPart::attention_output, LowRankAdapter::Place::output);
  memory(LayerPart::residual, "attention_residual", hidden.residual);
}

void LayerBuilder::attention_backward() {
  const PassBytes traffic = passes(stack_.backward_passes);
  const PassBytes cast = casts(stack_.quantize.backward);
  const HiddenPasses hidden(traffic.hidden, stack_.backward_passes.hidden, 3.0);
  const Precision precision = training_.precision;
  const std::int64_t tokens = shape_.tokens;

  memory(LayerPart::residual, "attention_residual", hidden.residual);
  gather_operand(LayerPart::attention_output, true);
  memory(LayerPart::attention_output, "quantize", cast.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::attention_output, "output_dgrad", tokens, shape_.attention_columns(), shape_.hidden,
          precision, shape_.element);
  weight_gradient(LayerPart::attention_output, "output_wgrad", shape_.hidden, shape_.attention_columns(),
                  tokens, precision);
  adapter_backward(LayerPart::attention_output, LowRankAdapter::Place::output);
  core_attention(AttentionPass::backward);
  if (latent()) {
    latent_projections_backward();
  } else {
    projections_backward();
  }
  memory(LayerPart::norm, "input_norm", hidden.norm, MemoryKind::norm);
}

}  // namespace orrery
