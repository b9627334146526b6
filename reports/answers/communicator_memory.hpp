#pragma once

#include "reports/experiment/experiment.hpp"
#include "sim/collectives/collective_model.hpp"

namespace orrery {

/// Memory that the communicators of one rank keep: one each for its tensor, context and data groups, and for
/// its neighbours in the pipeline, and those that the framework creates beside them
/// (software.communicators), as far as they have more than one rank.
Bytes communicator_memory(const Experiment& experiment, const CollectiveModel& collectives);

}  // namespace orrery
