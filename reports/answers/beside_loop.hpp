#pragma once

#include <array>
#include <string>
#include <vector>

#include "reports/answers/checkpoint_rhythm.hpp"
#include "reports/answers/simulation.hpp"

namespace orrery {

/// A job of two on one fabric, with what simulating it alone there gave.
struct JobBeside {
  SimulatedJob job;
  Simulation alone;          ///< a step
  double write_alone_s = 0;  ///< a checkpoint; 0: it writes none
};

/// The mean step of two jobs side by side, of which at least one writes checkpoints.
struct StepsBeside {
  std::array<Breakdown, 2> breakdown{};  ///< of each job's mean step
  std::vector<std::string> binding;      ///< classes of links that cost the first more than alone
  bool contended = false;                ///< of the first
};

/// Simulates whatever the two jobs do at the same time (steps, a write, both at once), each job beside the
/// other's work repeated, and lets them alternate at those paces (alternate).
///
/// A write beside steps is cut or drawn out to the length of a step alone, so that it meets all of one.
/// @throws InputError as simulate_step
StepsBeside simulate_checkpoints_beside(const std::array<JobBeside, 2>& jobs, const Topology& topology,
                                        Scope scope);

/// Names of the classes of links that cost flows more than alone, by a share of the time alone.
std::vector<std::string> links_that_bind(const std::vector<LinkClassUse>& together,
                                         const std::vector<LinkClassUse>& alone, double alone_s);

}  // namespace orrery
