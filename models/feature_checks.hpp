#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"

namespace orrery {

/// Refuses what the framework has not (software.lacks, software.sharding.most_zero), whatever the model.
/// @param parallel reader of the plan; the other keys stand beside it
void check_stack_features(const SpecReader& parallel, const ModelSpec& model, const TrainingSpec& training,
                          const SoftwareStack& stack, const ParallelPlan& plan);

/// Refuses adapters (training.lora) of models and by stacks for which none are counted, and of more ranks
/// than a matrix has.
/// @param parallel reader of the plan; the training stands beside it
void check_adapters(const SpecReader& parallel, const ModelSpec& model, const TrainingSpec& training,
                    const SoftwareStack& stack);

/// Refuses modules that no layer of a mixture of experts has (training.recompute).
/// @param parallel reader of the plan; the training stands beside it
void check_recomputed_modules(const SpecReader& parallel, const ModelSpec& model,
                              const TrainingSpec& training);

}  // namespace orrery
