#pragma once

#include <string>
#include <vector>

#include "sim/network/topology.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// The cluster's graph before anything in it is broken.
/// @param host_bridges  joins the PCIe switches of each node, as a graph in which something is broken does,
/// so that a GPU without its NIC reaches another
Topology build_healthy_topology(const ClusterSpec& cluster, bool host_bridges = false);

/// How much of its healthy rate the worst part of each tier has left, 1 where nothing is broken.
struct RemainingCapacity {
  double scale_up = 1.0;  ///< of a GPU's NVLink; 0: none, PCIe is left
  /// Of a node's NICs together, on their PCIe side and on the fabric's: those that are left share what it
  /// sends alike, so all are as fast as the slowest.
  double nics = 1.0;
  double leaf_uplinks = 1.0;  ///< of a leaf's cables to spines, or of a dragonfly or torus switch's to others
  double spine_uplinks = 1.0;  ///< of a spine's to cores, or of a group's global cables
};
RemainingCapacity remaining_capacity(const ClusterSpec& cluster);

/// The time that a flow needs before it runs at full rate: what is given, or round trips of the longest path.
Seconds transport_ramp(const ClusterSpec& cluster, const Topology& healthy);

}  // namespace orrery
