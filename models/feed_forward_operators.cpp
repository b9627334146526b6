#include "models/layer_builder.hpp"

namespace orrery {

void LayerBuilder::feed_forward_forward() {
  if (kind_.moe) {
    moe_forward();
    return;
  }
  const PassBytes traffic = passes(stack_.forward_passes);
  const PassBytes cast = casts(stack_.quantize.forward);
  const HiddenPasses hidden(traffic.hidden, stack_.forward_passes.hidden, 2.0);
  const Precision precision = training_.precision;
  const std::int64_t tokens = shape_.tokens;

  memory(LayerPart::norm, "mlp_norm", hidden.norm, MemoryKind::norm);
  gather_operand(LayerPart::mlp, false);
  memory(LayerPart::mlp, "quantize", cast.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::mlp, "mlp_up_projection", tokens, shape_.up_columns, shape_.hidden, precision,
          shape_.element);
  adapter_forward(LayerPart::mlp, LowRankAdapter::Place::up);
  clamps(LayerPart::mlp, stack_.unvectorised.clamp_forward, shape_.ffn_elements);
  memory(LayerPart::mlp, "activation", traffic.ffn);
  memory(LayerPart::mlp, "quantize", cast.ffn, MemoryKind::quantize);
  product(LayerPart::mlp, "mlp_down_projection", tokens, shape_.hidden, shape_.ffn, precision,
          shape_.element);
  reduce_output(LayerPart::mlp);
  adapter_forward(LayerPart::mlp, LowRankAdapter::Place::down);
  memory(LayerPart::residual, "mlp_residual", hidden.residual);
}

/// What of clamping a gated activation's inputs runs one element at a time.
void LayerBuilder::clamps(LayerPart part, const UnvectorisedKernels& kernels, double elements) {
  if (model_.gated && model_.clamped_activation) unvectorised(part, "clamp_by_element", kernels, elements);
}

void LayerBuilder::feed_forward_backward() {
  if (kind_.moe) {
    moe_backward();
    return;
  }
  const PassBytes traffic = passes(stack_.backward_passes);
  const PassBytes cast = casts(stack_.quantize.backward);
  const HiddenPasses hidden(traffic.hidden, stack_.backward_passes.hidden, 3.0);
  const Precision precision = training_.precision;
  const std::int64_t tokens = shape_.tokens;

  memory(LayerPart::residual, "mlp_residual", hidden.residual);
  gather_operand(LayerPart::mlp, true);
  memory(LayerPart::mlp, "quantize", cast.hidden / 2.0, MemoryKind::quantize);
  product(LayerPart::mlp, "mlp_down_dgrad", tokens, shape_.ffn, shape_.hidden, precision, shape_.element);
  weight_gradient(LayerPart::mlp, "mlp_down_wgrad", shape_.hidden, shape_.ffn, tokens, precision);
  adapter_backward(LayerPart::mlp, LowRankAdapter::Place::down);
  memory(LayerPart::mlp, "activation", traffic.ffn);
  clamps(LayerPart::mlp, stack_.unvectorised.clamp_backward, shape_.ffn_elements);
  memory(LayerPart::mlp, "quantize", cast.ffn, MemoryKind::quantize);
  gather_operand(LayerPart::mlp, false, true);
  product(LayerPart::mlp, "mlp_up_dgrad", tokens, shape_.hidden, shape_.up_columns, precision,
          shape_.element);
  reduce_output(LayerPart::mlp, true);
  weight_gradient(LayerPart::mlp, "mlp_up_wgrad", shape_.up_columns, shape_.hidden, tokens, precision);
  adapter_backward(LayerPart::mlp, LowRankAdapter::Place::up);
  memory(LayerPart::norm, "mlp_norm", hidden.norm, MemoryKind::norm);
}

}  // namespace orrery
