#include "topologies/fabric_layout.hpp"

#include <algorithm>
#include <cmath>

#include "topologies/cluster_spec.hpp"
#include "topologies/port_counts.hpp"

namespace orrery {
namespace {

/// The smallest divisor of `cables` that is at least `least` and less than twice it, else `least`: switches
/// above take the same number of cables from each switch below if that costs few more of them. (SuperPOD: 16
/// spines for 24 leaves of 32 uplinks, where 12 would do.)
int even_switches(int cables, int least) {
  for (int count = least; count < 2 * least && count <= cables; ++count) {
    if (cables % count == 0) return count;
  }
  return least;
}

std::string too_many_ratios(const FabricSpec& fabric, int tiers) {
  const size_t found = fabric.oversubscription.size();
  return "\"oversubscription\" has " + std::to_string(found) + (found == 1 ? " ratio" : " ratios") +
         ", a fabric of " + std::to_string(tiers) + (tiers == 1 ? " tier" : " tiers") + " has " +
         std::to_string(std::max(0, tiers - 1));
}

/// Lays out a tree of leaves, spines and cores; the first problem ends it.
class Clos {
 public:
  Clos(const ClusterSpec& cluster, std::string& problem)
      : cluster_(cluster), fabric_(cluster.fabric), problem_(problem) {}

  FabricLayout lay_out() {
    const bool done = place_nodes() && choose_tiers() && place_switches() && check_ports();
    return done ? layout_ : FabricLayout{};
  }

  int tiers() { return place_nodes() && choose_tiers() ? layout_.tiers : 0; }

 private:
  bool refuse(const std::string& why) {
    problem_ = why;
    return false;
  }

  int leaf_ports() const { return fabric_.radix_of(0) / 2; }
  int nics_of_plane() const { return cluster_.nics_per_node() / layout_.planes; }
  int ports_of_node() const { return fabric_.railed() ? 1 : nics_of_plane(); }
  int rails_of_plane() const { return layout_.rails / layout_.planes; }
  int groups() const { return divide_up(cluster_.nodes, layout_.nodes_per_leaf); }
  BytesPerSecond port() const { return min(cluster_.node.nics.bandwidth, fabric_.link_bandwidth); }

  bool place_nodes() {
    layout_.planes = fabric_.planes;
    const int nics = cluster_.nics_per_node();
    // A GPU without a NIC on some plane would not reach those that have theirs there.
    const int needed = layout_.planes * cluster_.gpus_per_node();
    if (layout_.planes > 1 && nics % needed != 0) {
      return refuse(std::to_string(layout_.planes) +
                    " planes take a NIC of every GPU on each: a multiple of " + std::to_string(needed) +
                    " NICs a node, found " + std::to_string(nics));
    }
    layout_.rails = fabric_.railed() ? nics : layout_.planes;
    layout_.nodes_per_leaf =
        fabric_.nodes_per_leaf > 0 ? fabric_.nodes_per_leaf : leaf_ports() / ports_of_node();
    if (layout_.nodes_per_leaf == 0) {
      return refuse("a leaf has " + std::to_string(leaf_ports()) + " ports for nodes (half of " +
                    std::to_string(fabric_.radix_of(0)) + "), a node has " + std::to_string(ports_of_node()) +
                    " NICs");
    }
    if (fabric_.domain_nodes > 1 && layout_.nodes_per_leaf >= fabric_.domain_nodes) {
      // A domain stays within one group.
      layout_.nodes_per_leaf -= layout_.nodes_per_leaf % fabric_.domain_nodes;
    }
    layout_.leaves = layout_.leaves_per_pod = groups() * layout_.rails;
    layout_.nodes_per_pod = groups() * layout_.nodes_per_leaf;
    return true;
  }

