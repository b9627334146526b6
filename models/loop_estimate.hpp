#pragma once

#include "models/estimate.hpp"
#include "models/loop_plan.hpp"

namespace orrery {

/// Adds to a step what the loop around it costs, a step on average:
/// - the step lasts until the batch of the next one is there (prefetched): `input_exposed`;
/// - a synchronous checkpoint's write over the steps between two, an asynchronous one's staging and what its
///   write outlasts those steps by: `checkpoint_exposed`;
/// - averaging the parameters of local training over its period: `data_comm_exposed` and `optimizer`. All
///   stages wait for the slowest.
void add_loop(const StepPlan& plan, StepEstimate& estimate);

/// Seconds a step for which asynchronous checkpoints hold the training up. What the write outlasts the steps
/// by, it does alone.
/// @param alone_s of one checkpoint's write, beside nothing
/// @param write_s of the same beside steps
/// @param step_s  of one step while it is written
double async_checkpoint_exposed(const CheckpointPlan& checkpoint, double alone_s, double write_s,
                                double step_s);

/// The stage whose averaging takes longest. @returns -1 unless training is local
int slowest_to_average(const SyncPlan& sync);

}  // namespace orrery
