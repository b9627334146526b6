#pragma once

#include <string>
#include <vector>

#include "topologies/fabric_spec.hpp"

namespace orrery {

struct ClusterSpec;

/// How many switches and cables a tree of switches takes and who sits where: what the graph and the closed
/// form's shape are both made of. Counts follow the folded Clos of NVIDIA's reference designs: half of a
/// leaf's ports down, up to `radix` leaves under one tier of spines, above that pods of `radix`/2 leaves
/// under cores; `nodes_per_leaf` and `nodes_per_pod` of the spec replace either rule.
struct FabricLayout {
  int tiers = 0;                    ///< 0: no fabric (one node), 1: leaves alone, 2: spines, 3: cores
  int planes = 1;                   ///< equal fabrics side by side
  int rails = 1;                    ///< leaves side by side in a group of nodes, all planes together
  int nodes_per_leaf = 0;           ///< nodes of a group
  int leaves = 0;                   ///< all planes together
  int uplinks = 0;                  ///< cables of a leaf
  BytesPerSecond uplink_bandwidth;  ///< of each, so that the oversubscription is met exactly
  int pods = 1;
  int leaves_per_pod = 0;  ///< all planes together
  int nodes_per_pod = 0;
  int spines_per_pod = 0;  ///< of one plane
  int spine_uplinks = 0;   ///< cables of a spine to cores
  BytesPerSecond spine_uplink_bandwidth;
  int cores_per_spine = 0;  ///< cores that the spines of one number, one a pod, share

  int spines() const { return pods * planes * spines_per_pod; }
  int cores() const { return planes * spines_per_pod * cores_per_spine; }
};

/// @param problem receives why there is no such fabric ("... needs more than three tiers ..."), empty if
/// there is
FabricLayout fabric_layout(const ClusterSpec& cluster, std::string& problem);
/// Its tiers, whatever its ports and ratios; 0 if the nodes do not fit under leaves or have no fabric.
int tiers_of_tree(const ClusterSpec& cluster);

/// A dragonfly (Kim, Dally, Scott, Abts 2008) or dragonfly+ (Shpiner et al. 2017). Left out: 2p switches of p
/// ports for nodes with radix 4p-1, or leaves and spines of half a radix each, balanced as in these papers.
struct DragonflyLayout {
  bool plus = false;
  int groups = 1;
  int switches_per_group = 0;  ///< that nodes are cabled to
  int spines_per_group = 0;    ///< dragonfly+
  int rails = 1;               ///< switches of a chassis: NIC i of its nodes is on the i-th; 1: all on one
  int nodes_per_leaf = 0;      ///< nodes of a chassis
  int nodes_per_group = 0;
  int global_links = 0;             ///< cables between each pair of groups
  int uplinks = 0;                  ///< dragonfly+: cables of a leaf to the spines of its group
  BytesPerSecond uplink_bandwidth;  ///< of each
  /// What the NICs of a group can send over what its global cables carry (the taper), at least 1: the share
  /// that traffic to all groups alike gets.
  double global_oversubscription = 1.0;

  int switches() const { return groups * (switches_per_group + spines_per_group); }
  /// Switches of a group that hold global cables.
  int global_switches() const { return plus ? spines_per_group : switches_per_group; }
};
DragonflyLayout dragonfly_layout(const ClusterSpec& cluster, std::string& problem);

/// Sizes of the rings, as many as dimensions: their product is the number of nodes. Left out: three, as equal
/// as can be.
std::vector<int> torus_dimensions(const ClusterSpec& cluster, std::string& problem);

/// Why the fabric of a cluster cannot be built, a whole sentence; empty if it can.
std::string layout_problem(const ClusterSpec& cluster);

/// Which of `targets` switches above the cable of that number goes to: in blocks where they divide, so that
/// static routing by destination number spreads on the way up and down, else dealt on from one switch below
/// to the next.
int cable_target(int source, int cable, int cables, int targets);

}  // namespace orrery
