#include <algorithm>

#include "models/layer_builder.hpp"
#include "models/moe_shape.hpp"

// The mixture-of-experts feed-forward part of a layer: router, shared experts, exchange of tokens, experts.
//
// Sources: operators and their order: Megatron-core, transformer/moe (moe_layer.py, router.py,
// token_dispatcher.py, experts.py, shared_experts.py). Exchange: Lepikhin et al. 2020 (GShard), section 3.2;
// Fedus et al. 2022 (Switch Transformer). Slices of experts and slices of tokens: Liu et al. 2025, "MoE
// Parallel Folding" (arXiv 2504.14960), section 3.

namespace orrery {
namespace {

/// Traffic of a kernel that reads tokens and writes their copies, or the other way round: an index of 4 bytes
/// for each copy beside them (sim/workload/memory_operators, permute).
double permute_traffic(double tokens, double copies, std::int64_t hidden, double element) {
  return (tokens + copies) * static_cast<double>(hidden) * element + 4.0 * copies;
}

constexpr double kWeightBytes = 4.0;  ///< routing weights stay in fp32
constexpr double kCountBytes = 8.0;   ///< tokens of an expert, as torch counts them

}  // namespace

LayerCommunication LayerBuilder::expert_communication(std::string_view name, CollectiveOp op, double payload,
                                                      Members members) const {
  LayerCommunication communication{name, GroupKind::expert, op, Bytes(payload)};
  communication.members = members;
  communication.overlaps_shared_experts = stack_.moe.overlaps_shared_experts;
  communication.beside_other_micro_batch = plan_.overlap.expert;
  return communication;
}

/// Moves tokens between the ranks of an expert group: copies of tokens to the experts, or of outputs back.
/// HybridEP sends a token's routing weights, in fp32, for all experts of the domain with it, and their
/// gradients back (deep_ep hybrid-ep, csrc/hybrid_ep/backend/hybrid_ep_backend.cuh: FORWARD_DISPATCH,
/// BACKWARD_COMBINE).
void LayerBuilder::exchange_tokens(const MoeShape& moe, bool dispatches, bool forward, double element) {
  const double bytes =
      static_cast<double>(moe.tokens) * moe.load * static_cast<double>(shape_.hidden) * element;
  if (stack_.moe_dispatcher == MoeDispatcher::all_to_all) {
    if (plan_.expert == 1) return;
    items_.push_back(
        {LayerPart::moe, expert_communication(dispatches ? "expert dispatch" : "expert combine",
                                              CollectiveOp::all_to_all, bytes * moe.top_k, Members::expert)});
    return;
  }
  if (plan_.expert * plan_.expert_tensor == 1) return;
  // These kernels serve both kinds of group at once: a token goes to every slice of each of its experts.
  LayerCommunication communication =
      expert_communication(dispatches ? "expert dispatch" : "expert combine", CollectiveOp::all_to_all,
                           bytes * moe.top_k * plan_.expert_tensor, Members::tensor_and_expert);
  const int experts = moe.experts * plan_.expert_tensor;
  const bool weighted = stack_.moe_dispatcher == MoeDispatcher::hybridep && dispatches == forward;
  communication.exchange = ExpertTokens{
      Bytes(bytes), moe.top_k * plan_.expert_tensor, experts, moe.groups,
      Bytes(weighted ? static_cast<double>(moe.tokens) * moe.load * experts * kWeightBytes : 0.0)};
  communication.combines = !dispatches;
  items_.push_back({LayerPart::moe, communication});
}

/// Everything from the tokens of this rank to the rows of its experts, or back, in one direction: in the
/// forward and (of gradients) in the backward alike.
void LayerBuilder::tokens_to_experts(const MoeShape& moe, bool forward) {
  const double element = forward ? moe.dispatch_bytes : shape_.element;
  const double row_bytes = static_cast<double>(shape_.hidden) * shape_.element;
  if (stack_.moe_dispatcher != MoeDispatcher::all_to_all) {
    if (forward) gather_routing_map(moe);
    exchange_tokens(moe, true, forward, element);
    if (forward) wait_for_counts(moe);
    moe_memory(LayerPart::moe, forward ? "permute" : "unpermute",
               permute_traffic(received_tokens(moe), moe.rows, shape_.hidden, shape_.element), 1,
               MemoryKind::permute);
    return;
  }
  const size_t first = items_.size();
  double traffic =
      permute_traffic(static_cast<double>(moe.tokens), moe.copies, shape_.hidden, shape_.element);
  // Weights that multiply the outputs need the outputs again for their own gradient.
  if (!forward && !stack_.moe.weights_in_activation) traffic += moe.copies * row_bytes;
  moe_memory(LayerPart::moe, forward ? "permute" : "unpermute", traffic, 1, MemoryKind::permute);
  if (!forward) unfused_permutation(moe, stack_.moe.permutation_backward);
  mark_graphed(first, forward && stack_.graph_scope.moe_preprocess);
  if (forward) wait_for_counts(moe);
  exchange_tokens(moe, true, forward, element);
  const double weights = moe.copies * kWeightBytes;
  if (forward && stack_.moe.weights_in_activation && plan_.expert > 1) {
    items_.push_back({LayerPart::moe, expert_communication("expert weights", CollectiveOp::all_to_all,
                                                           weights, Members::expert)});
  }
  if (plan_.expert_tensor > 1) {
    items_.push_back({LayerPart::moe, expert_communication("expert all_gather", CollectiveOp::all_gather,
                                                           moe.rows * row_bytes, Members::expert_tensor)});
  }
  sort_by_expert(moe);
}

void LayerBuilder::tokens_from_experts(const MoeShape& moe, bool forward) {
  const double row_bytes = static_cast<double>(shape_.hidden) * shape_.element;
  if (stack_.moe_dispatcher != MoeDispatcher::all_to_all) {
    moe_memory(LayerPart::moe, forward ? "unpermute" : "permute",
               permute_traffic(received_tokens(moe), moe.rows, shape_.hidden, shape_.element), 1,
               MemoryKind::permute);
    exchange_tokens(moe, false, forward, shape_.element);
    return;
  }
  sort_by_expert(moe);
  if (plan_.expert_tensor > 1) {
    items_.push_back(
        {LayerPart::moe, expert_communication("expert reduce_scatter", CollectiveOp::reduce_scatter,
                                              moe.rows * row_bytes, Members::expert_tensor)});
  }
  exchange_tokens(moe, false, forward, shape_.element);
  if (!forward && stack_.moe.weights_in_activation && plan_.expert > 1) {
    items_.push_back({LayerPart::moe, expert_communication("expert weights", CollectiveOp::all_to_all,
                                                           moe.copies * kWeightBytes, Members::expert)});
  }
  // The gradient of the copies that the preprocessing made.
  const size_t first = items_.size();
  moe_memory(LayerPart::moe, forward ? "unpermute" : "permute",
             permute_traffic(static_cast<double>(moe.tokens), moe.copies, shape_.hidden, shape_.element), 1,
             MemoryKind::permute);
  if (forward) unfused_permutation(moe, stack_.moe.permutation_forward);
  mark_graphed(first, !forward && stack_.graph_scope.moe_preprocess);
}

/// HybridEP gives every rank of the group the map of tokens and experts (one byte an entry) of all of them.
/// One kernel makes of it a place for each token on each rank (4 bytes) and the entries of this rank's
/// experts, which another reads (deep_ep hybrid-ep, csrc/hybrid_ep/executor/executor.cu:
/// allgather_routing_map, metadata_preprocess_core, permute_preprocessing).
void LayerBuilder::gather_routing_map(const MoeShape& moe) {
  const int group = plan_.expert * plan_.expert_tensor;
  if (stack_.moe_dispatcher != MoeDispatcher::hybridep || group == 1) return;
  const double tokens = static_cast<double>(moe.tokens) * group;
  const double experts = static_cast<double>(moe.experts) * plan_.expert_tensor;
  items_.push_back({LayerPart::moe, expert_communication("expert routing map", CollectiveOp::all_gather,
                                                         tokens * experts, Members::tensor_and_expert)});
  moe_memory(LayerPart::moe, "routing_metadata", tokens * (experts + 4.0 + 2.0 * moe.local_experts), 2,
             MemoryKind::streaming);
}

/// What a permutation of several kernels moves beside the one pass of `permute_traffic`: all of a pass where
/// the tokens are put back, forward, or their gradients taken apart, backward.
void LayerBuilder::unfused_permutation(const MoeShape& moe, const PermutationPasses& passes) {
  const double row_bytes = static_cast<double>(shape_.hidden) * shape_.element;
  moe_memory(LayerPart::moe, "unfused_permutation",
             (passes.copies * moe.copies + passes.tokens * static_cast<double>(moe.tokens)) * row_bytes,
             passes.kernels, MemoryKind::streaming);
}

/// Experts that ran one after the other leave a piece of rows x hidden each: their outputs, or the gradients
/// of their inputs, are put together.
void LayerBuilder::join_experts(const MoeShape& moe) {
  if (stack_.moe.grouped_experts || moe.local_experts == 1) return;
  moe_memory(LayerPart::moe, "join_experts",
             2.0 * moe.rows * static_cast<double>(shape_.hidden) * shape_.element, 1, MemoryKind::streaming);
}

/// Rows arrive by source rank and are wanted by expert: one pass over them, where there is more than one of
/// both.
void LayerBuilder::sort_by_expert(const MoeShape& moe) {
  if (moe.local_experts == 1 || plan_.expert * plan_.expert_tensor == 1) return;
  moe_memory(LayerPart::moe, "sort_by_expert",
             2.0 * moe.rows * static_cast<double>(shape_.hidden) * shape_.element, 1, MemoryKind::permute);
}

/// Distinct tokens that a rank gets when each comes once whatever it is wanted for.
double LayerBuilder::received_tokens(const MoeShape& moe) const {
  const int slices = plan_.expert_tensor;
  return static_cast<double>(moe.tokens) * moe.load *
         mean_parts_reached(moe.experts * slices, moe.top_k * slices, plan_.expert * slices, moe.groups);
}

void LayerBuilder::moe_memory(LayerPart part, std::string_view name, double traffic, int launches,
                              MemoryKind kind) {
  if (traffic <= 0.0 || launches <= 0) return;
  items_.push_back({part, Operator{name, MemoryShape{Bytes(traffic), launches, kind}}});
  items_.back().launches_known = true;
}

void LayerBuilder::moe_product(std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k,
                               Precision precision, double output_bytes) {
  product(LayerPart::moe, name, m, n, k, precision, output_bytes);
  items_.back().launches_known = true;
}

void LayerBuilder::moe_weight_gradient(std::string_view name, std::int64_t out, std::int64_t in,
                                       std::int64_t tokens, Precision precision) {
  const size_t first = items_.size();
  weight_gradient(LayerPart::moe, name, out, in, tokens, precision);
  for (size_t i = first; i < items_.size(); ++i) items_[i].launches_known = true;
}

Precision LayerBuilder::router_precision() const {
  return stack_.moe.fp32_router ? Precision::fp32 : attention_precision_;
}

/// Forward: the router's input and weight to fp32. Backward: the input's gradient from it.
void LayerBuilder::cast_for_router(const MoeShape& moe, bool forward) {
  if (!stack_.moe.fp32_router) return;
  const double hidden = static_cast<double>(shape_.hidden);
  const double elements = hidden * (static_cast<double>(moe.tokens) + (forward ? moe.experts : 0.0));
  moe_memory(LayerPart::moe, "router_casts", elements * (shape_.element + 4.0), forward ? 2 : 1,
             MemoryKind::streaming);
}

/// One kernel over the products of all experts on this rank, or one each.
void LayerBuilder::expert_product(std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k,
                                  int experts, double output_bytes) {
  const int kernels = stack_.moe.grouped_experts ? 1 : experts;
  const int together = experts / kernels;
  GemmShape gemm{m, n, k, together, training_.precision, output_bytes, true, together > 1};
  if (is_quantized(gemm.precision)) gemm.quantized_inputs = !quantizes_apart();
  for (int i = 0; i < kernels; ++i) {
    items_.push_back({LayerPart::moe, Operator{name, gemm}});
    items_.back().launches_known = true;
  }
}

void LayerBuilder::expert_weight_gradient(std::string_view name, std::int64_t out, std::int64_t in,
                                          const MoeShape& moe) {
  const size_t first = items_.size();
  const bool fused = stack_.fused_gradient_accumulation;
  expert_product(name, out, in, moe.rows_per_expert, moe.local_experts,
                 fused ? 2.0 * gradient_bytes(gradient_dtype_of(training_, stack_)) : shape_.element);
  if (!fused) {
    moe_memory(LayerPart::moe, "gradient_accumulation",
               stack_.gradient_accumulation_bytes * moe.local_experts * static_cast<double>(out) *
                   static_cast<double>(in),
               moe.local_experts, MemoryKind::streaming);
  }
  mark_weight_work(first);
}

/// The cast of rows before a product, in the stack's passes over one operand.
void LayerBuilder::quantize_rows(double passes, double rows, std::int64_t columns, int launches) {
  if (!is_quantized(training_.precision)) return;
  moe_memory(LayerPart::moe, "quantize", passes * rows * static_cast<double>(columns) * shape_.element,
             launches, MemoryKind::quantize);
}

/// The same before an experts' product: each expert's rows by kernels of their own, or all by one.
void LayerBuilder::quantize_expert_rows(double passes, const MoeShape& moe, std::int64_t columns) {
  quantize_rows(passes, moe.rows, columns,
                std::max(1, stack_.moe.cast_kernels_per_expert * moe.local_experts));
}

void LayerBuilder::moe_forward() {
  const MoeShape moe(model_, training_, stack_, plan_, shape_);
  const PassBytes traffic = passes(stack_.forward_passes);
  const HiddenPasses hidden(traffic.hidden, stack_.forward_passes.hidden, 2.0);
  const double scores = static_cast<double>(moe.tokens) * moe.experts;
  const std::int64_t rows = moe.rows_per_expert;
  const GraphScope& scope = stack_.graph_scope;

  if (scope.moe_router && !scope.attention) copy_into_graph(1);
  const size_t router = items_.size();
  memory(LayerPart::norm, "mlp_norm", hidden.norm, MemoryKind::norm);
  // Logits in fp32, of a product in the activations' type or in fp32.
  cast_for_router(moe, true);
  moe_product("router", moe.tokens, moe.experts, shape_.hidden, router_precision(), 4.0);
  moe_memory(LayerPart::moe, "router_scores", stack_.moe.router_bytes_forward * scores,
             stack_.moe.router_kernels_forward, MemoryKind::streaming);
  mark_graphed(router, scope.moe_router);
  const size_t shared = items_.size();
  shared_experts_forward(moe);
  mark_graphed(shared, graphs_shared_experts());
  const size_t counts = items_.size();
  // One byte an entry of the map of tokens and experts is what counting reads.
  moe_memory(LayerPart::moe, "token_counts", scores, stack_.moe.preprocess_kernels, MemoryKind::streaming);
  if (exchanges_counts()) {
    items_.push_back(
        {LayerPart::moe, expert_communication("expert counts", CollectiveOp::all_gather,
                                              kCountBytes * moe.experts * plan_.expert * plan_.expert_tensor,
                                              Members::tensor_and_expert)});
  }
  mark_graphed(counts, scope.moe_preprocess);
  tokens_to_experts(moe, true);
  pad_experts(moe, stack_.moe.padding_passes_forward);
  quantize_expert_rows(stack_.quantize.forward.sharded, moe, shape_.hidden);
  const double cast = stack_.quantize.forward.feed_forward(model_.gated);
  const double width = static_cast<double>(moe.up_columns) / static_cast<double>(moe.ffn);
  if (fuses_experts(moe)) {
    // The epilogue keeps what the backward needs, and beside it writes what the cast would have written.
    expert_product("expert_up_projection", rows, moe.up_columns, shape_.hidden, moe.local_experts,
                   shape_.element * (1.0 + (std::max(cast, 1.0) - 1.0) / width));
  } else {
    expert_product("expert_up_projection", rows, moe.up_columns, shape_.hidden, moe.local_experts,
                   shape_.element);
    expert_activation(moe, true);
    quantize_expert_rows(cast, moe, moe.ffn);
  }
  expert_product("expert_down_projection", rows, shape_.hidden, moe.ffn, moe.local_experts, shape_.element);
  expert_output_bias(moe, true);
  join_experts(moe);
  tokens_from_experts(moe, true);
  if (moe.shared_ffn > 0)
    moe_memory(LayerPart::moe, "shared_expert_sum", sum_traffic(), 1, MemoryKind::streaming);
  memory(LayerPart::residual, "mlp_residual", hidden.residual);
}

void LayerBuilder::moe_backward() {
  const MoeShape moe(model_, training_, stack_, plan_, shape_);
  const PassBytes traffic = passes(stack_.backward_passes);
  const HiddenPasses hidden(traffic.hidden, stack_.backward_passes.hidden, 3.0);
  const double scores = static_cast<double>(moe.tokens) * moe.experts;
  const std::int64_t rows = moe.rows_per_expert;

  memory(LayerPart::residual, "mlp_residual", hidden.residual);
  tokens_to_experts(moe, false);
  expert_output_bias(moe, false);
  pad_experts(moe, stack_.moe.padding_passes_backward);
  quantize_expert_rows(stack_.quantize.backward.hidden / 2.0, moe, shape_.hidden);
  const double cast = stack_.quantize.backward.feed_forward(model_.gated);
  if (fuses_experts(moe)) {
    // The epilogue reads what the forward kept (the cast's own reads are as many) and writes the cast
    // gradient.
    expert_product("expert_down_dgrad", rows, moe.ffn, shape_.hidden, moe.local_experts,
                   shape_.element * std::max(cast, 1.0));
    expert_weight_gradient("expert_down_wgrad", shape_.hidden, moe.ffn, moe);
  } else {
    expert_product("expert_down_dgrad", rows, moe.ffn, shape_.hidden, moe.local_experts, shape_.element);
    expert_weight_gradient("expert_down_wgrad", shape_.hidden, moe.ffn, moe);
    expert_activation(moe, false);
    quantize_expert_rows(cast, moe, moe.ffn);
  }
  expert_product("expert_up_dgrad", rows, shape_.hidden, moe.up_columns, moe.local_experts, shape_.element);
  expert_weight_gradient("expert_up_wgrad", moe.up_columns, shape_.hidden, moe);
  join_experts(moe);
  tokens_from_experts(moe, false);
  if (stack_.graph_scope.moe_router) copy_gradients_into_graph(moe);
  const size_t shared = items_.size();
  shared_experts_backward(moe);
  mark_graphed(shared, graphs_shared_experts());
  const size_t router = items_.size();
  moe_memory(LayerPart::moe, "router_scores", stack_.moe.router_bytes_backward * scores,
             stack_.moe.router_kernels_backward, MemoryKind::streaming);
  moe_product("router_dgrad", moe.tokens, shape_.hidden, moe.experts, router_precision(),
              stack_.moe.fp32_router ? 4.0 : shape_.element);
  cast_for_router(moe, false);
  moe_weight_gradient("router_wgrad", moe.experts, shape_.hidden, moe.tokens, router_precision());
  // Gradients of the router's input, the experts' and the shared experts' meet.
  const double sums = moe.shared_ffn > 0 ? 2.0 : 1.0;
  moe_memory(LayerPart::moe, "input_gradient_sum", sums * sum_traffic(), static_cast<int>(sums),
             MemoryKind::streaming);
  memory(LayerPart::norm, "mlp_norm", hidden.norm, MemoryKind::norm);
  mark_graphed(router, stack_.graph_scope.moe_router);
}

/// Shared experts that run beside the exchanges are no part of the router's graph (Megatron-core,
/// transformer_layer.py, _forward_mlp_router).
bool LayerBuilder::graphs_shared_experts() const {
  return stack_.graph_scope.moe_router && !stack_.moe.overlaps_shared_experts;
}

/// Gradients of what leaves the router's graph: of what goes round the experts, of the shared experts'
/// output, and of what goes to the experts, which a graph over the preprocessing has copied for them.
void LayerBuilder::copy_gradients_into_graph(const MoeShape& moe) {
  copy_into_graph(moe.shared_ffn > 0 && graphs_shared_experts() ? 2 : 1);
  const bool copied = stack_.graph_scope.moe_preprocess && stack_.moe_dispatcher == MoeDispatcher::all_to_all;
  const double rows = copied ? moe.copies : static_cast<double>(moe.tokens);
  moe_memory(LayerPart::moe, "copy_into_graph",
             2.0 * rows * static_cast<double>(shape_.hidden) * shape_.element, 1, MemoryKind::streaming);
}

/// Between an expert's products. Routing weights that multiply its result are read in the forward; in the
/// backward their own gradient, a sum along each row, reads the operands again.
void LayerBuilder::expert_activation(const MoeShape& moe, bool forward) {
  const double elements = moe.rows * static_cast<double>(moe.ffn);
  const ElementwisePasses& counted = forward ? stack_.forward_passes : stack_.backward_passes;
  double passes = counted.feed_forward(model_.gated, model_.clamped_activation);
  double weights = 0.0;
  if (stack_.moe.weights_in_activation) {
    weights = (forward ? 1.0 : 2.0) * kWeightBytes * moe.rows;
    if (!forward) passes += stack_.moe.weight_gradient_passes;
  }
  const Unvectorised& kernels = stack_.unvectorised;
  if (forward) clamps(LayerPart::moe_activation, kernels.clamp_forward, elements);
  moe_memory(LayerPart::moe_activation, "expert_activation", passes * elements * shape_.element + weights, 1,
             MemoryKind::streaming);
  if (!forward) clamps(LayerPart::moe_activation, kernels.clamp_backward, elements);
}

/// The second product leaves its bias to be added outside, scaled by each row's routing weight; the first
/// adds its own. Each expert's rows are multiplied and added by kernels of their own, put together by one and
/// cast by one; backward one casts, each expert's are multiplied twice, cast and summed both ways, and one
/// puts their gradients together.
void LayerBuilder::expert_output_bias(const MoeShape& moe, bool forward) {
  if (!model_.bias || fuses_experts(moe)) return;
  const Unvectorised& kernels = stack_.unvectorised;
  const int experts = moe.local_experts;
  const double elements = moe.rows * static_cast<double>(shape_.hidden);
  const double passes =
      forward ? stack_.moe.output_bias_passes_forward : stack_.moe.output_bias_passes_backward;
  unvectorised(LayerPart::moe, "bias_by_element", forward ? kernels.bias_forward : kernels.bias_backward,
               elements, forward ? 2 * experts : 1 + 2 * experts);
  moe_memory(LayerPart::moe, "expert_output_bias", passes * elements * shape_.element,
             forward ? 2 : 1 + 3 * experts, MemoryKind::streaming);
}

/// Two tensors of the hidden size read, their sum written.
double LayerBuilder::sum_traffic() const { return 3.0 * shape_.hidden_elements * shape_.element; }

/// With a fixed capacity every rank knows how many tokens come.
bool LayerBuilder::knows_counts() const { return model_.moe->capacity_factor && stack_.moe.pads_to_capacity; }

/// Whether one kernel makes an expert's first product, its activation and the casts of the result, and one
/// the mirror of it; biases are added in the products. What such kernels take: Transformer Engine
/// pytorch/ops/fused/grouped_mlp.py, validate_grouped_mlp_dims, and the text of `fused_experts_multiple`.
bool LayerBuilder::fuses_experts(const MoeShape& moe) const {
  const int multiple = stack_.moe.fused_experts_multiple;
  // The one kernel leaves no activation behind that could be dropped and run again.
  if (recomputes_module(training_, "moe_act")) return false;
  return multiple > 0 && is_quantized(training_.precision) && model_.gated && shape_.hidden % multiple == 0 &&
         moe.ffn % multiple == 0;
}

/// Fills up the rows of each expert to what products of 8 and 4 bits need, and strips them again. A fixed
/// capacity is taken to fit (Transformer Engine pytorch/module/fp8_padding.py copies nothing then).
void LayerBuilder::pad_experts(const MoeShape& moe, double passes) {
  const std::vector<MoeDispatcher>& themselves = stack_.moe.padding_dispatchers;
  const bool pads =
      std::find(themselves.begin(), themselves.end(), stack_.moe_dispatcher) != themselves.end();
  if (pads || knows_counts() || !is_quantized(training_.precision)) return;
  moe_memory(LayerPart::moe, "expert_padding",
             passes * moe.rows * static_cast<double>(shape_.hidden) * shape_.element, 2,
             MemoryKind::streaming);
}

/// Whether ranks tell one another how many tokens they send.
bool LayerBuilder::exchanges_counts() const {
  return stack_.moe_dispatcher == MoeDispatcher::all_to_all && !knows_counts() &&
         plan_.expert * plan_.expert_tensor > 1;
}

/// Sizes of what follows come from counts on the GPU: the host reads them before it starts it (Megatron-core,
/// token_dispatcher.py: a copy to the host and its stream's end before the all-to-all; DeepEP and HybridEP
/// return them from the dispatch). One expert without a group has nothing to count.
void LayerBuilder::wait_for_counts(const MoeShape& moe) {
  const bool alone = moe.local_experts == 1 && plan_.expert * plan_.expert_tensor == 1;
  if (!knows_counts() && !alone) host_wait_ = static_cast<int>(items_.size());
}

/// A dense feed-forward part of its own width, split as one over the tensor ranks.
void LayerBuilder::shared_experts_forward(const MoeShape& moe) {
  if (moe.shared_ffn == 0) return;
  const std::int64_t tokens = shape_.tokens;
  const auto width = static_cast<double>(tokens) * static_cast<double>(moe.shared_ffn);
  gather_input(LayerPart::moe);
  quantize_rows(stack_.quantize.forward.sharded, static_cast<double>(tokens), shape_.hidden);
  moe_product("shared_up_projection", tokens, moe.shared_up_columns, shape_.hidden, training_.precision,
              shape_.element);
  moe_memory(
      LayerPart::moe, "shared_activation",
      stack_.forward_passes.feed_forward(model_.gated, model_.clamped_activation) * width * shape_.element, 1,
      MemoryKind::streaming);
  quantize_rows(stack_.quantize.forward.feed_forward(model_.gated), static_cast<double>(tokens),
                moe.shared_ffn);
  moe_product("shared_down_projection", tokens, shape_.hidden, moe.shared_ffn, training_.precision,
              shape_.element);
  reduce_output(LayerPart::moe);
}

void LayerBuilder::shared_experts_backward(const MoeShape& moe) {
  if (moe.shared_ffn == 0) return;
  const std::int64_t tokens = shape_.tokens;
  const auto width = static_cast<double>(tokens) * static_cast<double>(moe.shared_ffn);
  const Precision precision = training_.precision;
  gather_input(LayerPart::moe);
  quantize_rows(stack_.quantize.backward.hidden / 2.0, static_cast<double>(tokens), shape_.hidden);
  moe_product("shared_down_dgrad", tokens, moe.shared_ffn, shape_.hidden, precision, shape_.element);
  moe_weight_gradient("shared_down_wgrad", shape_.hidden, moe.shared_ffn, tokens, precision);
  moe_memory(
      LayerPart::moe, "shared_activation",
      stack_.backward_passes.feed_forward(model_.gated, model_.clamped_activation) * width * shape_.element,
      1, MemoryKind::streaming);
  quantize_rows(stack_.quantize.backward.feed_forward(model_.gated), static_cast<double>(tokens),
                moe.shared_ffn);
  gather_input(LayerPart::moe, true);
  moe_product("shared_up_dgrad", tokens, shape_.hidden, moe.shared_up_columns, precision, shape_.element);
  reduce_output(LayerPart::moe, true);
  moe_weight_gradient("shared_up_wgrad", moe.shared_up_columns, shape_.hidden, tokens, precision);
}

}  // namespace orrery
