// Laws that hold for any legal fabric, on 200 random small ones: it builds, every GPU reaches every other,
// the cut between its halves carries no more than the NICs of one, no switch has more cables than ports, and
// the closed form's shape covers the longest path. And with one thing broken: it is rerouted or refused.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

#include "sim/network/cuts.hpp"
#include "tests/properties/dice.hpp"
#include "topologies/build_topology.hpp"
#include "topologies/cluster.hpp"

namespace orrery {
namespace {

Json random_node(Dice& dice) {
  const int gpus = dice.one_of(std::array{1, 2, 4, 8});
  const int nics = dice.one_of(std::array{1, 2, 4, 8});
  Json node = {{"gpu", "h100-sxm-80gb"}, {"gpus", gpus}};
  if (gpus > 1) {
    node["scale_up"] = {{"kind", dice.one_of(std::array{"nvswitch", "nvlink_mesh", "pcie"})}};
  }
  node["nics"] = {{"count", nics},
                  {"bandwidth", dice.one_of(std::array{"100 Gb/s", "200 Gb/s", "400 Gb/s"})},
                  {"protocol", dice.one_of(std::array{"infiniband", "roce", "ethernet", "slingshot", "efa",
                                                      "omni_path"})}};
  return node;
}

Json random_fabric(Dice& dice, int nodes) {
  Json fabric = {{"kind", dice.one_of(std::array{"single_switch", "leaf_spine", "rail_optimized", "fat_tree",
                                                 "dragonfly", "dragonfly+", "torus"})},
                 {"routing", dice.one_of(std::array{"ecmp", "adaptive", "static"})}};
  const std::string kind = fabric["kind"];
  if (kind != "single_switch" && kind != "torus")
    fabric["switch_radix"] = dice.one_of(std::array{8, 16, 32, 64});
  const bool tree = kind == "leaf_spine" || kind == "rail_optimized" || kind == "fat_tree";
  if (tree && dice.pick(0, 1) == 1) fabric["oversubscription"] = {dice.pick(1, 4)};
  if (tree && dice.pick(0, 3) == 0) fabric["nodes_per_leaf"] = dice.pick(1, 4);
  if (kind == "torus" && nodes % 2 == 0 && dice.pick(0, 1) == 1) fabric["dimensions"] = {2, nodes / 2};
  return fabric;
}

std::optional<Cluster> read(const Json& document, std::string* refusal = nullptr) {
  Problems problems("random");
  Cluster cluster = cluster_from_json(SpecReader(document, "", problems));
  if (problems.empty()) return cluster;
  if (refusal != nullptr) *refusal = problems.list().front().line();
  return std::nullopt;
}

void expect_ports_within_radix(const Cluster& cluster, const Topology& topology) {
  std::map<VertexId, int> ports;
  for (const Link& link : topology.links()) {
    if (is_network_switch(topology.vertices()[static_cast<size_t>(link.from)].kind)) ++ports[link.from];
  }
  for (const auto& [vertex, count] : ports) {
    const Vertex& v = topology.vertices()[static_cast<size_t>(vertex)];
    const auto tier = static_cast<size_t>(v.kind) - static_cast<size_t>(VertexKind::leaf);
    const int radix = cluster.spec.fabric.radix_of(tier);
    if (radix > 0) {
      EXPECT_LE(count, radix) << v.id;
    }
  }
}

void expect_bounded_cut(const Cluster& cluster, const Topology& topology) {
  const double nics = cluster.spec.node.nics.bandwidth.base() * cluster.spec.node.nics.count;
  // An odd number of nodes is cut beside the middle one. Capacities are whole bytes a second, so that the
  // flow may be below by one a cable, never above.
  const int nodes_of_smaller = cluster.spec.nodes / 2;
  EXPECT_EQ(bisection_split(topology), nodes_of_smaller * cluster.spec.node.gpus);
  EXPECT_LE(bisection_bandwidth(topology).base(), nics * nodes_of_smaller + 1);
}

/// @returns the longest latency between GPUs of different nodes
double expect_routes(const Cluster& cluster, const Topology& topology) {
  double longest = 0.0;
  for (int from = 0; from < topology.gpu_count(); ++from) {
    for (int to = 0; to < topology.gpu_count(); ++to) {
      const std::vector<LinkId> route = topology.route(from, to);  // throws if there is none
      if (topology.node_of_gpu(from) == topology.node_of_gpu(to)) continue;
      longest = std::max(longest, route_latency(topology, route).base());
      VertexId at = topology.gpu(from);
      for (const LinkId l : route) {
        EXPECT_EQ(topology.links()[static_cast<size_t>(l)].from, at);
        at = topology.links()[static_cast<size_t>(l)].to;
      }
      EXPECT_EQ(at, topology.gpu(to));
    }
  }
  EXPECT_EQ(topology.gpu_count(), cluster.shape.gpus);
  return longest;
}

TEST(RandomFabrics, KeepTheLaws) {
  int built = 0;
  int refused = 0;
  for (unsigned seed = 0; built < 200; ++seed) {
    ASSERT_LT(seed, 1000u) << "too many refusals";
    Dice dice(seed);
    const int nodes = dice.pick(2, 24);
    const Json document = {
        {"node", random_node(dice)}, {"nodes", nodes}, {"fabric", random_fabric(dice, nodes)}};
    SCOPED_TRACE("seed " + std::to_string(seed) + " " + document.dump());
    std::string refusal;
    const std::optional<Cluster> cluster = read(document, &refusal);
    if (!cluster) {
      EXPECT_FALSE(refusal.empty());
      EXPECT_EQ(refusal.find('\n'), std::string::npos);
      ++refused;
      continue;
    }
    ++built;
    const Topology topology = build_topology(cluster->spec);
    const double longest = expect_routes(*cluster, topology);
    // PXN swaps two switch hops for an NVLink hop, which the shape leaves out.
    const double nvlink = topology.pxn() ? cluster->shape.scale_up_latency.base() : 0.0;
    EXPECT_LE(longest, cluster->shape.network_latency_far.base() + nvlink + 1e-15);
    expect_bounded_cut(*cluster, topology);
    expect_ports_within_radix(*cluster, topology);
    if (HasFailure()) return;
  }
  EXPECT_GT(refused, 0);  // small switches refuse some of them, with a line each
}

TEST(RandomFabrics, OneBrokenCableIsRoutedRoundOrRefused) {
  int rerouted = 0;
  int refused = 0;
  for (unsigned seed = 1000; rerouted < 60; ++seed) {
    ASSERT_LT(seed, 2000u);
    Dice dice(seed);
    const int nodes = dice.pick(2, 12);
    Json document = {{"node", random_node(dice)}, {"nodes", nodes}, {"fabric", random_fabric(dice, nodes)}};
    const std::optional<Cluster> whole = read(document);
    if (!whole) continue;
    const Topology healthy = build_topology(whole->spec);
    std::vector<const Link*> cables;
    for (const Link& link : healthy.links()) {
      if (is_network_switch(healthy.vertices()[static_cast<size_t>(link.to)].kind)) cables.push_back(&link);
    }
    const Link& victim = *cables[static_cast<size_t>(dice.pick(0, static_cast<int>(cables.size()) - 1))];
    const auto id = [&](VertexId v) { return healthy.vertices()[static_cast<size_t>(v)].id; };
    document["fabric"]["failed_links"] = Json::array({Json::array({id(victim.from), id(victim.to)})});
    SCOPED_TRACE("seed " + std::to_string(seed) + " " + document.dump());
    std::string refusal;
    const std::optional<Cluster> broken = read(document, &refusal);
    if (!broken) {
      EXPECT_NE(refusal.find("no path between"), std::string::npos) << refusal;
      ++refused;
      continue;
    }
    ++rerouted;
    const Topology topology = build_topology(broken->spec);
    for (int from = 0; from < topology.gpu_count(); ++from) {
      for (int to = 0; to < topology.gpu_count(); ++to) {
        for (const LinkId l : topology.route(from, to)) EXPECT_TRUE(topology.usable(l));
      }
    }
    // What is broken never adds capacity, in the graph or in the closed form.
    EXPECT_LE(bisection_bandwidth(topology), bisection_bandwidth(healthy));
    EXPECT_LE(broken->shape.nic_bandwidth, whole->shape.nic_bandwidth);
    // Fewer NICs ask less of the same cables: what each of them gets through is what must not grow.
    EXPECT_LE(broken->shape.nic_bandwidth.base() / broken->shape.oversubscription,
              whole->shape.nic_bandwidth.base() / whole->shape.oversubscription * (1 + 1e-9));
    if (HasFailure()) return;
  }
  EXPECT_GT(refused, 0);
}

/// Time in which every GPU sends a byte to the one so many further on: that of the fullest cable.
double shift_time(const Topology& topology, int by) {
  std::vector<double> load(topology.links().size(), 0.0);
  for (int gpu = 0; gpu < topology.gpu_count(); ++gpu) {
    const int next = (gpu + by) % topology.gpu_count();
    for (const RouteLink& each : topology.spread(topology.gpu(gpu), topology.gpu(next)))
      load[static_cast<size_t>(each.link)] += each.share;
  }
  double longest = 0.0;
  for (size_t l = 0; l < load.size(); ++l)
    longest = std::max(longest, load[l] / topology.links()[l].bandwidth.base());
  return longest;
}

TEST(AdaptiveRouting, LosesWhatTheCablesOfTheCutLoseAndNoMore) {
  // 8 nodes of 8 NICs, a leaf each with 8 uplinks: two cables to each of 4 spines, or 16 nodes, two a leaf,
  // four cables to each of 4. All GPUs send to the next leaf: with k of n cables left it takes n/k.
  struct Case {
    int nodes, nodes_a_leaf, radix, uplinks;
  };
  for (const Case& each : {Case{8, 1, 16, 8}, Case{16, 2, 32, 16}}) {
    Json failed = Json::array();
    double before = 0.0;
    for (int lost = 0; lost <= each.uplinks / 2; ++lost) {
      const std::optional<Cluster> cluster = read({{"preset", "dgx-h100"},
                                                   {"nodes", each.nodes},
                                                   {"fabric",
                                                    {{"kind", "leaf_spine"},
                                                     {"routing", "adaptive"},
                                                     {"switch_radix", each.radix},
                                                     {"nodes_per_leaf", each.nodes_a_leaf},
                                                     {"failed_links", failed}}}});
      ASSERT_TRUE(cluster.has_value());
      const Topology topology = build_topology(cluster->spec);
      const int leaving = 8 * each.nodes_a_leaf;
      const double expected = leaving / ((each.uplinks - lost) * 50e9);
      const double time = shift_time(topology, leaving);
      EXPECT_LE(time, 1.05 * expected) << lost;
      EXPECT_GE(time, expected * (1 - 1e-12)) << lost;
      EXPECT_GE(time, before * (1 - 1e-12)) << lost;
      before = time;
      const int per_spine = each.uplinks / 4;
      failed.push_back({"leaf0", "spine" + std::to_string(lost / per_spine)});
    }
  }
}

}  // namespace
}  // namespace orrery
