#include "models/layer_builder.hpp"
#include "models/layer_operators.hpp"

namespace orrery {

// Multi-token prediction (DeepSeek-AI 2024, arXiv 2412.19437, section 2.2): depth k joins the hidden state of
// a token with the embedding of the token k later, each normalised, projects both to the hidden width, and
// has a transformer layer, a norm and the shared output head and loss of its own. Work of its transformer
// layer is transformer_layer_work's, of its head (final norm, logits, loss) head_work's. As Megatron-core
// does it (megatron/core/transformer/multi_token_prediction.py): the projection is column-parallel, its
// output gathered, and cut into sequence shards again under sequence parallelism.

namespace {

/// Two norms read and write once forward, read two tensors and write one backward; the joined tensor is
/// copied.
constexpr double kTwoNormPasses = 4.0;
constexpr double kTwoNormBackwardPasses = 6.0;
constexpr double kJoinPasses = 4.0;

double projection_flops(const ModelSpec& model, double tokens) {
  const auto hidden = static_cast<double>(model.hidden);
  return 2.0 * tokens * 2.0 * hidden * hidden;
}

}  // namespace

void LayerBuilder::token_prediction_forward() {
  const PassBytes cast = casts(stack_.quantize.forward);
  const double hidden_bytes = shape_.hidden_elements * shape_.element;
  memory(LayerPart::norm, "token_prediction_norms", kTwoNormPasses * hidden_bytes, MemoryKind::norm);
  memory(LayerPart::mlp, "token_prediction_join", kJoinPasses * hidden_bytes);
  memory(LayerPart::mlp, "quantize", cast.hidden, MemoryKind::quantize);
  if (plan_.sequence) {
    tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather,
                         2.0 * shape_.gathered_bytes());
  }
  product(LayerPart::mlp, "token_prediction_projection", shape_.tokens,
          largest_share(shape_.hidden, plan_.tensor), 2 * shape_.hidden, training_.precision, shape_.element);
  tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather,
                       shape_.gathered_bytes());
}

void LayerBuilder::token_prediction_backward() {
  const PassBytes cast = casts(stack_.quantize.backward);
  const double hidden_bytes = shape_.hidden_elements * shape_.element;
  const std::int64_t columns = largest_share(shape_.hidden, plan_.tensor);
  const bool sequence = plan_.sequence;
  gather_input(LayerPart::mlp);
  memory(LayerPart::mlp, "quantize", cast.hidden / 2.0, MemoryKind::quantize);
  if (sequence) {
    const size_t first = items_.size();
    tensor_communication(LayerPart::mlp, "tensor all_gather", CollectiveOp::all_gather,
                         2.0 * shape_.gathered_bytes(), true);
    mark_weight_work(first);
  }
  product(LayerPart::mlp, "token_prediction_dgrad", shape_.tokens, 2 * shape_.hidden, columns,
          training_.precision, shape_.element);
  tensor_communication(LayerPart::mlp, sequence ? "tensor reduce_scatter" : "tensor all_reduce",
                       sequence ? CollectiveOp::reduce_scatter : CollectiveOp::all_reduce,
                       2.0 * shape_.gathered_bytes(), true);
  weight_gradient(LayerPart::mlp, "token_prediction_wgrad", columns, 2 * shape_.hidden, shape_.tokens,
                  training_.precision);
  memory(LayerPart::norm, "token_prediction_norms", kTwoNormBackwardPasses * hidden_bytes, MemoryKind::norm);
}

double token_prediction_flops(const ModelSpec& model, const TrainingSpec& training, double sequences) {
  return projection_flops(model, sequences * static_cast<double>(training.seq_length));
}

double token_prediction_parameters_per_rank(const ModelSpec& model, const ParallelPlan& plan) {
  const auto hidden = static_cast<double>(model.hidden);
  const double norm = (model.norm == Norm::layernorm ? 2.0 : 1.0) * hidden;
  // The norms of embedding and hidden state, and the final norm in front of the head.
  return 2.0 * hidden * static_cast<double>(largest_share(model.hidden, plan.tensor)) + 3.0 * norm;
}

}  // namespace orrery
