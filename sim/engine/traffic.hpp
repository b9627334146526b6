#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/engine/footprint.hpp"
#include "sim/engine/step_executor.hpp"

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

/// @throws std::runtime_error if two members of a group have no path
Traffic traffic_of(const WorkloadGraph& graph, const Topology& topology);

/// The first communication whose groups (the simulated one and its twins) do not meet the same crowd on the
/// fabric, or -1.
///
/// Folding lets the simulated group stand for its twins: exact where all have the same bottleneck. A twin's
/// bottleneck is the link of its own that all communications together ask most of, relative to its capacity;
/// twins are alike if these requests and the twin's own part in them agree within 0.1 % and come from the
/// same communications. Links that are never asked for more than they carry hold nobody up, whoever is on
/// them. Different bottlenecks come from hashed paths, failed or degraded links, and leaves that end in the
/// middle of a pipeline stage.
std::int32_t first_uneven_communication(const WorkloadGraph& graph, const Topology& topology,
                                        const Traffic& traffic);

}  // namespace orrery
