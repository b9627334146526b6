#include "models/layer_builder.hpp"

namespace orrery {

const LowRankAdapter* LayerBuilder::adapter_at(LowRankAdapter::Place place) const {
  for (const LowRankAdapter& adapter : adapters_) {
    if (adapter.place == place) return &adapter;
  }
  return nullptr;
}

void LayerBuilder::adapter_forward(LayerPart part, LowRankAdapter::Place place) {
  const LowRankAdapter* adapter = adapter_at(place);
  if (adapter == nullptr) return;
  const size_t first = items_.size();
  const std::int64_t tokens = shape_.tokens;
  const std::int64_t rank = training_.lora->rank;
  const double narrow = static_cast<double>(tokens * rank) * shape_.element;
  product(part, "adapter_in", tokens, adapter->rank_columns, adapter->in_columns, attention_precision_,
          shape_.element);
  if (adapter->column_parallel) {
    tensor_communication(part, "tensor all_gather", CollectiveOp::all_gather, narrow);
  } else {
    tensor_communication(part, "tensor all_reduce", CollectiveOp::all_reduce, narrow);
  }
  product(part, "adapter_out", tokens, adapter->out_columns, rank, attention_precision_, shape_.element);
  if (!adapter->column_parallel) {
    tensor_communication(part, "tensor all_gather", CollectiveOp::all_gather, shape_.gathered_bytes());
  }
  memory(part, "adapter_addition", adapter_traffic(*adapter, stack_.adapter_forward));
  extra_kernels_ += static_cast<int>(items_.size() - first);
}

void LayerBuilder::adapter_backward(LayerPart part, LowRankAdapter::Place place) {
  const LowRankAdapter* adapter = adapter_at(place);
  if (adapter == nullptr) return;
  const size_t first = items_.size();
  const std::int64_t tokens = shape_.tokens;
  const std::int64_t rank = training_.lora->rank;
  const double narrow = static_cast<double>(tokens * rank) * shape_.element;
  memory(part, "adapter_addition", adapter_traffic(*adapter, stack_.adapter_backward));
  product(part, "adapter_out_dgrad", tokens, rank, adapter->out_columns, attention_precision_,
          shape_.element);
  if (adapter->column_parallel) {
    tensor_communication(part, "tensor reduce_scatter", CollectiveOp::reduce_scatter, narrow);
  } else {
    tensor_communication(part, "tensor all_reduce", CollectiveOp::all_reduce, narrow);
  }
  trained_weight_gradient(part, "adapter_out_wgrad", adapter->out_columns, rank, tokens,
                          attention_precision_);
  product(part, "adapter_in_dgrad", tokens, adapter->in_columns, adapter->rank_columns, attention_precision_,
          shape_.element);
  if (adapter->column_parallel) reduce_output(part);
  trained_weight_gradient(part, "adapter_in_wgrad", adapter->rank_columns, adapter->in_columns, tokens,
                          attention_precision_);
  extra_kernels_ += static_cast<int>(items_.size() - first);
}

/// Passes over the adapter's input and over its output, where this rank holds them.
double LayerBuilder::adapter_traffic(const LowRankAdapter& adapter, const AdapterPasses& passes) const {
  const double shared = plan_.sequence ? plan_.tensor : 1.0;
  const double input = static_cast<double>(adapter.in_columns);
  const double output = adapter.column_parallel ? static_cast<double>(adapter.out_columns)
                                                : static_cast<double>(adapter.out) / shared;
  return static_cast<double>(shape_.tokens) * shape_.element *
         (passes.input * input + passes.output * output);
}

}  // namespace orrery