  bool choose_tiers() {
    const int leaves = layout_.leaves / layout_.planes;
    const bool one_pod =
        fabric_.nodes_per_pod > 0 ? cluster_.nodes <= fabric_.nodes_per_pod : leaves <= fabric_.radix_of(1);
    layout_.tiers = leaves == 1 ? 1 : one_pod ? 2 : 3;
    // More tiers than needed are built on demand; fewer cannot be.
    if (fabric_.kind == FabricKind::fat_tree && fabric_.tiers > layout_.tiers && layout_.tiers > 1) {
      layout_.tiers = fabric_.tiers;
    }
    if (fabric_.nodes_per_pod > 0 && fabric_.nodes_per_pod % layout_.nodes_per_leaf != 0) {
      return refuse("\"nodes_per_pod\" " + std::to_string(fabric_.nodes_per_pod) + " is no multiple of the " +
                    std::to_string(layout_.nodes_per_leaf) + " nodes that meet at a leaf");
    }
    return true;
  }

  /// @param down  ports of a spine for the leaves of one plane of a pod
  bool place_spines(int leaves, int down) {
    layout_.spines_per_pod = even_switches(layout_.uplinks, divide_up(leaves * layout_.uplinks, down));
    if (layout_.spines_per_pod <= layout_.uplinks) return true;
    return refuse("a pod of " + std::to_string(layout_.nodes_per_pod) + " nodes has " +
                  std::to_string(leaves) + " leaves, a spine " + std::to_string(down) +
                  " ports for them: not every leaf reaches every spine");
  }

  bool place_switches() {
    const std::string of_radix = "switches of " + std::to_string(fabric_.radix_of(1)) + " ports";
    if (layout_.tiers > 1) {
      const int used = std::min(cluster_.nodes, layout_.nodes_per_leaf) * ports_of_node();
      const Cables up = cables_for(port() * used / fabric_.oversubscription_of(0), fabric_.link_bandwidth);
      layout_.uplinks = up.count;
      layout_.uplink_bandwidth = up.rate;
    }
    if (layout_.tiers == 2) {
      return place_spines(layout_.leaves / layout_.planes, fabric_.radix_of(1));
    }
    if (layout_.tiers == 3) {
      int down = fabric_.radix_of(1) / 2;
      int groups_per_pod = down / rails_of_plane();
      if (fabric_.nodes_per_pod > 0) {
        groups_per_pod = fabric_.nodes_per_pod / layout_.nodes_per_leaf;
        const double ratio = fabric_.oversubscription_of(1);
        down = std::max(1, static_cast<int>(std::floor(fabric_.radix_of(1) * ratio / (1.0 + ratio) + 1e-9)));
      }
      if (groups_per_pod == 0) {
        return refuse("three tiers of " + of_radix + " take at most " + std::to_string(down) +
                      " rails, a node has " + std::to_string(rails_of_plane()) + " NICs");
      }
      const int leaves_of_plane = groups_per_pod * rails_of_plane();
      layout_.leaves_per_pod = groups_per_pod * layout_.rails;
      layout_.nodes_per_pod = groups_per_pod * layout_.nodes_per_leaf;
      layout_.pods = divide_up(layout_.leaves, layout_.leaves_per_pod);
      if (layout_.pods > fabric_.radix_of(2)) {
        return refuse(std::to_string(cluster_.nodes) + " nodes need more than three tiers of " + of_radix);
      }
      if (!place_spines(leaves_of_plane, down)) return false;
      const double cables_down =
          static_cast<double>(leaves_of_plane) * layout_.uplinks / layout_.spines_per_pod;
      const Cables up = cables_for(layout_.uplink_bandwidth * cables_down / fabric_.oversubscription_of(1),
                                   fabric_.link_bandwidth);
      layout_.spine_uplinks = up.count;
      layout_.spine_uplink_bandwidth = up.rate;
      layout_.cores_per_spine = even_switches(
          layout_.spine_uplinks, divide_up(layout_.pods * layout_.spine_uplinks, fabric_.radix_of(2)));
    }
    return true;
  }

