#pragma once

#include "sim/engine/traffic.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// Traffic on a cluster of which the shape is known and no graph is made: every GPU's link to its NICs and
/// every NIC, either in both directions; the switches carry all that NICs send. O(members of the groups).
///
/// Not seen: links inside domains, tiers of switches (the shape has slowed what crosses an oversubscribed
/// one), paths that a hash puts on one cable, storage.
Traffic nic_traffic(const WorkloadGraph& graph, const ClusterShape& cluster);

}  // namespace orrery
