#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/engine/flow_spec.hpp"
#include "sim/engine/footprint.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

/// What the links see of a graph's communications.
struct Traffic {
  std::vector<FlowSpec> flows;                    // by communication
  std::vector<std::vector<LinkLoad>> footprints;  // by communication; empty where no task refers to it
  std::vector<double> capacity;                   // by link, B/s
  /// By link: the one in the footprints that stands for it, the tightest of those that all communications
  /// load alike (Trunks::merge_alike); mostly itself. The footprints leave the others out.
  std::vector<LinkId> stands_for;
  std::shared_ptr<Trunks> trunks;
};

/// Of a communication with at least one group. @param uses_links  whether its footprint has any
FlowSpec flow_of(const Communication& communication, bool uses_links);

/// @throws std::runtime_error if two members of a group have no path
Traffic traffic_of(const WorkloadGraph& graph, const Topology& topology);

/// The first communication whose groups (the simulated one and its twins) were not held up alike in the
/// folded step, or -1.
///
/// Folding gives twins one rate, that of the slowest. The step of every GPU is the same, to the last flow, if
/// the folded rates are max-min for all twins at every instant: whoever is below its bound crosses a full
/// link on which nobody is faster (Bertsekas and Gallager, Data Networks, section 6.5.2), every twin for
/// itself. This is checked for everything in flight together between two events of the folded timeline. A
/// twin without such a link could be faster, by how much the links of its own path say; where that adds up,
/// on some rank, to more than a thousandth of the step, twins drift apart and folding is refused. Rates
/// within 0.1 % count as the same. Unlike twins come from hashed paths, failed or degraded links, and leaves
/// that end in the middle of a pipeline stage; but only where what is in flight together fills these links.
/// @param folded  the timeline of the graph on this traffic
std::int32_t first_uneven_communication(const WorkloadGraph& graph, const Topology& topology,
                                        const Traffic& traffic, const StepTimeline& folded);

}  // namespace orrery
