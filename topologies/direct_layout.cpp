#include <algorithm>
#include <cstdint>

#include "topologies/cluster_spec.hpp"
#include "topologies/fabric_layout.hpp"
#include "topologies/port_counts.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kMostSwitchCables = 20'000'000;

/// Sizes that the spec leaves out: of a dragonfly p ports for nodes and 2p switches of radix 4p-1, of a
/// dragonfly+ half of the ports down, and as many spines as a leaf has ports up.
void choose_sizes(const ClusterSpec& cluster, DragonflyLayout& layout) {
  const FabricSpec& fabric = cluster.fabric;
  const int nics = cluster.nics_per_node();
  const int radix = fabric.radix_of(0);
  const int ports = layout.plus ? radix / 2 : (radix + 1) / 4;
  const int switches = layout.plus ? radix / 2 : 2 * ports;
  layout.switches_per_group = fabric.switches_per_group;
  if (layout.switches_per_group == 0) {
    // Whole chassis where one is not larger than the group.
    layout.switches_per_group = switches > nics ? switches - switches % nics : switches;
  }
  layout.rails = layout.switches_per_group % nics == 0 ? nics : 1;
  layout.nodes_per_leaf =
      fabric.nodes_per_leaf > 0 ? fabric.nodes_per_leaf : ports / (layout.rails > 1 ? 1 : nics);
  layout.spines_per_group = !layout.plus                  ? 0
                            : fabric.spines_per_group > 0 ? fabric.spines_per_group
                                                          : switches;
}

/// Of a dragonfly+ whose leaves have `uplinks` for what their nodes send: as many spines, or more where only
/// these have the ports for `global_links` to each other group; at most as many as leaves of full size have.
int fewest_spines(const ClusterSpec& cluster, const DragonflyLayout& layout, int uplinks, int global_links) {
  const std::int64_t global = (std::int64_t{layout.groups} - 1) * global_links;
  int spines = std::min(layout.spines_per_group, uplinks);
  const auto ports = [&] {
    return divide_up(std::int64_t{layout.switches_per_group} * std::max(uplinks, spines),
                     std::int64_t{spines}) +
           divide_up(global, std::int64_t{spines});
  };
  while (spines < layout.spines_per_group && ports() > cluster.fabric.radix_of(1)) ++spines;
  return spines;
}

}  // namespace

