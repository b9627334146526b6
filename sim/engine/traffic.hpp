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
/// Folding lets the simulated group stand for its twins: exact where all are held up alike. A link is
/// *crowded* if all communications together, each at its bound and with its twins, ask for more than it
/// carries; no other link ever holds anybody up. One crowded link *covers* another if everybody on that one
/// asks for as great a share of it: a flow on both is never bound by the covered one. Twins are alike if
/// every crowded link of the one is covered by one of the other's, both ways: then the rates of the folded
/// step, each flow with a full link on which nobody is faster, are max-min with every GPU as well (Bertsekas
/// and Gallager, Data Networks, section 6.5.2). Shares within 0.1 % count as the same. Unlike twins come from
/// hashed paths, failed or degraded links, and leaves that end in the middle of a pipeline stage.
std::int32_t first_uneven_communication(const WorkloadGraph& graph, const Topology& topology,
                                        const Traffic& traffic);

}  // namespace orrery
