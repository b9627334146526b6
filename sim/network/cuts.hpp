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

/// cut_bandwidth() from the first half of the GPUs (by number, rounded down) to the second half. Zero for
/// fewer than two GPUs. Not the minimum over all halvings: that one is NP-hard, and placement fills clusters
/// in GPU order.
BytesPerSecond bisection_bandwidth(const Topology& topology, const std::vector<bool>& without = {});

}  // namespace orrery
