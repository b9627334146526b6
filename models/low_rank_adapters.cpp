#include "models/low_rank_adapters.hpp"

#include "models/layer_shapes.hpp"

namespace orrery {

std::vector<LowRankAdapter> adapters_of_layer(const ModelSpec& model, const TrainingSpec& training,
                                              const ParallelPlan& plan) {
  std::vector<LowRankAdapter> adapters;
  if (!training.lora) return adapters;
  const std::int64_t rank_share = largest_share(training.lora->rank, plan.tensor);
  const auto add = [&](LowRankAdapter::Place place, std::int64_t in, std::int64_t out,
                       std::int64_t out_columns, bool column_parallel) {
    LowRankAdapter adapter;
    adapter.place = place;
    adapter.in = in;
    adapter.out = out;
    adapter.column_parallel = column_parallel;
    adapter.in_columns = column_parallel ? in : largest_share(in, plan.tensor);
    adapter.rank_columns = column_parallel ? rank_share : training.lora->rank;
    adapter.out_columns = out_columns;
    adapters.push_back(adapter);
  };
  const std::int64_t heads = model.heads;
  const std::int64_t kv_heads = model.kv_heads;
  const std::int64_t head_dim = model.head_dim;
  const std::int64_t hidden_share = largest_share(model.hidden, plan.tensor);
  if (training.lora->attention) {
    const std::int64_t qkv_share =
        (largest_share(heads, plan.tensor) + 2 * largest_share(kv_heads, plan.tensor)) * head_dim;
    add(LowRankAdapter::Place::qkv, model.hidden, (heads + 2 * kv_heads) * head_dim, qkv_share, true);
    add(LowRankAdapter::Place::output, heads * head_dim, model.hidden, hidden_share, false);
  }
  if (training.lora->mlp) {
    const std::int64_t up = model.gated ? 2 * model.ffn_hidden : model.ffn_hidden;
    add(LowRankAdapter::Place::up, model.hidden, up, largest_share(up, plan.tensor), true);
    add(LowRankAdapter::Place::down, model.ffn_hidden, model.hidden, hidden_share, false);
  }
  return adapters;
}

double adapter_parameters_per_rank(const ModelSpec& model, const TrainingSpec& training,
                                   const ParallelPlan& plan) {
  double parameters = 0.0;
  for (const LowRankAdapter& adapter : adapters_of_layer(model, training, plan)) {
    parameters += adapter.parameters_per_rank(training.lora->rank);
  }
  return parameters;
}

}  // namespace orrery
