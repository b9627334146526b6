#pragma once

#include <string>
#include <vector>

#include "sim/engine/traffic.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

/// How much the links of one class carried in a step. A class is all links from vertices of one kind to
/// vertices of another: "leaf -> spine".
struct LinkClassUse {
  std::string name;
  std::int64_t links = 0;                ///< of the class in the fabric, idle ones included
  double bytes = 0.0;                    ///< over all of them
  double mean_use = 0.0;                 ///< bytes over what all could have carried in the step
  LinkId busiest = 0;                    ///< the one with the largest share of its capacity in use
  std::string busiest_from, busiest_to;  ///< ids of its ends
  double busiest_bytes = 0.0;
  double max_use = 0.0;  ///< of the busiest
  double busy_s = 0.0;   ///< longest time for which one of them was asked for all it carries
  double held_s = 0.0;   ///< what flows lost to links of this class, summed over flows; 0: it did not bind
  /// Use over equal parts of the step: of all links of the class together, and of the busiest one then.
  std::vector<double> mean_over_time, max_over_time;
};

/// Classes that carried anything, the one with the busiest link first. A communication's bytes count evenly
/// from the end of its latency to its end. Looks at the time up to timeline.makespan_s.
std::vector<LinkClassUse> link_use(const WorkloadGraph& graph, const StepTimeline& timeline,
                                   const Traffic& traffic, const Topology& topology, int parts);

}  // namespace orrery
