#pragma once

#include <string>

#include "reports/answers/topology.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// `orrery.topology/1` of the contract, section 3.2, and beside it tiers, cables, distances, single failures.
/// @param ids  every switch and cable by the ids that `failed_switches` and `failed_links` take
Json topology_json(const TopologyAnswer& answer, bool ids);
/// The fabric in a dozen lines.
std::string topology_text(const TopologyAnswer& answer, bool ids);
/// key,value: the numbers of the JSON, nested keys joined by dots.
std::string topology_csv(const TopologyAnswer& answer);

/// A cluster file with the fabric as `graph`: the vertices and edges in use, as built. Read back it is the
/// same graph, without what has failed.
Json topology_graph_json(const TopologyAnswer& answer);
/// Graphviz: `dot` or `sfdp` draws it.
std::string topology_dot(const TopologyAnswer& answer);
/// A drawing: tiers from the top down, a torus as a lattice, a dragonfly as a ring of groups. Of many equals
/// a few are drawn, with their count. Failed switches and cables are dashed red.
std::string topology_svg(const TopologyAnswer& answer);

}  // namespace orrery
