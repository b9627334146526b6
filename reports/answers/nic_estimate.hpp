#pragma once

#include <cstdint>
#include <functional>

#include "models/estimate.hpp"
#include "models/step_plan.hpp"
#include "sim/engine/traffic.hpp"

namespace orrery {

/// Tasks up to which a step of uneven groups is walked with every GPU: tens of milliseconds.
inline constexpr std::int64_t kMostTasksOfUnevenEstimate = 40'000;

/// The step of a plan whose traffic meets on the NICs (kinds_of_traffic_meet, or groups that lie unevenly),
/// on a network that the kinds of traffic share by max-min fairness: of NICs alone (nic_traffic), or the
/// whole fabric where paths are hashed or the fabric is no Clos and groups lie unevenly (traffic_of). One
/// rank a stage stands for all, as in the folded simulation. Of uneven groups every GPU is a rank while the
/// step is short (kMostTasksOfUnevenEstimate); beyond it they are taken for alike, each as slow as the
/// slowest of its kind. A long step is two short ones extrapolated. Where nothing is held up it is what
/// estimate_step says.
/// @param traffic    what the links of that network see of a graph
/// @param uneven     groups of one kind lie unevenly on the cluster (PlanShapes::uneven)
/// @param contended  becomes whether flows were held up
StepEstimate estimate_sharing(const StepPlan& plan,
                              const std::function<Traffic(const WorkloadGraph&)>& traffic, bool uneven,
                              bool& contended);

}  // namespace orrery
