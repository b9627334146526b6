#include "topologies/fabric_checks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "topologies/build_topology.hpp"
#include "topologies/cluster_shape.hpp"
#include "topologies/fabric_layout.hpp"
#include "topologies/what_if.hpp"

namespace orrery {
namespace {

std::string percent(double share) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g %%", 100.0 * share);
  return text.data();
}

/// The members of a tier with their rates: who has least, who most, and whether these differ.
class Spread {
 public:
  void add(const std::string& id, double rate) {
    if (members_ == 0 || rate < least_) std::tie(least_, least_id_) = std::pair(rate, id);
    if (members_ == 0 || rate > most_) std::tie(most_, most_id_) = std::pair(rate, id);
    ++members_;
  }
  bool uneven() const {
    constexpr double kRounding = 1e-9;
    return members_ > 1 && least_ < most_ * (1.0 - kRounding);
  }
  double least() const { return least_; }
  double most() const { return most_; }
  const std::string& least_id() const { return least_id_; }
  const std::string& most_id() const { return most_id_; }

 private:
  double least_ = 0.0;
  double most_ = 0.0;
  std::string least_id_, most_id_;
  int members_ = 0;
};

/// Keys that say nothing about this fabric: what is given and changes nothing is a mistake of the reader's or
/// of the writer's. Those of a preset are passed over.
void refuse_idle_keys(const ClusterSpec& cluster, const std::string& pointer, Problems& problems) {
  const FabricSpec& fabric = cluster.fabric;
  const auto refuse = [&](bool idle, const std::string& key, const std::string& found,
                          const std::string& why) {
    std::string path = "fabric." + key;
    if (!idle || cluster.origins.of(path) != "given") return;
    std::replace(path.begin(), path.end(), '.', '/');
    problems.add(pointer + '/' + path, found, "nothing, because " + why);
  };
  const bool is_graph = fabric.kind == FabricKind::graph;
  refuse(is_graph, "switch_radix", "a number of ports",
         "the switches of a graph have the edges that it lists");
  refuse(is_graph && !cluster.storage, "switch_latency", exact_text(fabric.switch_latency),
         "the latency of a graph's edges is all of it, switches included");
  refuse(fabric.kind == FabricKind::torus, "switch_radix", "a number of ports",
         "the routers of a torus have the ports that its dimensions need");
  refuse(cluster.nodes == 1 && !fabric.oversubscription.empty(), "oversubscription", "a ratio",
         "a single node has no fabric");
  refuse(fabric.routing != Routing::adaptive, "transport.spray_efficiency",
         Json(fabric.spray_efficiency).dump(),
         "only adaptive routing sprays, this fabric's is " + std::string(name_of(fabric.routing)));
}

/// Other kinds have no tiers and no ratios between them.
void refuse_keys_of_trees(const FabricSpec& fabric, const std::string& place, Problems& problems) {
  if (fabric.is_clos()) return;
  for (const auto& [key, given] : {std::pair("oversubscription", !fabric.oversubscription.empty()),
                                   std::pair("tiers", fabric.tiers > 0)}) {
    if (!given) continue;
    problems.add_message(place, '"' + std::string(key) + "\" belongs to trees of switches; a " +
                                    std::string(name_of(fabric.kind)) + " follows from its own sizes");
  }
}

/// Keys of a fabric that may be refused and leave its kind and routing known; any other one may be a
/// misspelt one of these two.
constexpr std::array<std::string_view, 14> kOtherKeys = {
    "nodes_per_leaf",     "nodes_per_pod",    "planes",     "groups",
    "switches_per_group", "global_links",     "dimensions", "domain_nodes",
    "transport",          "spines_per_group", "pxn",        "link_latency",
    "link_bandwidth",     "switch_latency"};

/// Whether size and kind of the fabric were accepted, so that nothing said of them rests on a stand-in.
bool kind_is_known(const std::string& cluster_pointer, const Problems& problems) {
  const auto of_itself = [&](const InputProblem& problem) {
    return problem.file == problems.file() && problem.pointer == cluster_pointer;
  };
  if (std::any_of(problems.list().begin(), problems.list().end(), of_itself)) return false;
  const std::set<std::string> of_cluster = problems.refused_below(cluster_pointer);
  const std::set<std::string> of_fabric = problems.refused_below(cluster_pointer + "/fabric");
  const auto other = [](const std::string& key) {
    return std::find(kOtherKeys.begin(), kOtherKeys.end(), key) != kOtherKeys.end();
  };
  return std::all_of(of_cluster.begin(), of_cluster.end(),
                     [](const std::string& key) { return key == "fabric" || key == "storage"; }) &&
         std::all_of(of_fabric.begin(), of_fabric.end(), other);
}

}  // namespace

