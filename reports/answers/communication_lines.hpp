#pragma once

#include <vector>

#include "models/estimate.hpp"
#include "models/step_plan.hpp"
#include "reports/answers/prediction.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

/// Communications of the slowest rank of a simulated step. Those between tasks (data, pipeline) come from the
/// timeline, equal calls (same group, operation, size and ranks) on one line; those inside layers (tensor,
/// context) run in a segment of known length, so that their lines are the plan's.
std::vector<CommunicationTotal> simulated_communication(const SimulatedStep& step, const StepPlan& plan);

}  // namespace orrery
