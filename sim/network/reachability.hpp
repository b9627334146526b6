#pragma once

#include <cstdint>

#include "sim/network/topology.hpp"

namespace orrery {

/// Pairs of GPUs of which one has no route to the other.
struct UnreachablePairs {
  std::int64_t pairs = 0;
  int first = -1;   ///< the lowest GPU of any such pair, and
  int second = -1;  ///< the lowest GPU that it has no route to or from; -1 without any
};

/// Finds what Topology::route() would refuse, without asking for pairs: by strongly connected parts of the
/// network's switches and of what forwards inside nodes (Tarjan's algorithm, from Boost.Graph). Linear in the
/// graph as long as these parts are few; where streets are one-way from part to part, one search of the parts
/// for each set of them that GPUs enter.
UnreachablePairs find_unreachable(const Topology& topology);

}  // namespace orrery
