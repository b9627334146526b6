#pragma once

#include "reports/answers/simulation.hpp"

namespace orrery {

/// What simulating the loop around a step adds to its mean (LoopPlan; the batch's reading is in the step's
/// own graph).
struct LoopAddition {
  Breakdown breakdown{};  ///< seconds a step
  bool contended = false;
  std::vector<CommunicationTotal> communication;
  double seconds() const;
};

/// Simulates what comes between steps on its own, and the step once more while an asynchronous checkpoint is
/// written.
///
/// The mean step of a period of N steps with a checkpoint whose write takes W beside steps of T_w each:
///     T + min(W / T_w, N) (T_w - T) / N + (staging + max(0, W - N T_w)) / N
/// @param step  the step without the checkpoint; null: simulated here
/// @throws InputError as simulate_step
LoopAddition simulate_loop(const SimulatedJob& job, const ClusterSpec& cluster, Scope scope,
                           std::shared_ptr<const SimulatedStep> step);

}  // namespace orrery
