#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/network/topology.hpp"
#include "topologies/node_spec.hpp"

namespace orrery {

enum class FabricKind {
  single_switch,   ///< every NIC on one switch
  leaf_spine,      ///< all NICs of a node on one leaf
  rail_optimized,  ///< NIC i of neighbouring nodes on the same leaf, the i-th of their group
  nvl72            ///< NVLink domains of up to 18 nodes; rail-optimised between them
};
std::string_view name_of(FabricKind kind);

/// The network between nodes.
struct FabricSpec {
  FabricKind kind = FabricKind::single_switch;
  BytesPerSecond link_bandwidth;  ///< of a cable, one direction
  Seconds link_latency;           ///< of a cable
  int switch_radix = 0;           ///< ports of a switch; a single switch is as large as needed
  Seconds switch_latency;
  std::vector<double> oversubscription;  ///< down over up, of the leaves and, with three tiers, of the spines
  Routing routing = Routing::ecmp;
  double payload_efficiency = 1.0;  ///< share of the line rate left for payload
  int domain_nodes = 1;             ///< nodes that share an NVLink domain: 1 unless nvl72
  int tiers = 0;                    ///< demanded number of switch tiers; 0: as many as needed

  double oversubscription_of(size_t tier) const {
    return tier < oversubscription.size() ? oversubscription[tier] : 1.0;
  }
};

/// Reads the `fabric` object of contract section 2; problems go to the reader. What is left out follows from
/// the nodes' NICs and defaults.json. Kinds, routings and keys of the contract that are not modelled yet are
/// refused by name.
FabricSpec read_fabric(const SpecReader& reader, const NodeSpec& node, int nodes, Provenance& provenance,
                       const std::string& path);

}  // namespace orrery
