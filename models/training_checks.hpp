#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

// What an optimizer and offloading ask of a plan that is complete; problems go to the reader of `parallel`.

/// Optimizers that work on whole matrices, and those that keep less than fp32.
void check_optimizer(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
                     const SoftwareStack& stack, const ParallelPlan& plan);
/// training.offload: what the stack can keep on the host, and beside what.
void check_offload(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
                   const SoftwareStack& stack, const ParallelPlan& plan);

}  // namespace orrery
