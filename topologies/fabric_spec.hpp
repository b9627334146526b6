#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/network/topology.hpp"
#include "topologies/graph_spec.hpp"
#include "topologies/node_spec.hpp"

namespace orrery {

enum class FabricKind {
  single_switch,   ///< every NIC on one switch
  leaf_spine,      ///< all NICs of a node on one leaf, as many tiers as needed
  rail_optimized,  ///< NIC i of neighbouring nodes on the same leaf, the i-th of their group
  nvl72,           ///< NVLink domains of up to 18 nodes; rail-optimised between them
  fat_tree,        ///< as leaf_spine, with as many tiers as demanded
  dragonfly,       ///< groups of switches, each joined to every other of its group
  dragonfly_plus,  ///< groups of leaves under spines; global links leave the spines
  torus,           ///< a router a node, rings in one to three dimensions
  graph            ///< vertices and edges as given
};
std::string_view name_of(FabricKind kind);
std::string_view name_of(Routing routing);

/// A cable by the ids of its ends.
struct CableName {
  std::string from;
  std::string to;
};
struct DegradedCable {
  CableName cable;
  BytesPerSecond bandwidth;
};

/// What is broken. One entry, one cable (both directions); of parallel cables the first that still works.
struct WhatIf {
  std::vector<CableName> failed_links;
  std::vector<std::string> failed_switches;
  std::vector<DegradedCable> degraded;
  bool any() const { return !failed_links.empty() || !failed_switches.empty() || !degraded.empty(); }
};

/// The network between nodes.
struct FabricSpec {
  FabricKind kind = FabricKind::single_switch;
  BytesPerSecond link_bandwidth;  ///< of a cable, one direction
  Seconds link_latency;           ///< of a cable
  std::vector<int> switch_radix;  ///< ports of a switch, from the leaf up; empty: as many as needed
  Seconds switch_latency;
  std::vector<double> oversubscription;  ///< down over up, of the leaves and, with three tiers, of the spines
  Routing routing = Routing::ecmp;
  bool pxn = false;                 ///< GPUs forward over NVLink to the NIC of the right rail
  double payload_efficiency = 1.0;  ///< share of the line rate left for payload
  double spray_efficiency = 1.0;    ///< share of a cable left to packets that are sprayed over paths
  std::optional<Seconds> ramp;      ///< given; else ramp_round_trips of the longest path
  double ramp_round_trips = 0.0;
  int domain_nodes = 1;         ///< nodes that share an NVLink domain: 1 unless nvl72
  int tiers = 0;                ///< demanded number of switch tiers; 0: as many as needed
  int planes = 1;               ///< separate fabrics side by side; NIC i is on plane i mod planes
  int nodes_per_leaf = 0;       ///< nodes that meet at a leaf (or set of rail leaves); 0: half of its ports
  int nodes_per_pod = 0;        ///< nodes below one set of spines under cores; 0: by radix
  int groups = 0;               ///< dragonfly: 0: as many as the nodes need
  int switches_per_group = 0;   ///< dragonfly: those that nodes are cabled to; 0: by radix
  int spines_per_group = 0;     ///< dragonfly+: 0: by radix
  int global_links = 0;         ///< dragonfly: cables between each pair of groups; 0: non-blocking if it fits
  std::vector<int> dimensions;  ///< torus: empty: the most cube-like three of that many nodes
  GraphSpec graph;              ///< of kind graph
  WhatIf what_if;

  double oversubscription_of(size_t tier) const {
    return tier < oversubscription.size() ? oversubscription[tier] : 1.0;
  }
  /// Ports of a switch of a tier (0: leaf); the last one given holds for those above. 0: as many as needed.
  int radix_of(size_t tier) const {
    if (switch_radix.empty()) return 0;
    return switch_radix[tier < switch_radix.size() ? tier : switch_radix.size() - 1];
  }
  bool railed() const { return kind == FabricKind::rail_optimized || kind == FabricKind::nvl72; }
  bool is_clos() const { return kind <= FabricKind::fat_tree; }
  bool is_dragonfly() const { return kind == FabricKind::dragonfly || kind == FabricKind::dragonfly_plus; }
};

/// Reads the `fabric` object of contract section 2; problems go to the reader. What is left out follows from
/// the nodes' NICs and defaults.json.
FabricSpec read_fabric(const SpecReader& reader, const NodeSpec& node, int nodes, Provenance& provenance,
                       const std::string& path);

}  // namespace orrery
