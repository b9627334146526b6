#pragma once

#include <string>
#include <vector>

#include "sim/network/topology.hpp"

namespace orrery {

/// The switches of one kind between nodes, as the graph has them. A cable counts once, whatever its
/// directions; capacities are of one direction (out of the switch).
struct SwitchTier {
  VertexKind kind = VertexKind::leaf;
  int switches = 0;
  int failed = 0;
  int least_ports = 0;  ///< cables of a switch
  int most_ports = 0;
  BytesPerSecond down;      ///< of all of them, towards the NICs and GPUs of nodes and towards lower tiers
  BytesPerSecond up;        ///< towards higher tiers
  BytesPerSecond sideways;  ///< towards switches of the same tier; of a dragonfly: of the same group
  BytesPerSecond global;    ///< of a dragonfly: towards switches of other groups
  /// down / up. In a tier without `up`: down / global, what a dragonfly's nodes inject over what its global
  /// cables carry (its taper; Kim, Dally, Scott, Abts, ISCA 2008, balance the two); without `global`, down /
  /// sideways; 0 without any (the top of a tree). Groups without nodes are left out. `worst` is that of the
  /// switch, or of the dragonfly's group, where it is largest.
  double oversubscription = 0.0;
  double worst_oversubscription = 0.0;
};

/// Cables between two kinds of vertices.
struct CableCount {
  VertexKind below = VertexKind::nic;
  VertexKind above = VertexKind::leaf;
  int cables = 0;
  int failed = 0;
  BytesPerSecond least_rate;
  BytesPerSecond most_rate;
};

struct FabricTiers {
  std::vector<SwitchTier> tiers;   ///< from the leaf up
  std::vector<CableCount> cables;  ///< between NICs (or GPUs, storage) and switches, then among switches
  /// Of the tiers that have an oversubscription, from the leaf up; {1} for switches that lead to no others.
  std::vector<double> oversubscription() const;
};

/// Counts links in use for capacities; failed ones apart.
/// @param groups  of a dragonfly: the group of each vertex, -1 for what is no switch; empty: no dragonfly
FabricTiers count_tiers(const Topology& topology, const std::vector<int>& groups = {});

}  // namespace orrery
