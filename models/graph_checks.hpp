#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"

namespace orrery {

/// Refuses graphs over parts of a layer (software.graph_scope) that the framework has not, that the model has
/// no such part for, or that the training would take apart.
/// @param parallel reader of the plan; the other keys stand beside it
/// Source: megatron/training/arguments.py and megatron/core/transformer/transformer_config.py,
/// cuda_graph_scope.
void check_graph_scope(const SpecReader& parallel, const ModelSpec& model, const TrainingSpec& training,
                       const SoftwareStack& stack, const ParallelPlan& plan);

/// Refuses whatever needs two kernels at once where launches block (software.blocking_launches).
/// @param parallel reader of the plan
void check_blocking_launches(const SpecReader& parallel, const SoftwareStack& stack,
                             const ParallelPlan& plan);

/// Refuses checks before collectives (software.checked_collectives) where no host starts them or the
/// framework has none.
/// @param parallel reader of the plan
void check_checked_collectives(const SpecReader& parallel, const SoftwareStack& stack);

}  // namespace orrery
