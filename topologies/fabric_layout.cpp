#include "topologies/fabric_layout.hpp"

#include <algorithm>
#include <cmath>

#include "topologies/cluster_spec.hpp"

namespace orrery {
namespace {

int divide_up(int a, int b) { return (a + b - 1) / b; }

/// The smallest divisor of `cables` that is at least `least` and less than twice it, else `least`: switches
/// above take the same number of cables from each switch below if that costs few more of them. (SuperPOD: 16
/// spines for 24 leaves of 32 uplinks, where 12 would do.)
int even_switches(int cables, int least) {
  for (int count = least; count < 2 * least && count <= cables; ++count) {
    if (cables % count == 0) return count;
  }
  return least;
}

/// Cables that carry `demand` and their rate; the rate is that of the cable or less, so that the sum is
/// exact.
struct Uplinks {
  int count = 1;
  BytesPerSecond rate;
};
Uplinks uplinks_for(BytesPerSecond demand, BytesPerSecond cable) {
  // The tolerance keeps 32.000000001 cables from becoming 33.
  const int count = std::max(1, static_cast<int>(std::ceil(demand / cable - 1e-9)));
  return {count, demand / count};
}

}  // namespace

int cable_target(int source, int cable, int cables, int targets) {
  return cables % targets == 0 ? cable / (cables / targets) : (source * cables + cable) % targets;
}

FabricLayout fabric_layout(const ClusterSpec& cluster, std::string& problem) {
  FabricLayout layout;
  problem.clear();
  const FabricSpec& fabric = cluster.fabric;
  const int nics = cluster.node.nics.count;
  const auto refuse = [&](const std::string& why) {
    problem = why;
    return FabricLayout{};
  };
  if (cluster.nodes <= 1) return layout;
  if (nics == 0)
    return refuse("nodes without NICs cannot be joined: " + std::to_string(cluster.nodes) +
                  " nodes need nics");
  const BytesPerSecond port = min(cluster.node.nics.bandwidth, fabric.link_bandwidth);
  const std::string of_radix = "switches of " + std::to_string(fabric.switch_radix) + " ports";

  if (fabric.kind == FabricKind::single_switch) {
    const int ports = cluster.nodes * nics;
    if (fabric.switch_radix > 0 && ports > fabric.switch_radix) {
      return refuse("one switch of " + std::to_string(fabric.switch_radix) + " ports cannot take " +
                    std::to_string(ports) + " NICs");
    }
    layout.tiers = layout.leaves = layout.leaves_per_pod = 1;
    layout.nodes_per_leaf = layout.nodes_per_pod = cluster.nodes;
  } else {
    const int down = fabric.switch_radix / 2;
    const bool railed = fabric.kind != FabricKind::leaf_spine;
    layout.rails = railed ? nics : 1;
    const int ports_per_node = railed ? 1 : nics;
    layout.nodes_per_leaf = down / ports_per_node;
    if (layout.nodes_per_leaf == 0) {
      return refuse("a leaf has " + std::to_string(down) + " ports for nodes (half of " +
                    std::to_string(fabric.switch_radix) + "), a node has " + std::to_string(nics) + " NICs");
    }
    if (fabric.domain_nodes > 1 && layout.nodes_per_leaf >= fabric.domain_nodes) {
      layout.nodes_per_leaf -=
          layout.nodes_per_leaf % fabric.domain_nodes;  // a domain stays within one group
    }
    const int groups = divide_up(cluster.nodes, layout.nodes_per_leaf);
    layout.leaves = layout.leaves_per_pod = groups * layout.rails;
    layout.nodes_per_pod = groups * layout.nodes_per_leaf;
    layout.tiers = layout.leaves == 1 ? 1 : layout.leaves <= fabric.switch_radix ? 2 : 3;
    if (layout.tiers > 1) {
      const int used = std::min(cluster.nodes, layout.nodes_per_leaf) * ports_per_node;
      const Uplinks up = uplinks_for(port * used / fabric.oversubscription_of(0), fabric.link_bandwidth);
      layout.uplinks = up.count;
      layout.uplink_bandwidth = up.rate;
    }
    if (layout.tiers == 2) {
      layout.spines_per_pod =
          even_switches(layout.uplinks, divide_up(layout.leaves * layout.uplinks, fabric.switch_radix));
    } else if (layout.tiers == 3) {
      const int groups_per_pod = down / layout.rails;
      if (groups_per_pod == 0) {
        return refuse("three tiers of " + of_radix + " take at most " + std::to_string(down) +
                      " rails, a node has " + std::to_string(nics) + " NICs");
      }
      layout.leaves_per_pod = groups_per_pod * layout.rails;
      layout.nodes_per_pod = groups_per_pod * layout.nodes_per_leaf;
      layout.pods = divide_up(layout.leaves, layout.leaves_per_pod);
      if (layout.pods > fabric.switch_radix) {
        return refuse(std::to_string(cluster.nodes) + " nodes need more than three tiers of " + of_radix);
      }
      layout.spines_per_pod =
          even_switches(layout.uplinks, divide_up(layout.leaves_per_pod * layout.uplinks, down));
      const double cables_down =
          static_cast<double>(layout.leaves_per_pod) * layout.uplinks / layout.spines_per_pod;
      const Uplinks up = uplinks_for(layout.uplink_bandwidth * cables_down / fabric.oversubscription_of(1),
                                     fabric.link_bandwidth);
      layout.spine_uplinks = up.count;
      layout.spine_uplink_bandwidth = up.rate;
      layout.cores_per_spine = even_switches(
          layout.spine_uplinks, divide_up(layout.pods * layout.spine_uplinks, fabric.switch_radix));
    }
  }
  if (fabric.tiers != 0 && fabric.tiers != layout.tiers) {
    return refuse("\"tiers\" is " + std::to_string(fabric.tiers) + ", this fabric has " +
                  std::to_string(layout.tiers));
  }
  const size_t ratios = static_cast<size_t>(std::max(0, layout.tiers - 1));
  if (fabric.oversubscription.size() > ratios) {
    return refuse("\"oversubscription\" has " + std::to_string(fabric.oversubscription.size()) +
                  " ratios, a fabric of " + std::to_string(layout.tiers) +
                  (layout.tiers == 1 ? " tier" : " tiers") + " has " + std::to_string(ratios));
  }
  return layout;
}

}  // namespace orrery
