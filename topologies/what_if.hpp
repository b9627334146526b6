#pragma once

#include <string>
#include <vector>

#include "sim/network/topology.hpp"
#include "topologies/fabric_spec.hpp"

namespace orrery {

/// Something about `failed_links`, `failed_switches` or `degraded` that does not fit the graph.
struct WhatIfProblem {
  std::string place;  ///< below the fabric: "/failed_links/0/1"
  std::string found;
  std::string expected;
  std::string line() const { return place + ": found " + found + ", expected " + expected; }
};

/// Breaks what is broken. Each entry takes one cable, both directions of it; a failed switch all its links.
std::vector<WhatIfProblem> apply_what_if(const WhatIf& what_if, Topology& topology);

/// GPU pairs of which one has no route to the other, "no path between A and B; N pairs of GPUs in all"; empty
/// if there are none.
std::string unreachable_pairs(const Topology& topology);

}  // namespace orrery