DragonflyLayout dragonfly_layout(const ClusterSpec& cluster, std::string& problem) {
  problem.clear();
  const FabricSpec& fabric = cluster.fabric;
  const int nics = cluster.nics_per_node();
  DragonflyLayout layout;
  layout.plus = fabric.kind == FabricKind::dragonfly_plus;
  const auto refuse = [&](const std::string& why) {
    problem = why;
    return DragonflyLayout{};
  };
  if (nics == 0) return refuse("nodes without NICs cannot be joined: a dragonfly needs nics");
  choose_sizes(cluster, layout);
  if (layout.nodes_per_leaf < 1 || layout.switches_per_group < 1) {
    return refuse("a switch of " + std::to_string(fabric.radix_of(0)) + " ports has too few for the " +
                  std::to_string(nics) + " NICs of a node");
  }
  layout.nodes_per_group = std::max(1, layout.switches_per_group / layout.rails * layout.nodes_per_leaf);
  layout.groups = fabric.groups > 0 ? fabric.groups : divide_up(cluster.nodes, layout.nodes_per_group);
  if (cluster.nodes > std::int64_t{layout.groups} * layout.nodes_per_group) {
    return refuse(std::to_string(layout.groups) + " groups of " + std::to_string(layout.nodes_per_group) +
                  " nodes cannot take " + std::to_string(cluster.nodes) + " nodes");
  }
  const int ports = layout.nodes_per_leaf * (layout.rails > 1 ? 1 : nics);
  const BytesPerSecond port = min(cluster.node.nics.bandwidth, fabric.link_bandwidth);
  const BytesPerSecond of_group = port * nics * layout.nodes_per_group;
  // Cables to each other group.
  const int wanted = fabric.global_links > 0 ? fabric.global_links
                     : layout.groups > 1
                         ? divide_up(cables_for(of_group, fabric.link_bandwidth).count, layout.groups - 1)
                         : 0;
  int beside = layout.switches_per_group - 1;
  int spine_down = 0;
  if (layout.plus) {
    const Cables up = cables_for(port * ports, fabric.link_bandwidth);
    // Every leaf is cabled to every spine of its group (Shpiner et al., Dragonfly+, HiPINEB 2017).
    if (fabric.spines_per_group == 0)
      layout.spines_per_group = fewest_spines(cluster, layout, up.count, wanted);
    const bool reaches_all = up.count >= layout.spines_per_group;
    layout.uplinks = reaches_all ? up.count : layout.spines_per_group;
    layout.uplink_bandwidth = reaches_all ? up.rate : fabric.link_bandwidth;
    beside = layout.uplinks;
    const std::int64_t cables = std::int64_t{layout.switches_per_group} * layout.uplinks;
    spine_down = static_cast<int>(
        std::min<std::int64_t>(divide_up(cables, std::int64_t{layout.spines_per_group}), kMostCables));
  }
  const size_t tier = layout.plus ? 1 : 0;
  const int busy = layout.plus ? spine_down : ports + beside;  // ports of a switch with global cables
  if (layout.groups > 1) {
    const int pairs = layout.groups - 1;
    const int room = std::max(0, fabric.radix_of(tier) - busy) * layout.global_switches();  // below 2^24
    layout.global_links =
        fabric.global_links > 0 ? fabric.global_links : std::max(1, std::min(room / pairs, wanted));
    layout.global_oversubscription = std::max(
        1.0, of_group / (fabric.link_bandwidth * (static_cast<double>(layout.global_links) * pairs)));
  }
  const std::int64_t global_cables = (std::int64_t{layout.groups} - 1) * layout.global_links;  // of a group
  const std::int64_t global_ports =
      divide_up(global_cables, std::int64_t{std::max(1, layout.global_switches())});
  const std::string first = layout.plus ? "group0/leaf0" : "group0/switch0";
  problem = port_problem(first, ports, beside + (layout.plus ? 0 : global_ports), fabric.radix_of(0));
  if (problem.empty() && layout.plus) {
    problem = port_problem("group0/spine0", spine_down, global_ports, fabric.radix_of(1));
  }
  if (!problem.empty()) return layout;
  // What the ports allow may still be more than anybody wants to wait for.
  const std::int64_t inside = layout.plus ? std::int64_t{layout.switches_per_group} * layout.uplinks
                                          : std::int64_t{layout.switches_per_group} * beside / 2;
  const std::int64_t cables = layout.groups * inside + layout.groups * global_cables / 2;
  if (cables > kMostSwitchCables) {
    problem = std::to_string(layout.groups) + " groups of " + std::to_string(layout.switches_per_group) +
              " switches take " + std::to_string(cables) + " cables between switches; at most " +
              std::to_string(kMostSwitchCables) + " are built";
  }
  return layout;
}

std::vector<int> torus_dimensions(const ClusterSpec& cluster, std::string& problem) {
  problem.clear();
  const int nodes = cluster.nodes;
  if (cluster.nics_per_node() == 0 && nodes > 1) {
    problem = "nodes without NICs cannot be joined: a torus needs nics";
    return {};
  }
  std::vector<int> dimensions = cluster.fabric.dimensions;
  if (dimensions.empty()) {
    // The three factors with the smallest largest one.
    dimensions = {1, 1, nodes};
    for (int x = 1; x <= nodes / x / x; ++x) {
      for (int y = x; nodes % x == 0 && y <= nodes / x / y; ++y) {
        const int z = nodes / x / y;
        if (nodes / x % y == 0 && z <= dimensions[2]) dimensions = {x, y, z};
      }
    }
    return dimensions;
  }
  std::int64_t product = 1;
  std::string text;
  for (const int size : dimensions) {
    product *= size;
    text += (text.empty() ? "" : " x ") + std::to_string(size);
  }
  if (product != nodes) {
    problem = "\"dimensions\" " + text + " is a torus of " + std::to_string(product) +
              " nodes, the cluster has " + std::to_string(nodes);
  }
  return dimensions;
}

}  // namespace orrery
