#pragma once

#include "models/layer_operators.hpp"
#include "models/software_stack.hpp"

namespace orrery {

/// Host time of a pass: its launches, its collectives, and what the framework adds a layer and its experts.
///
/// Graphs over parts of a layer take the launches and collectives of these parts off the host, and of what
/// the framework spends on a layer the share of the plain kernels among them; each start of a graph costs
/// per_graph.
/// @param per_layer  the framework's share a layer, of this kind of pass
Seconds host_time(const LayerPass& pass, const SoftwareStack& stack, Seconds per_layer);

}  // namespace orrery
