#pragma once

#include <string>

#include "topologies/fabric_spec.hpp"

namespace orrery {

struct ClusterSpec;

/// How many switches and cables a fabric takes and who sits where: what the graph and the closed form's shape
/// are both made of. Counts follow the folded Clos of NVIDIA's reference designs: half of a leaf's ports
/// down, up to `radix` leaves under one tier of spines, above that pods of `radix`/2 leaves under cores.
struct FabricLayout {
  int tiers = 0;           ///< 0: no fabric (one node), 1: leaves alone, 2: spines, 3: cores
  int rails = 1;           ///< leaves side by side in a group of nodes: one a NIC number when rail-optimised
  int nodes_per_leaf = 0;  ///< nodes of a group
  int leaves = 0;
  int uplinks = 0;                  ///< cables of a leaf
  BytesPerSecond uplink_bandwidth;  ///< of each, so that the oversubscription is met exactly
  int pods = 1;
  int leaves_per_pod = 0;
  int nodes_per_pod = 0;
  int spines_per_pod = 0;
  int spine_uplinks = 0;  ///< cables of a spine to cores
  BytesPerSecond spine_uplink_bandwidth;
  int cores_per_spine = 0;  ///< cores that the spines of one number, one a pod, share

  int spines() const { return pods * spines_per_pod; }
  int cores() const { return spines_per_pod * cores_per_spine; }
};

/// @param problem receives why there is no such fabric ("... needs more than three tiers ..."), empty if
/// there is
FabricLayout fabric_layout(const ClusterSpec& cluster, std::string& problem);

/// Which of `targets` switches above the cable of that number goes to: in blocks where they divide, so that
/// static routing by destination number spreads on the way up and down, else dealt on from one switch below
/// to the next.
int cable_target(int source, int cable, int cables, int targets);

}  // namespace orrery
