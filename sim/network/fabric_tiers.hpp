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
  BytesPerSecond down;      ///< of all of them, towards NICs, GPUs, storage and lower tiers
  BytesPerSecond up;        ///< towards higher tiers
  BytesPerSecond sideways;  ///< towards switches of the same tier
  /// down / up; in a tier without `up`, down / sideways; 0 without either (the top of a tree). `worst` is
  /// that of the switch where it is largest.
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
FabricTiers count_tiers(const Topology& topology);

}  // namespace orrery
