#include "models/step_plan.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/layer_shapes.hpp"
#include "models/plan_assembly.hpp"
#include "models/plan_shapes.hpp"

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

/// Of a stage's forward passes, the mean share that runs beside a backward pass of another micro-batch: all
/// but those that fill the pipeline before its first backward, 2 (p - 1 - s) + (v - 1) p + 1 on stage s of p
/// with v virtual stages (Narayanan et al. 2021, section 2.2; Megatron-core's schedules.py warms up by one
/// more to have a forward beside each backward); just the first without a pipeline.
double paired_share(const TrainingSpec& training, const ParallelPlan& parallel) {
  const double passes = static_cast<double>(parallel.micro_batches(training)) * parallel.interleave;
  const double filling = parallel.pipeline - 1.0 + (parallel.interleave - 1.0) * parallel.pipeline + 1.0;
  return std::max(0.0, 1.0 - filling / passes);
}

}  // namespace

double reduced_gradient_bytes(const TrainingSpec& training, const SoftwareStack& stack) {
  return gradient_bytes(gradient_dtype_of(training, stack));
}

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

double LayerCosts::expert_parameters_of(Part part, int kind) const {
  const bool layer = part == Part::layer || part == Part::layer_without_recompute;
  return layer ? kinds[static_cast<size_t>(kind)].expert_parameters : 0.0;
}

double LayerCosts::trained_parameters_of(Part part, int kind) const {
  const bool layer = part == Part::layer || part == Part::layer_without_recompute;
  if (layer) return kinds[static_cast<size_t>(kind)].trained_parameters;
  return frozen ? 0.0 : parameters_of(part, kind);
}

double LayerCosts::matrix_parameters_of(Part part, int kind) const {
  const bool layer = part == Part::layer || part == Part::layer_without_recompute;
  return layer ? kinds[static_cast<size_t>(kind)].matrix_parameters : 0.0;
}

double LayerCosts::mean_layer_parameters() const {
  double sum = 0;
  for (const int kind : kind_of_layer) sum += kinds[static_cast<size_t>(kind)].trained_parameters;
  return sum / static_cast<double>(kind_of_layer.size());
}

// ---------------------------------------------------------------------------------------------------------------------

struct StepPlanner::Key {
  std::int64_t seq, micro_batch;
  int precision, gradient, recompute, recompute_layers, tensor, context, flags, context_method, zero;
  std::vector<std::string> modules;
  std::optional<LoraSpec> lora;
  GroupShape tensor_shape, context_shape;
  double straggler;
  int expert, expert_tensor;
  GroupShape expert_shape, expert_tensor_shape, tensor_and_expert_shape;
  double paired_share;
  bool operator==(const Key&) const = default;
};

struct StepPlanner::Cache {
  /// A search visits a few dozen shapes: a linear look through keys beats hashing structs with floating
  /// point.
  std::vector<std::pair<Key, std::shared_ptr<const LayerCosts>>> layers;
};

StepPlanner::StepPlanner(const ModelSpec& model, const SoftwareStack& stack, const ClusterShape& cluster,
                         const CostModel& cost, const CollectiveModel& collectives,
                         const ExpertExchangeConstants* exchange, const Factors& factors)
    : model_(model),
      stack_(stack),
      cluster_(cluster),
      cost_(cost),
      collectives_(collectives),
      exchange_(exchange),
      factors_(factors),
      cache_(std::make_unique<Cache>()) {}
StepPlanner::~StepPlanner() = default;

std::shared_ptr<const LayerCosts> StepPlanner::layer_costs(const TrainingSpec& training,
                                                           const ParallelPlan& parallel,
                                                           const CostInputs& inputs) {
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
              (splits_backward(parallel.schedule) ? 8 : 0) |
              (has_whole_backward(parallel.schedule) ? 16 : 0) | (parallel.overlap.expert ? 32 : 0),
          static_cast<int>(parallel.context_method),
          parallel.zero,
          training.recompute_modules,
          training.lora,
          inputs.tensor,
          inputs.context,
          inputs.straggler_factor,
          parallel.expert,
          parallel.expert_tensor,
          inputs.expert,
          inputs.expert_tensor,
          inputs.tensor_and_expert,
          inputs.paired_share};
  for (const auto& [known, costs] : cache_->layers) {
    if (known == key) return costs;
  }
  auto costs =
      std::make_shared<const LayerCosts>(make_layer_costs(model_, training, stack_, parallel, inputs));
  cache_->layers.emplace_back(std::move(key), costs);
  return costs;
}

CostInputs StepPlanner::inputs_for(const TrainingSpec& training, const ParallelPlan& parallel) const {
  const RankMap map(parallel);
  const PlanShapes shapes(cluster_, parallel, map);
  CostInputs inputs{cost_, collectives_, shapes.tensor(), shapes.context()};
  // Workers without a bound on staleness never wait for one another.
  const int in_step = training.sync.unbounded() ? parallel.gpus() / parallel.data : parallel.gpus();
  inputs.straggler_factor =
      slowest_of(in_step, stack_.slowest_gpu_spread) / parallel.pacing_worker(training).speed;
  inputs.factors = factors_;
  inputs.host_link = cluster_.host_memory_link;
  inputs.host_memory = cluster_.host_memory_bandwidth;
  inputs.gpus_per_node = cluster_.gpus_per_node;
  if (!model_.moe) return inputs;
  inputs.expert = shapes.of_experts(Members::expert);
  inputs.expert_tensor = shapes.of_experts(Members::expert_tensor);
  inputs.tensor_and_expert = shapes.of_experts(Members::tensor_and_expert);
  inputs.exchange = exchange_;
  if (parallel.overlap.expert) inputs.paired_share = paired_share(training, parallel);
  return inputs;
}

StepPlan StepPlanner::plan(const TrainingSpec& training, const ParallelPlan& parallel) {
  const CostInputs inputs = inputs_for(training, parallel);
  return assemble_plan(model_, training, stack_, parallel, cluster_, inputs,
                       layer_costs(training, parallel, inputs));
}

StepPlan make_step_plan(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                        const ParallelPlan& parallel, const ClusterShape& cluster, const CostModel& cost,
                        const CollectiveModel& collectives, const ExpertExchangeConstants* exchange,
                        const Factors& factors) {
  return StepPlanner(model, stack, cluster, cost, collectives, exchange, factors).plan(training, parallel);
}

}  // namespace orrery
