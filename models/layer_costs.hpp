#pragma once

#include "models/step_plan.hpp"

namespace orrery {

/// What timing the parts of a model needs beside the model and the plan.
struct CostInputs {
  const CostModel& cost;
  const CollectiveModel& collectives;
  GroupShape tensor;              ///< shape of a tensor group
  GroupShape context;             ///< shape of a context group
  double straggler_factor = 1.0;  ///< multiplies kernel times: a synchronous step waits for the slowest GPU
};

/// Times every operator and collective of a transformer layer, the embedding and the head.
LayerCosts make_layer_costs(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                            const ParallelPlan& parallel, const CostInputs& inputs);

/// Times the optimizer step of a rank that updates `updated` and holds `resident` parameters.
PassCost make_optimizer_cost(const TrainingSpec& training, const SoftwareStack& stack,
                             const ParallelPlan& parallel, double updated, double resident,
                             const CostInputs& inputs);

}  // namespace orrery
