#include "models/moe_memory.hpp"

#include <algorithm>

#include "models/layer_shapes.hpp"
#include "models/moe_shape.hpp"

namespace orrery {
namespace {

/// Bytes an entry of tokens x experts that the router and the permutation keep: fp32 scores of the auxiliary
/// loss and fp32 probabilities, the boolean map, two int32 row numbers (Transformer Engine,
/// triton/permutation.py: row_id_map).
constexpr double kRouterBytes = 4.0 + 4.0 + 1.0 + 8.0;
constexpr double kFp32Bytes = 4.0;
constexpr double kRowWeightBytes = 4.0;  ///< routing weights of the rows stay in fp32

MoeShape moe_shape(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                   const ParallelPlan& plan) {
  return {model, training, stack, plan, RankShape(model, training, stack, plan)};
}

}  // namespace

double activation_input_bytes(const ModelSpec& model, const SoftwareStack& stack, double element) {
  return stack.fp8_activation_input && model.gated ? operand_bytes(Precision::fp8) : element;
}

double moe_kept_bytes(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                      const ParallelPlan& plan, bool recomputes) {
  if (recomputes && recomputes_module(training, "moe")) return 0.0;
  const MoeShape moe = moe_shape(model, training, stack, plan);
  const double element = activation_bytes(training.precision);
  const double input = is_quantized(training.precision) ? operand_bytes(training.precision) : element;
  const double activation_input = activation_input_bytes(model, stack, element);
  const double hidden = static_cast<double>(model.hidden);
  double kept = kRouterBytes * static_cast<double>(moe.tokens) * moe.experts;
  // The router's input as its product read it.
  if (stack.moe.fp32_router) kept += kFp32Bytes * static_cast<double>(moe.tokens) * hidden;
  kept +=
      moe.rows * (hidden * input + static_cast<double>(moe.up_columns) * activation_input + kRowWeightBytes);
  if (!recomputes || !recomputes_module(training, "moe_act")) {
    kept += moe.rows * static_cast<double>(moe.ffn) * input;
  }
  if (!stack.moe.weights_in_activation) kept += moe.copies * hidden * element;
  const double tokens = static_cast<double>(RankShape(model, training, stack, plan).tokens);
  kept += tokens * (static_cast<double>(moe.shared_up_columns) * activation_input +
                    static_cast<double>(moe.shared_ffn) * input);
  return kept;
}

double moe_working_set(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                       const ParallelPlan& plan) {
  const MoeShape moe = moe_shape(model, training, stack, plan);
  const RankShape shape(model, training, stack, plan);
  // Of the rows: the gradient that came in, that of the activation and of its input; then the residual
  // stream's old and new gradient.
  const double widths = static_cast<double>(model.hidden) + static_cast<double>(moe.up_columns + moe.ffn);
  return (moe.rows * widths + 2.0 * shape.hidden_elements) * shape.element;
}

MoeProducts moe_products(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan) {
  const MoeShape moe = moe_shape(model, training, stack, plan);
  const double hidden = static_cast<double>(model.hidden);
  const double up = hidden * static_cast<double>(moe.up_columns);
  const double down = hidden * static_cast<double>(moe.ffn);
  const double shared_up = hidden * static_cast<double>(moe.shared_up_columns);
  const double shared_down = hidden * static_cast<double>(moe.shared_ffn);
  const double router = hidden * moe.experts;
  return {std::max({up, down, shared_up, shared_down, router}), up + down + shared_up + shared_down + router};
}

}  // namespace orrery
