#pragma once

#include "sim/base/quantity.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

/// What the first half of the GPUs (by number, rounded down) can send to the second half in one direction:
/// the smallest cut between the two, by max-flow (Boykov-Kolmogorov). Zero for fewer than two GPUs. Not the
/// minimum over all halvings: that one is NP-hard, and placement fills clusters in GPU order.
BytesPerSecond bisection_bandwidth(const Topology& topology);

}  // namespace orrery
