#pragma once

#include "models/step_plan.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

enum class Scope { folded, full };

/// Lays a plan out as a graph of tasks: folded, one rank a pipeline stage stands for all that do the same
/// (its communications carry their twins); full, every GPU is a rank. Kernels between communications are one
/// segment.
WorkloadGraph lower(const StepPlan& plan, Scope scope);

}  // namespace orrery
