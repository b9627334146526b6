#include "models/moe_shape.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {
namespace {

/// Bytes an element of tokens quantised for their way: one byte, and an fp32 scale for each 128 of them
/// (DeepSeek-AI 2024, arXiv 2412.19437, section 3.3.1).
constexpr double kQuantizedDispatchBytes = 1.0 + 4.0 / 128.0;

std::int64_t gated_columns(const ModelSpec& model, std::int64_t ffn) { return model.gated ? 2 * ffn : ffn; }

/// Weights and biases of a feed-forward block whose inner width is `ffn` on this rank.
double block_parameters(const ModelSpec& model, std::int64_t ffn) {
  const double hidden = static_cast<double>(model.hidden);
  const double up = static_cast<double>(gated_columns(model, ffn));
  return hidden * (up + static_cast<double>(ffn)) + (model.bias ? up + hidden : 0.0);
}

/// Rows that an expert has room for, over those that it gets in the mean.
double capacity_over_mean(const MoeSpec& moe, std::int64_t tokens) {
  const double mean = static_cast<double>(tokens) * moe.top_k / moe.experts;
  return std::ceil(mean * *moe.capacity_factor) / mean;
}

}  // namespace

double moe_load(const MoeSpec& moe, bool pads_to_capacity, std::int64_t tokens) {
  if (!moe.capacity_factor) return moe.imbalance;
  const double capacity = capacity_over_mean(moe, tokens);
  return pads_to_capacity ? capacity : std::min(moe.imbalance, capacity);
}

double expert_rows_share(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan) {
  if (!model.moe || !model.moe->capacity_factor) return 1.0;
  const MoeShape shape(model, training, stack, plan, RankShape(model, training, stack, plan));
  const double capacity = capacity_over_mean(*model.moe, shape.tokens);
  return stack.moe.pads_to_capacity ? capacity : std::min(1.0, capacity);
}

MoeShape::MoeShape(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                   const ParallelPlan& plan, const RankShape& shape)
    : experts(model.moe->experts),
      top_k(model.moe->top_k),
      groups{model.moe->router_groups, model.moe->groups_per_token},
      local_experts(model.moe->experts / plan.expert),
      tokens(plan.sequence ? largest_share(shape.tokens, plan.tensor) : shape.tokens),
      load(moe_load(*model.moe, stack.moe.pads_to_capacity, tokens)),
      copies(static_cast<double>(tokens) * top_k * load),
      rows(copies * plan.expert_tensor),
      rows_per_expert(std::max<std::int64_t>(1, std::llround(std::ceil(rows / local_experts)))),
      ffn(largest_share(model.moe->ffn_hidden, plan.expert_tensor)),
      up_columns(gated_columns(model, ffn)),
      shared_ffn(largest_share(model.moe->shared_experts * model.moe->shared_ffn_hidden, plan.tensor)),
      shared_up_columns(gated_columns(model, shared_ffn)),
      dispatch_bytes(stack.moe.fp8_dispatch && is_quantized(training.precision) ? kQuantizedDispatchBytes
                                                                                : shape.element) {}

MoeParameters moe_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan) {
  const MoeSpec& moe = *model.moe;
  MoeParameters parameters;
  // With a bias as the linear layers have (megatron/core/transformer/moe/router.py, add_bias_linear).
  parameters.router = static_cast<double>(model.hidden + (model.bias ? 1 : 0)) * moe.experts;
  parameters.experts = static_cast<double>(moe.experts) / plan.expert *
                       block_parameters(model, largest_share(moe.ffn_hidden, plan.expert_tensor));
  if (moe.shared_experts > 0) {
    parameters.shared =
        block_parameters(model, largest_share(moe.shared_experts * moe.shared_ffn_hidden, plan.tensor));
  }
  const std::int64_t shared = moe.shared_experts > 0 ? moe.shared_experts * moe.shared_ffn_hidden : 0;
  parameters.matrices = static_cast<double>(model.hidden) * (model.gated ? 3.0 : 2.0) *
                        (static_cast<double>(moe.experts) / plan.expert *
                             static_cast<double>(largest_share(moe.ffn_hidden, plan.expert_tensor)) +
                         static_cast<double>(largest_share(shared, plan.tensor)));
  return parameters;
}

MoeFlops moe_flops_per_token(const ModelSpec& model) {
  const MoeSpec& moe = *model.moe;
  const double hidden = static_cast<double>(model.hidden);
  const double products = 2.0 * hidden * (model.gated ? 3.0 : 2.0);
  MoeFlops flops;
  flops.router = 2.0 * hidden * moe.experts;
  flops.experts = products * moe.top_k * static_cast<double>(moe.ffn_hidden);
  flops.shared = products * static_cast<double>(moe.shared_experts * moe.shared_ffn_hidden);
  return flops;
}

}  // namespace orrery
