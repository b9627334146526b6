#include "models/step_plan.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/plan_assembly.hpp"

namespace orrery {
namespace {

/// Inverse of the standard normal distribution function by bisection on erfc (absolute error below 1e-12).
double normal_quantile(double probability) {
  double low = -10.0;
  double high = 10.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < probability ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

/// Shape of the group that touches most scale-up domains. All groups of a kind do the same at the same time
/// and wait for one another, so one that straddles two nodes (tensor 6 on nodes of 8) sets the pace. The
/// pattern repeats within the least common multiple of the group's span and a domain; no more groups than
/// that are looked at.
template <typename GroupOf>
GroupShape widest_shape(const ClusterShape& cluster, const ParallelPlan& parallel, const GroupOf& group_of) {
  GroupShape widest = group_shape(cluster, group_of(0));
  if (widest.ranks <= 1 || cluster.gpus_per_domain % widest.ranks == 0) return widest;
  const int gpus = std::min(parallel.gpus(), widest.ranks * cluster.gpus_per_domain);
  for (int rank = 1; rank < gpus; ++rank) {
    const std::vector<int> group = group_of(rank);
    if (group.front() != rank) continue;
    const GroupShape shape = group_shape(cluster, group);
    if (shape.domains > widest.domains ||
        (shape.domains == widest.domains && shape.ranks_per_domain < widest.ranks_per_domain)) {
      widest = shape;
    }
  }
  return widest;
}

}  // namespace

double slowest_of(int gpus, double relative_spread) {
  if (gpus <= 1 || relative_spread <= 0) return 1.0;
  return 1.0 + relative_spread * normal_quantile((gpus - 0.375) / (gpus + 0.25));
}

const PartCost& LayerCosts::cost_of(Part part, int kind) const {
  switch (part) {
    case Part::layer:
      return kinds[static_cast<size_t>(kind)].layer;
    case Part::layer_without_recompute:
      return kinds[static_cast<size_t>(kind)].layer_without_recompute;
    case Part::embedding:
      return embedding;
    case Part::head:
    case Part::mtp_head:
      return head;
    case Part::mtp:
      return mtp;
  }
  throw std::logic_error("a part without a cost");
}

double LayerCosts::parameters_of(Part part, int kind) const {
  switch (part) {
    case Part::layer:
    case Part::layer_without_recompute:
      return kinds[static_cast<size_t>(kind)].parameters;
    case Part::embedding:
      return embedding_parameters;
    case Part::head:
      return head_parameters;
    case Part::mtp:
      return mtp_parameters;
    case Part::mtp_head:
      return 0.0;
  }
  throw std::logic_error("a part without parameters");
}

double LayerCosts::mean_layer_parameters() const {
  double sum = 0;
  for (const int kind : kind_of_layer) sum += kinds[static_cast<size_t>(kind)].parameters;
  return sum / static_cast<double>(kind_of_layer.size());
}

// ---------------------------------------------------------------------------------------------------------------------

struct StepPlanner::Key {
  std::int64_t seq, micro_batch;
  int precision, gradient, recompute, recompute_layers, tensor, context, flags, context_method, zero;
  std::vector<std::string> modules;
  GroupShape tensor_shape, context_shape;
  double straggler;
  bool operator==(const Key&) const = default;
};

struct StepPlanner::Cache {
  /// A search visits a few dozen shapes: a linear look through keys beats hashing structs with floating
  /// point.
  std::vector<std::pair<Key, std::shared_ptr<const LayerCosts>>> layers;
};

StepPlanner::StepPlanner(const ModelSpec& model, const SoftwareStack& stack, const ClusterShape& cluster,
                         const CostModel& cost, const CollectiveModel& collectives)
    : model_(model),
      stack_(stack),
      cluster_(cluster),
      cost_(cost),
      collectives_(collectives),
      cache_(std::make_unique<Cache>()) {}
StepPlanner::~StepPlanner() = default;

std::shared_ptr<const LayerCosts> StepPlanner::layer_costs(const TrainingSpec& training,
                                                           const ParallelPlan& parallel,
                                                           const GroupShape& tensor,
                                                           const GroupShape& context,
                                                           double straggler_factor) {
  Key key{training.seq_length,
          training.micro_batch,
          static_cast<int>(training.precision),
          training.gradient_dtype ? static_cast<int>(*training.gradient_dtype) : -1,
          static_cast<int>(training.recompute),
          training.recompute_layers,
          parallel.tensor,
          parallel.context,
          (parallel.sequence ? 1 : 0) | (parallel.overlap.tensor ? 2 : 0) |
              (parallel.pipeline_placement().ends_together() ? 4 : 0) |
              (splits_backward(parallel.schedule) ? 8 : 0) | (has_whole_backward(parallel.schedule) ? 16 : 0),
          static_cast<int>(parallel.context_method),
          parallel.zero,
          training.recompute_modules,
          tensor,
          context,
          straggler_factor};
  for (const auto& [known, costs] : cache_->layers) {
    if (known == key) return costs;
  }
  const CostInputs inputs{cost_, collectives_, tensor, context, straggler_factor};
  auto costs =
      std::make_shared<const LayerCosts>(make_layer_costs(model_, training, stack_, parallel, inputs));
  cache_->layers.emplace_back(std::move(key), costs);
  return costs;
}

StepPlan StepPlanner::plan(const TrainingSpec& training, const ParallelPlan& parallel) {
  const RankMap map(parallel);
  const GroupShape tensor = widest_shape(cluster_, parallel, [&](int r) { return map.tensor_group(r); });
  const GroupShape context = widest_shape(cluster_, parallel, [&](int r) { return map.context_group(r); });
  const double straggler = slowest_of(parallel.gpus(), stack_.slowest_gpu_spread);
  const CostInputs inputs{cost_, collectives_, tensor, context, straggler};
  return assemble_plan(model_, training, stack_, parallel, cluster_, inputs,
                       layer_costs(training, parallel, tensor, context, straggler));
}

StepPlan make_step_plan(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                        const ParallelPlan& parallel, const ClusterShape& cluster, const CostModel& cost,
                        const CollectiveModel& collectives) {
  return StepPlanner(model, stack, cluster, cost, collectives).plan(training, parallel);
}

}  // namespace orrery
