#pragma once

#include <optional>

#include "reports/answers/simulation.hpp"

namespace orrery {

/// The timeline of a graph up to the end of all but a checkpoint's write, and how long that took.
struct StepBesideWrite {
  StepTimeline timeline;
  double write_s = 0.0;  ///< the longest
};
StepBesideWrite without_write(const WorkloadGraph& graph, StepTimeline timeline);

/// What simulating the loop around a step adds to its mean (LoopPlan; the batch's reading is in the step's
/// own graph).
struct LoopAddition {
  Breakdown breakdown{};  ///< seconds a step
  Breakdown averaging{};  ///< of these, for averaging the workers of local training
  bool contended = false;
  std::vector<CommunicationTotal> communication;
  std::optional<Seconds> write, restore;  ///< of a checkpoint, with all that its writers and readers meet
  double seconds() const;
};

/// Simulates what comes between steps on its own, and the step once more while an asynchronous checkpoint is
/// written.
///
/// The mean step of a period of N steps with a checkpoint whose write takes W alone and W_w beside steps
/// of T_w each:
///     T + min(W_w / T_w, N) (T_w - T) / N + (staging + W max(0, 1 - N T_w / W_w)) / N
/// @param step  the step without the checkpoint; null: simulated here
/// @throws InputError as simulate_step
LoopAddition simulate_loop(const SimulatedJob& job, const ClusterSpec& cluster, Scope scope,
                           std::shared_ptr<const SimulatedStep> step);

}  // namespace orrery