  bool check_ports() {
    if (fabric_.tiers != 0 && fabric_.tiers != layout_.tiers) {
      return refuse("\"tiers\" is " + std::to_string(fabric_.tiers) + ", this fabric has " +
                    std::to_string(layout_.tiers));
    }
    const auto ratios = static_cast<size_t>(std::max(0, layout_.tiers - 1));
    if (fabric_.oversubscription.size() > ratios) {
      return refuse(too_many_ratios(fabric_, layout_.tiers));
    }
    const int leaf_down = std::min(cluster_.nodes, layout_.nodes_per_leaf) * ports_of_node();
    problem_ = port_problem("leaf0", leaf_down, layout_.uplinks, fabric_.radix_of(0));
    if (!problem_.empty() || layout_.tiers < 2) return problem_.empty();
    const int below = std::min(layout_.leaves, layout_.leaves_per_pod) / layout_.planes * layout_.uplinks;
    problem_ = port_problem("spine0", divide_up(below, layout_.spines_per_pod), layout_.spine_uplinks,
                            fabric_.radix_of(1));
    if (!problem_.empty() || layout_.tiers < 3) return problem_.empty();
    problem_ = port_problem("core0", divide_up(layout_.pods * layout_.spine_uplinks, layout_.cores_per_spine),
                            0, fabric_.radix_of(2));
    return problem_.empty();
  }

  const ClusterSpec& cluster_;
  const FabricSpec& fabric_;
  std::string& problem_;
  FabricLayout layout_;
};

FabricLayout one_switch(const ClusterSpec& cluster, std::string& problem) {
  const FabricSpec& fabric = cluster.fabric;
  const int ports = cluster.nodes * cluster.node.nics.count;
  if (fabric.radix_of(0) > 0 && ports > fabric.radix_of(0)) {
    problem = "one switch of " + std::to_string(fabric.radix_of(0)) + " ports cannot take " +
              std::to_string(ports) + " NICs";
    return {};
  }
  if (!fabric.oversubscription.empty()) {
    problem = too_many_ratios(fabric, 1);
    return {};
  }
  if (fabric.tiers > 1) {
    problem = "\"tiers\" is " + std::to_string(fabric.tiers) + ", this fabric has 1";
    return {};
  }
  FabricLayout layout;
  layout.tiers = layout.leaves = layout.leaves_per_pod = 1;
  layout.nodes_per_leaf = layout.nodes_per_pod = cluster.nodes;
  return layout;
}

}  // namespace

int cable_target(int source, int cable, int cables, int targets) {
  return cables % targets == 0 ? cable / (cables / targets) : (source * cables + cable) % targets;
}

FabricLayout fabric_layout(const ClusterSpec& cluster, std::string& problem) {
  problem.clear();
  if (cluster.nodes <= 1) return {};
  if (cluster.node.nics.count == 0) {
    problem = "nodes without NICs cannot be joined: " + std::to_string(cluster.nodes) + " nodes need nics";
    return {};
  }
  if (cluster.fabric.kind == FabricKind::single_switch) return one_switch(cluster, problem);
  return Clos(cluster, problem).lay_out();
}

int tiers_of_tree(const ClusterSpec& cluster) {
  if (cluster.nodes <= 1 || cluster.node.nics.count == 0) return 0;
  if (cluster.fabric.kind == FabricKind::single_switch) return 1;
  std::string problem;
  return Clos(cluster, problem).tiers();
}

std::string layout_problem(const ClusterSpec& cluster) {
  std::string problem;
  const FabricKind kind = cluster.fabric.kind;
  if (kind == FabricKind::graph) {
    problem = graph_problem(cluster);
  } else if (cluster.fabric.is_dragonfly()) {
    dragonfly_layout(cluster, problem);
  } else if (kind == FabricKind::torus) {
    torus_dimensions(cluster, problem);
  } else {
    fabric_layout(cluster, problem);
  }
  return problem;
}

}  // namespace orrery
