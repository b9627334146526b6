#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"

namespace orrery {

/// Activations that a mixture of experts keeps on the busiest rank for one micro-batch until its backward,
/// beside its input and the norm's output: router scores, rows of the experts before their products and
/// between them, the experts' outputs where the routing weights multiply those, and the shared experts'.
///
/// Recomputing `moe` keeps none of it, `moe_act` all but the experts' activation.
/// Source: what the autograd functions of Megatron-core's transformer/moe and Transformer Engine's
/// GroupedLinear and permutation save.
double moe_kept_bytes(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                      const ParallelPlan& plan, bool recomputes);

/// Gradients of these that live at once in the backward.
double moe_working_set(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                       const ParallelPlan& plan);

/// Weights of one expert's products and of the shared experts' and the router's on one rank: the largest of
/// these products and all of them.
struct MoeProducts {
  double largest = 0, all = 0;
};
MoeProducts moe_products(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                         const ParallelPlan& plan);

/// Bytes an element of the activation's input that its backward needs.
double activation_input_bytes(const ModelSpec& model, const SoftwareStack& stack, double element);

}  // namespace orrery
