#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/large_array.hpp"
#include "sim/base/quantity.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// A link that was asked for all it carries or more. Who lost to it: the tasks observed (run_step), by
/// default all.
struct LinkContention {
  std::int32_t link = 0;   ///< of the topology; the tightest of those that the same communications use alike
  double busy_s = 0.0;     ///< for how long the flows on it, each at its own bound, would have filled it
  double held_s = 0.0;     ///< what flows lost to it against their uncontended time while it was their
                           ///< bottleneck, summed over flows; 0: it bound nobody
  std::int64_t flows = 0;  ///< that lost
};

/// When each task of a graph ran. Times from the start of the step.
struct StepTimeline {
  LargeArray<double> start_s;  ///< by task; of a communication: when it was ready to start
  LargeArray<double> end_s;    ///< by task
  double makespan_s = 0.0;
  bool contended = false;          ///< some communication took longer (by 0.1 %) than it would have alone
  bool others_contended = false;   ///< one of the tasks that are not observed did
  std::vector<double> link_bytes;  ///< by link of the topology, of the observed tasks, twins included; empty
                                   ///< for the contention-free engine
  std::vector<LinkContention> contention;  ///< by rising link; empty for the contention-free engine
};

/// Seconds of one rank's step by term; they add up to the makespan.
using Breakdown = std::array<double, kBreakdownTerms>;

/// Exclusive breakdown of one simulated rank: each instant goes to the piece that runs on its compute stream;
/// where none runs, to the communication that its next compute task waits for, directly or through other
/// communications of this rank (while that is in flight); else to the bubble (to `other` when the graph has
/// no pipeline communication). After its last segment: to the term of its own communication that is still in
/// flight, else to the bubble. O(tasks).
Breakdown breakdown_of_rank(const WorkloadGraph& graph, const StepTimeline& timeline, int rank);
/// The rank whose last task (communications it takes part in included) ends last; of several the one that
/// does last what is neither read nor written, of these the one with the most compute.
int slowest_rank(const WorkloadGraph& graph, const StepTimeline& timeline);

/// Tasks of a longest chain through the step, first to last: every next starts when the one before it ends.
std::vector<std::int32_t> critical_path(const WorkloadGraph& graph, const StepTimeline& timeline);

/// Total and exposed seconds of one communication on one rank.
struct CommunicationUse {
  std::int32_t communication = 0;
  std::int64_t count = 0;
  double total_s = 0.0;
  double exposed_s = 0.0;
};
std::vector<CommunicationUse> communication_use(const WorkloadGraph& graph, const StepTimeline& timeline,
                                                int rank);

}  // namespace orrery
