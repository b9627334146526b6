#pragma once

#include <span>
#include <vector>

#include "sim/base/quantity.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

/// What one set of GPUs can send to another in one direction, whatever the routing: the smallest cut between
/// the two, by max-flow (Boykov-Kolmogorov) over the links in use, after merging what lies on a side of some
/// smallest cut for certain. Zero if either set is empty.
/// @param without  links to leave out as well, by id; empty: none
/// @throws std::invalid_argument if a GPU is in both
BytesPerSecond cut_bandwidth(const Topology& topology, std::span<const int> from_gpus,
                             std::span<const int> to_gpus, const std::vector<bool>& without = {});

/// GPUs of the first part when a topology is cut in two: the number nearest to half (the smaller of two) at
/// which neither a node nor a scale-up domain (GPUs joined by NVLink: directly, over an NVSwitch, or over a
/// switch beside their NICs) is cut; where every such number is, a node is kept whole; in a single node GPUs.
int bisection_split(const Topology& topology);

/// cut_bandwidth() from the first bisection_split() GPUs to the others. Zero for fewer than two GPUs. Not the
/// minimum over all halvings: that one is NP-hard, and placement fills clusters in GPU order.
BytesPerSecond bisection_bandwidth(const Topology& topology, const std::vector<bool>& without = {});

}  // namespace orrery
