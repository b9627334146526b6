#pragma once

#include <memory>

#include "models/layer_costs.hpp"

namespace orrery {

/// Puts one plan together from the layer costs of its shapes: groups and their exchanges, segments of every
/// pass, optimizer steps. StepPlanner finds the costs.
StepPlan assemble_plan(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                       const ParallelPlan& parallel, const ClusterShape& cluster, const CostInputs& inputs,
                       std::shared_ptr<const LayerCosts> costs);

}  // namespace orrery
