#pragma once

#include <cstdint>

#include "models/estimate.hpp"
#include "models/step_plan.hpp"
#include "sim/network/group_shape.hpp"

namespace orrery {

/// Tasks up to which a step of uneven groups is walked with every GPU: tens of milliseconds.
inline constexpr std::int64_t kMostTasksOfUnevenEstimate = 40'000;

/// The step of a plan whose traffic meets on the NICs (kinds_of_traffic_meet, or groups that lie unevenly),
/// on a network of NICs alone (nic_traffic) that the kinds of traffic share by max-min fairness. One rank a
/// stage stands for all, as in the folded simulation. Of uneven groups every GPU is a rank while the step is
/// short (kMostTasksOfUnevenEstimate); beyond it they are taken for alike, each as slow as the slowest of
/// its kind. A long step is two short ones extrapolated. Where nothing is held up it is what estimate_step
/// says.
/// @param cluster  the shape that the plan was made with
/// @param uneven   groups of one kind lie unevenly on it (PlanShapes::uneven)
StepEstimate estimate_on_nics(const StepPlan& plan, const ClusterShape& cluster, bool uneven);

}  // namespace orrery