void check_fabric(const ClusterSpec& cluster, const std::string& cluster_pointer, Problems& problems) {
  const std::string fabric = cluster_pointer + "/fabric";
  if (!kind_is_known(cluster_pointer, problems)) return;
  const bool accepted = problems.refused_below(cluster_pointer).empty();
  const bool dimensions = !problems.refused_below(fabric).contains("dimensions");
  refuse_idle_keys(cluster, cluster_pointer, problems);
  refuse_keys_of_trees(cluster.fabric, fabric, problems);
  // Of a torus the dimensions are all; a tree's or dragonfly's sizes go together.
  const bool laid_out = cluster.fabric.kind == FabricKind::torus ? dimensions : accepted;
  const std::string problem = laid_out ? layout_problem(cluster) : std::string();
  if (!problem.empty()) problems.add_message(fabric, problem);
  if (!accepted || !problem.empty()) return;
  if (const std::string unfit = storage_problem(cluster); !unfit.empty()) {
    problems.add_message(cluster_pointer + "/storage", unfit);
    return;
  }
  if (!cluster.fabric.what_if.any() && cluster.fabric.kind != FabricKind::graph) return;
  Topology topology = build_healthy_topology(cluster);
  const std::vector<WhatIfProblem> misfits = apply_what_if(cluster.fabric.what_if, topology);
  for (const WhatIfProblem& misfit : misfits) {
    problems.add(fabric + misfit.place, misfit.found, misfit.expected);
  }
  if (!misfits.empty()) return;
  if (const std::string lost = unreachable_pairs(topology); !lost.empty()) {
    problems.add_message(fabric, lost);
  }
}

std::vector<std::string> fabric_warnings(const ClusterSpec& cluster) {
  const Topology topology = build_topology(cluster);
  const size_t vertices = topology.vertices().size();
  std::vector<double> up(vertices, 0.0), down(vertices, 0.0);
  std::vector<double> of_node(static_cast<size_t>(cluster.nodes), 0.0);
  for (size_t l = 0; l < topology.links().size(); ++l) {
    if (!topology.usable(static_cast<LinkId>(l))) continue;
    const Link& link = topology.links()[l];
    const Vertex& from = topology.vertices()[static_cast<size_t>(link.from)];
    const Vertex& to = topology.vertices()[static_cast<size_t>(link.to)];
    const double rate = link.bandwidth.base();
    if (is_network_switch(from.kind) && is_network_switch(to.kind) && from.kind <= to.kind)
      up[static_cast<size_t>(link.from)] += rate;
    const bool port = from.kind == VertexKind::nic || from.kind == VertexKind::gpu;
    if (!port || !is_network_switch(to.kind) || from.node < 0) continue;
    of_node[static_cast<size_t>(from.node)] += rate;
    down[static_cast<size_t>(link.to)] += rate;
  }
  std::vector<std::string> warnings;
  Spread nodes;
  for (size_t node = 0; node < of_node.size(); ++node)
    nodes.add("node" + std::to_string(node), of_node[node]);
  if (nodes.uneven()) {
    warnings.push_back(nodes.least_id() + " reaches the fabric with " +
                       percent(nodes.least() / nodes.most()) + " of the rate of " + nodes.most_id());
  }
  Spread leaves, spines;
  for (size_t v = 0; v < vertices; ++v) {
    const Vertex& vertex = topology.vertices()[v];
    if (topology.failed(static_cast<VertexId>(v)) || up[v] <= 0.0) continue;
    // A half-full leaf needs half of the uplinks: what counts is up over down.
    if (vertex.kind == VertexKind::leaf && down[v] > 0.0)
      leaves.add(vertex.id, std::min(1.0, up[v] / down[v]));
    if (vertex.kind == VertexKind::spine) spines.add(vertex.id, up[v]);
  }
  if (leaves.uneven()) {
    warnings.push_back("uneven cut: " + leaves.least_id() + " has uplinks for " + percent(leaves.least()) +
                       " of its ports below, " + leaves.most_id() + " for " + percent(leaves.most()));
  }
  if (spines.uneven()) {
    warnings.push_back("uneven cut: " + spines.least_id() + " has " +
                       percent(spines.least() / spines.most()) + " of the uplink rate of " +
                       spines.most_id());
  }
  return warnings;
}

std::vector<std::string> estimate_limits(const ClusterSpec& cluster) {
  const FabricSpec& fabric = cluster.fabric;
  std::vector<std::string> limits;
  if (fabric.what_if.any()) {
    limits.emplace_back(
        "the estimate takes the worst node and the worst switch of each tier for all of them; which traffic "
        "crosses what is broken only the simulation sees");
  }
  if (cluster.nodes == 1) return limits;
  std::string problem;
  const bool many_paths = !fabric.is_clos() || fabric_layout(cluster, problem).tiers > 1;
  if (fabric.routing == Routing::ecmp && many_paths) {
    limits.emplace_back("the estimate knows no hash collisions of ECMP");
  } else if (fabric.routing == Routing::fixed && many_paths &&
             (fabric.is_clos() || fabric.kind == FabricKind::dragonfly_plus)) {
    limits.emplace_back("the estimate knows nothing of static paths that meet on one cable");
  }
  if (fabric.is_dragonfly()) {
    limits.push_back(
        std::string(
            "the estimate gives traffic between two groups, or two switches of one, the cables between "
            "these") +
        (fabric.routing == Routing::adaptive ? " and detours over the others (UGAL)" : " (minimal paths)") +
        ", and takes all siblings to go the same way");
  } else if (fabric.kind == FabricKind::torus) {
    limits.emplace_back(
        "the estimate counts the groups of one kind that meet on a cable between routers where their nodes "
        "lie at a constant stride, and takes exchanges to be among consecutive nodes");
  } else if (fabric.kind == FabricKind::graph) {
    limits.emplace_back(
        "the estimate takes the longest path and the cut between the halves for all traffic of the graph");
  }
  return limits;
}

}  // namespace orrery
