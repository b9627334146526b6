#pragma once

#include "models/step_plan.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

enum class Scope { folded, full };

/// Lays a plan out as a graph of tasks: folded, one rank a pipeline stage stands for all that do the same
/// (its communications carry their twins); full, every GPU is a rank. Kernels between communications are one
/// segment.
///
/// Loader workers read the next step's batch from the start on; the graph ends when they have. With
/// `checkpoint_share` above zero so does the write of an asynchronous checkpoint, or that share of its bytes.
WorkloadGraph lower(const StepPlan& plan, Scope scope, double checkpoint_share = 0.0);

/// The first `micro_batches` of a plan's step and its end, without what storage reads or writes
/// beside them. No more than `most_crossing_tasks` collectives that leave their domains: several layers share
/// one.
WorkloadGraph lower_passes(const StepPlan& plan, Scope scope, std::int32_t micro_batches,
                           double most_crossing_tasks);

/// What comes between steps (LoopPlan), alone: the write of a checkpoint, or of `share` times its bytes.
WorkloadGraph lower_checkpoint(const StepPlan& plan, Scope scope, double share = 1.0);
/// Before a run goes on: every rank reading its part of a checkpoint back.
WorkloadGraph lower_restore(const StepPlan& plan, Scope scope);
/// The workers of local training averaging their parameters, and what applies the mean.
WorkloadGraph lower_averaging(const StepPlan& plan, Scope scope);

}  // namespace orrery
