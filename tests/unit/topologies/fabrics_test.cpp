#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "cluster_reading.hpp"
#include "sim/network/cuts.hpp"
#include "sim/network/fabric_tiers.hpp"
#include "topologies/build_topology.hpp"
#include "topologies/fabric_checks.hpp"
#include "topologies/topology_presets.hpp"

namespace orrery {
namespace {

using Kind = VertexKind;

Topology built(const std::string& cluster) { return build_topology(read_text(cluster).spec); }

int switches(const Topology& topology) {
  return topology.count(Kind::leaf) + topology.count(Kind::spine) + topology.count(Kind::core);
}

/// Cables between two kinds, one direction.
int cables_between(const Topology& topology, Kind from, Kind to) {
  const auto kind = [&](VertexId v) { return topology.vertices()[static_cast<size_t>(v)].kind; };
  return static_cast<int>(
      std::count_if(topology.links().begin(), topology.links().end(),
                    [&](const Link& link) { return kind(link.from) == from && kind(link.to) == to; }));
}

/// Switches that a route passes.
int hops(const Topology& topology, int from, int to) {
  int count = 0;
  for (const LinkId l : topology.route(from, to)) {
    const Kind kind =
        topology.vertices()[static_cast<size_t>(topology.links()[static_cast<size_t>(l)].to)].kind;
    count += kind == Kind::leaf || kind == Kind::spine || kind == Kind::core;
  }
  return count;
}

/// A node of one GPU behind one 400 Gb/s NIC.
std::string one_gpu(const std::string& nodes, const std::string& fabric) {
  return R"({"node": {"preset": "dgx-h100", "gpus": 1, "scale_up": {"kind": "none"}, "nics": {"count": 1}}, "nodes": )" +
         nodes + R"(, "fabric": )" + fabric + "}";
}

TEST(PublishedFabrics, SuperPodB300TwinPlane) {
  // SuperPOD B300 reference: 64 nodes 16 leaves, 8 spines; 1024 nodes 256 leaves, 128 spines.
  const Topology unit = built(R"("superpod-b300")");
  EXPECT_EQ(unit.count(Kind::leaf), 16);
  EXPECT_EQ(unit.count(Kind::spine), 8);
  const Topology sixteen = built(R"({"preset": "superpod-b300", "nodes": 1024})");
  EXPECT_EQ(sixteen.count(Kind::leaf), 256);
  EXPECT_EQ(sixteen.count(Kind::spine), 128);
  EXPECT_EQ(sixteen.count(Kind::core), 0);
}

TEST(PublishedFabrics, SuperPodH100AndB200) {
  for (const auto& [nodes, leaves, spines] :
       {std::tuple(31, 8, 4), std::tuple(63, 16, 8), std::tuple(95, 24, 16), std::tuple(127, 32, 16)}) {
    const Topology topology = built(R"({"preset": "superpod-h100", "nodes": )" + std::to_string(nodes) + "}");
    EXPECT_EQ(topology.count(Kind::leaf), leaves);
    EXPECT_EQ(topology.count(Kind::spine), spines);
  }
  const Topology b200 = built(R"("superpod-b200")");
  EXPECT_EQ(b200.count(Kind::leaf), 16);
  EXPECT_EQ(b200.count(Kind::spine), 8);
}

TEST(PublishedFabrics, PlanesNeverMeet) {
  const Topology topology = built(R"("superpod-b300")");
  // NIC 0 and 1 of a node are on planes 0 and 1: flows 0 and 1 of a GPU take them and share no switch.
  std::set<VertexId> planes[2];
  for (std::uint64_t flow = 0; flow < 64; ++flow) {
    for (const LinkId l : topology.route(0, 64 * 4 + 9, flow)) {
      const VertexId to = topology.links()[static_cast<size_t>(l)].to;
      if (topology.vertices()[static_cast<size_t>(to)].node < 0) planes[flow % 2].insert(to);
    }
  }
  EXPECT_FALSE(planes[0].empty());
  for (const VertexId v : planes[0]) EXPECT_FALSE(planes[1].contains(v));
}

TEST(PublishedFabrics, Hpn7Pod) {
  // 15 segments of 16 ToRs; 120 aggregation switches a pod, 60 a plane; a host meets 16 ToRs.
  const Cluster pod = read_text(R"("hpn-7")");
  const Topology topology = build_topology(pod.spec);
  EXPECT_EQ(topology.gpu_count(), 15360);
  EXPECT_EQ(topology.count(Kind::leaf), 15 * 16);
  EXPECT_EQ(topology.count(Kind::spine), 120);
  EXPECT_EQ(cables_between(topology, Kind::leaf, Kind::spine), 240 * 60);
  std::set<VertexId> tors;
  for (int gpu = 0; gpu < 8; ++gpu) {
    for (const VertexId nic : topology.nics_of_gpu(gpu)) {
      for (const LinkId l : topology.links_from(nic)) {
        const VertexId to = topology.links()[static_cast<size_t>(l)].to;
        if (topology.vertices()[static_cast<size_t>(to)].kind == Kind::leaf) tors.insert(to);
      }
    }
  }
  EXPECT_EQ(tors.size(), 16u);
  EXPECT_EQ(hops(topology, 0, 127 * 8), 1);  // within a segment
  EXPECT_EQ(hops(topology, 0, 128 * 8), 3);
  // Two pods meet at cores, 15:1 below them: 8 uplinks of each of the 240 aggregation switches.
  const Topology two = built(R"({"preset": "hpn-7", "nodes": 3840})");
  EXPECT_EQ(two.count(Kind::spine), 240);
  EXPECT_EQ(cables_between(two, Kind::spine, Kind::core), 240 * 8);
}

TEST(PublishedFabrics, MetaRoce24k) {
  const Cluster cluster = read_text(R"("meta-24k-roce")");
  EXPECT_EQ(cluster.shape.gpus, 24576);
  EXPECT_EQ(cluster.shape.nodes_per_pod * 8, 3072);
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 7.0);
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription_leaf, 1.0);
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(topology.count(Kind::leaf), 8 * 192);  // a switch a rack
  EXPECT_EQ(hops(topology, 0, 8), 1);              // the rack's other server
  EXPECT_EQ(hops(topology, 0, 3071), 3);
  EXPECT_EQ(hops(topology, 0, 3072), 5);
  // A pod leaves with a seventh of its 3072 x 50 GB/s.
  double up = 0.0;
  for (const Link& link : topology.links()) {
    if (topology.vertices()[static_cast<size_t>(link.to)].kind == Kind::core) up += link.bandwidth.base();
  }
  EXPECT_NEAR(up / 8, 3072 * 50e9 / 7, 1e3);  // rates are made exact; the rest is round-off of 3,500 cables
}

TEST(PublishedFabrics, Frontier) {
  const Cluster cluster = read_text(R"("frontier")");
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(switches(topology), 74 * 32);
  EXPECT_EQ(topology.count(Kind::nic), 74 * 32 * 16);
  // Both directions: 32 x 31 / 2 cables in each group, 4 between each pair of groups.
  EXPECT_EQ(cables_between(topology, Kind::leaf, Kind::leaf), 74 * 32 * 31 + 74 * 73 * 4);
  EXPECT_NEAR(cluster.shape.oversubscription, 1.753, 0.001);  // published: 102.4 in, 58.4 Tb/s out
  // 512 NICs against the 4 cables to one other group: 128, with detours over the 74 groups.
  const Cluster minimal = read_text(R"({"preset": "frontier", "fabric": {"routing": "static"}})");
  EXPECT_DOUBLE_EQ(minimal.shape.pair_oversubscription, 128.0);
  EXPECT_DOUBLE_EQ(cluster.shape.pair_oversubscription, 128.0);
  EXPECT_EQ(minimal.shape.detour_groups, 0);
  EXPECT_EQ(cluster.shape.detour_groups, 74);
  // The same on the graph: global cables against injection, local ones left out, in every group alike.
  const FabricTiers tiers = count_tiers(topology, dragonfly_groups(cluster.spec, topology));
  EXPECT_NEAR(tiers.oversubscription().front(), 1.753, 0.001);
  EXPECT_NEAR(tiers.tiers.front().worst_oversubscription, 1.753, 0.001);
  // At most three switch-to-switch hops (Slingshot): four switches.
  int most = 0;
  for (int node = 1; node < 9472; node += 97) most = std::max(most, hops(topology, 0, node * 8));
  EXPECT_EQ(most, 4);
  EXPECT_EQ(hops(topology, 0, 15 * 8), 1);  // NIC i of a chassis is on its i-th switch
}

TEST(PublishedFabrics, TpuV4) {
  const Topology topology = built(R"("tpu-v4")");
  EXPECT_EQ(topology.gpu_count(), 4096);
  EXPECT_EQ(cables_between(topology, Kind::leaf, Kind::leaf), 4096 * 6);
  // 16 x 16 x 16, cut in two across the last ring: 256 rings, each cut twice.
  EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(256 * 2 * 50));
  EXPECT_EQ(read_text(R"({"preset": "tpu-v4", "nodes": 128})").shape.nodes_per_pod, 4);  // 4 x 4 x 8
}

TEST(FatTree, OfTwoAndThreeTiers) {
  // k = 4 (Al-Fares et al. 2008): 8 edge, 8 aggregation and 4 core switches for 16 hosts.
  const Topology three = built(one_gpu("16", R"({"kind": "fat_tree", "switch_radix": 4})"));
  EXPECT_EQ(three.count(Kind::leaf), 8);
  EXPECT_EQ(three.count(Kind::spine), 8);
  EXPECT_EQ(three.count(Kind::core), 4);
  EXPECT_EQ(bisection_bandwidth(three), gigabytes_per_second(8 * 50));
  // 8 hosts fit under two tiers (4 leaves, 2 spines); three on demand: two pods of two leaves.
  const std::string two = R"({"kind": "fat_tree", "switch_radix": 4})";
  EXPECT_EQ(built(one_gpu("8", two)).count(Kind::core), 0);
  const Topology demanded = built(one_gpu("8", R"({"kind": "fat_tree", "switch_radix": 4, "tiers": 3})"));
  EXPECT_EQ(demanded.count(Kind::leaf), 4);
  EXPECT_EQ(demanded.count(Kind::spine), 4);
  EXPECT_EQ(demanded.count(Kind::core), 2);
  EXPECT_EQ(bisection_bandwidth(demanded), gigabytes_per_second(4 * 50));
}

TEST(FatTree, OversubscriptionOfEachTierNarrowsItsCut) {
  for (const auto& [ratios, expected] : {std::pair("[2]", 4 * 50), std::pair("[2, 2]", 2 * 50)}) {
    const Topology topology = built(one_gpu(
        "16", std::string(R"({"kind": "fat_tree", "switch_radix": 4, "tiers": 3, "oversubscription": )") +
                  ratios + "}"));
    EXPECT_EQ(bisection_bandwidth(topology), gigabytes_per_second(expected));
  }
}

TEST(Dragonfly, CountsByHand) {
  // p = 2, a = 4, h = 2 (Kim et al. 2008, balanced): 4 switches x 2 NICs; 9 groups would use all 8 global
  // ports.
  const std::string fabric =
      R"({"kind": "dragonfly", "switch_radix": 7, "groups": 9, "switches_per_group": 4, "nodes_per_leaf": 2})";
  const Cluster cluster = read_text(one_gpu("72", fabric));
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(switches(topology), 36);
  EXPECT_EQ(cables_between(topology, Kind::leaf, Kind::leaf), 9 * 4 * 3 + 9 * 8 * 1);
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 1.0);
  EXPECT_EQ(
      refusals(one_gpu("72", R"({"kind": "dragonfly", "switch_radix": 6, "groups": 9,
                                       "switches_per_group": 4, "nodes_per_leaf": 2})")),
      (std::vector<std::string>{"experiment.json: /cluster/fabric: group0/switch0 needs 2 + 5 = 7 ports "
                                "(below and beside or above), its switch has 6"}));
}

TEST(Dragonfly, PlusLeavesItsGroupsFromTheSpines) {
  // Groups of 2 leaves x 4 NICs and 2 spines; each leaf 2 cables to each spine; 3 groups, 2 cables a pair.
  const std::string fabric =
      R"({"kind": "dragonfly+", "switch_radix": 8, "groups": 3, "switches_per_group": 2,
                                 "spines_per_group": 2, "nodes_per_leaf": 4, "global_links": 2})";
  const Cluster cluster = read_text(one_gpu("24", fabric));
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(topology.count(Kind::leaf), 6);
  EXPECT_EQ(topology.count(Kind::spine), 6);
  EXPECT_EQ(cables_between(topology, Kind::leaf, Kind::spine), 6 * 4);
  EXPECT_EQ(cables_between(topology, Kind::spine, Kind::spine), 3 * 2 * 2);
  EXPECT_EQ(hops(topology, 0, 3), 1);
  EXPECT_EQ(hops(topology, 0, 4), 3);
  EXPECT_EQ(hops(topology, 0, 23), 4);
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 8.0 / 4.0);  // 8 NICs, 2 x 2 global cables a group
}

TEST(DragonflyPlus, LeavesReachEverySpineHoweverFewNodesTheyHave) {
  // Leaves of two nodes' NICs have uplinks for two cables, of nodes with 100 Gb/s for two of 400: more spines
  // than that would leave leaves of one group without a common one.
  for (const char* fabric : {R"({"kind": "dragonfly+", "switch_radix": 16, "nodes_per_leaf": 2})",
                             R"({"kind": "dragonfly+", "switch_radix": 16, "nodes_per_leaf": 1})",
                             R"({"kind": "dragonfly+", "switch_radix": 16, "nodes_per_leaf": 2,
                                 "spines_per_group": 8})"}) {
    const Cluster cluster =
        read_text(R"({"preset": "dgx-h100", "nodes": 16, "fabric": )" + std::string(fabric) + "}");
    const Topology topology = build_topology(cluster.spec);
    // Leaf, spine, spine, leaf at most.
    // GPU 9 is on another rail of the next node; with none of its own the pair would have no path.
    for (const int other : {8, 9, 8 * 8, 8 * 15 + 7}) {
      EXPECT_GE(hops(topology, 0, other), 1) << fabric;
      EXPECT_LE(hops(topology, 0, other), 4) << fabric;
    }
  }
  const Cluster slow = read_text(R"({"preset": "dgx-h100", "nodes": 16, "fabric": {"kind": "dragonfly+",
      "switch_radix": 16, "link_bandwidth": "400 Gb/s"}, "node": {"preset": "dgx-h100", "nics": {"count": 8,
      "bandwidth": "100 Gb/s", "protocol": "infiniband"}}})");
  EXPECT_LE(hops(build_topology(slow.spec), 0, 8 * 15 + 7), 4);
}

TEST(Pods, WhoseLeavesDoNotReachEverySpineAreRefused) {
  // 32 leaves of one uplink, spines of 8 ports down: four spines, one a leaf.
  EXPECT_EQ(
      refusals(R"({"preset": "dgx-h100", "nodes": 9, "fabric": {"kind": "rail_optimized",
                "switch_radix": 16, "nodes_per_leaf": 1, "nodes_per_pod": 4}})"),
      (std::vector<std::string>{"experiment.json: /cluster/fabric: a pod of 4 nodes has 32 leaves, a spine 8 "
                                "ports for them: not every leaf reaches every spine"}));
  // One pod, so two tiers: 192 leaves of 16 uplinks under spines of 24 ports.
  EXPECT_EQ(
      refusals(R"({"preset": "meta-24k-roce", "nodes": 384,
                         "fabric": {"switch_radix": [64, 24, 576]}})"),
      (std::vector<std::string>{"experiment.json: /cluster/fabric: a pod of 384 nodes has 192 leaves, a "
                                "spine 24 ports for them: not every leaf reaches every spine"}));
  // The preset's 7:1 above the spines leaves 28 of 32 ports below them.
  EXPECT_EQ(refusals(R"({"preset": "meta-24k-roce",
                         "fabric": {"switch_radix": [64, 32, 576], "nodes_per_pod": 96}})"),
            (std::vector<std::string>{"experiment.json: /cluster/fabric: a pod of 96 nodes has 48 leaves, a "
                                      "spine 28 ports for them: not every leaf reaches every spine"}));
}

TEST(FatTree, OfFewerTiersKeepsThePresetsRatiosOfThese) {
  EXPECT_EQ(read_text(R"("meta-24k-roce")").spec.fabric.oversubscription, (std::vector<double>{1, 7}));
  const Cluster pod = read_text(R"({"preset": "meta-24k-roce", "nodes": 384})");
  EXPECT_EQ(pod.spec.fabric.oversubscription, std::vector<double>{1});
  const Cluster node = read_text(R"({"preset": "meta-24k-roce", "nodes": 1})");
  EXPECT_TRUE(node.spec.fabric.oversubscription.empty());
}

TEST(Torus, IsRingsInEachDimension) {
  const std::string fabric = R"({"kind": "torus", "dimensions": [4, 3, 2], "link_bandwidth": "100 Gb/s"})";
  const Cluster cluster = read_text(one_gpu("24", fabric));
  const Topology topology = build_topology(cluster.spec);
  // Both directions: rings of 4 and of 3 have a cable a router, pairs one for two.
  EXPECT_EQ(cables_between(topology, Kind::leaf, Kind::leaf), 2 * (24 + 24 + 12));
  EXPECT_EQ(hops(topology, 0, 1), 2);
  EXPECT_EQ(hops(topology, 0, 3), 2);               // once round the ring of 4
  EXPECT_EQ(hops(topology, 0, 2 + 4 * 1 + 12), 5);  // 2 + 1 + 1 steps
  EXPECT_EQ(cluster.shape.nic_bandwidth, gigabytes_per_second(50));
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 50 / 12.5);
  const Cluster thin =
      read_text(one_gpu("24", R"({"kind": "torus", "dimensions": [4, 3, 2], "link_bandwidth": "40 Gb/s"})"));
  // The NIC's rate is what a library sees and what reaches the router; a ring goes over one cable of 5 GB/s.
  EXPECT_EQ(thin.shape.nic_bandwidth, gigabytes_per_second(50));
  EXPECT_DOUBLE_EQ(thin.shape.oversubscription, 50 / 5.0);
  EXPECT_EQ(refusals(one_gpu("23", fabric)),
            (std::vector<std::string>{"experiment.json: /cluster/fabric: \"dimensions\" 4 x 3 x 2 is a torus "
                                      "of 24 nodes, the cluster has 23"}));
}

const char* const kTwoNodeGraph = R"({"node": {"gpu": "h100-sxm-80gb", "gpus": 2,
    "scale_up": {"kind": "nvlink_mesh", "bandwidth": "100 GB/s"}, "nics": {"count": 1, "bandwidth": "200 Gb/s"}},
  "nodes": 2, "fabric": {"kind": "graph", "vertices": [
    {"id": "a0", "kind": "gpu", "node": 0}, {"id": "a1", "kind": "gpu", "node": 0}, {"id": "an", "kind": "nic", "node": 0},
    {"id": "b0", "kind": "gpu", "node": 1}, {"id": "b1", "kind": "gpu", "node": 1}, {"id": "bn", "kind": "nic", "node": 1},
    {"id": "s", "kind": "switch"}, {"id": "disk", "kind": "storage"}],
  "edges": [
    {"from": "a0", "to": "a1", "bandwidth": "80 GB/s", "latency": "1 us"}, {"from": "b0", "to": "b1", "bandwidth": "80 GB/s", "latency": "1 us"},
    {"from": "a0", "to": "an", "bandwidth": "30 GB/s", "latency": "0.5 us"}, {"from": "a1", "to": "an", "bandwidth": "30 GB/s", "latency": "0.5 us"},
    {"from": "b0", "to": "bn", "bandwidth": "30 GB/s", "latency": "0.5 us"}, {"from": "b1", "to": "bn", "bandwidth": "30 GB/s", "latency": "0.5 us"},
    {"from": "an", "to": "s", "bandwidth": "20 GB/s", "latency": "2 us"}, {"from": "bn", "to": "s", "bandwidth": "20 GB/s", "latency": "2 us"},
    {"from": "disk", "to": "s", "bandwidth": "5 GB/s", "latency": "9 us"}]}})";

TEST(Graph, IsTakenAsItStands) {
  const Cluster cluster = read_text(kTwoNodeGraph);
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(topology.gpu_count(), 4);
  EXPECT_EQ(topology.count(Kind::leaf), 1);
  EXPECT_EQ(topology.links().size(), 18u);
  EXPECT_NEAR(route_latency(topology, topology.route(0, 3)).base(), 5e-6, 1e-15);
  EXPECT_EQ(cluster.shape.scale_up_bandwidth, gigabytes_per_second(80));
  EXPECT_EQ(cluster.shape.nic_bandwidth, gigabytes_per_second(20));
  EXPECT_EQ(cluster.shape.host_link, gigabytes_per_second(30));
  EXPECT_EQ(cluster.shape.nic_slot, gigabytes_per_second(60));  // two GPUs have a link each to the NIC
  EXPECT_NEAR(cluster.shape.network_latency_pod.base(), 5e-6, 1e-15);
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 1.0);
  EXPECT_EQ(topology.ramp(), microseconds(10));  // one round trip
  const VertexId disk = storage_endpoint(topology, 1);
  EXPECT_EQ(topology.vertices()[static_cast<size_t>(disk)].id, "disk");
  EXPECT_EQ(topology.route_between(disk, topology.gpu(3)).size(), 3u);
}

// In an exchange of N ranks half of what each sends crosses the middle: 4 x bisection / N a rank, where the
// middle is the narrowest place, as in a torus whose longest ring is even. The max-flow knows no closed form.
TEST(Torus, AnExchangeIsHeldUpByTheMiddle) {
  for (const char* sizes : {"[4, 4, 4]", "[4, 8]", "[2, 4, 6]", "[16]"}) {
    const Json dimensions = Json::parse(sizes);
    int nodes = 1;
    for (const Json& size : dimensions) nodes *= size.get<int>();
    const Cluster cluster =
        read_text(Json{{"preset", "tpu-v4"},
                       {"nodes", nodes},
                       {"fabric", {{"kind", "torus"}, {"dimensions", dimensions}, {"routing", "adaptive"}}}}
                      .dump());
    std::vector<int> all(static_cast<size_t>(nodes));
    std::iota(all.begin(), all.end(), 0);
    const GroupShape group = group_shape(cluster.shape, all);
    const double sent = (nodes - 1.0) / nodes;  // a rank keeps its own part
    const double middle = bisection_bandwidth(build_topology(cluster.spec)).base();
    EXPECT_NEAR(group.exchange_rate().base(), 4 * middle / nodes * sent * cluster.shape.payload_efficiency,
                1e-6 * middle)
        << sizes;
    // A ring of nodes has one link of 50 GB/s to the next.
    EXPECT_NEAR(group.scale_out_per_rank.base(), 50e9 * cluster.shape.payload_efficiency, 1);
  }
}

// Routed dimension by dimension, the pairs at opposite places of a ring of four all go the same way round: of
// four nodes' parts 1 + 2 hops in one direction, 1 in the other.
TEST(Torus, OneWayRoundIsFullerUnderStaticRouting) {
  std::vector<int> all(64);
  std::iota(all.begin(), all.end(), 0);
  const auto rate = [&](const char* routing) {
    const Json cluster = {{"preset", "tpu-v4"}, {"nodes", 64}, {"fabric", {{"routing", routing}}}};
    return group_shape(read_text(cluster.dump()).shape, all).exchange_rate();
  };
  EXPECT_NEAR(rate("adaptive") / rate("static"), 3.0 / 2.0, 1e-9);
}

/// Nodes of two GPUs (NVLink of 80 GB/s between them) and a NIC of 20 GB/s on a leaf of their own, whose one
/// cable to the spine carries 5.
Json tapered_graph(int nodes) {
  Json vertices = {{{"id", "spine"}, {"kind", "switch"}}};
  Json edges = Json::array();
  const auto join = [&](const std::string& a, const std::string& b, const char* rate) {
    edges.push_back({{"from", a}, {"to", b}, {"bandwidth", rate}, {"latency", "1 us"}});
  };
  for (int node = 0; node < nodes; ++node) {
    const std::string n = std::to_string(node);
    for (const auto& [id, kind] : {std::pair("a", "gpu"), std::pair("b", "gpu"), std::pair("nic", "nic")})
      vertices.push_back({{"id", id + n}, {"kind", kind}, {"node", node}});
    vertices.push_back({{"id", "leaf" + n}, {"kind", "switch"}});
    join("a" + n, "b" + n, "80 GB/s");
    join("a" + n, "nic" + n, "30 GB/s");
    join("b" + n, "nic" + n, "30 GB/s");
    join("nic" + n, "leaf" + n, "20 GB/s");
    join("leaf" + n, "spine", "5 GB/s");
  }
  return {{"node",
           {{"gpu", "h100-sxm-80gb"},
            {"gpus", 2},
            {"scale_up", {{"kind", "nvlink_mesh"}}},
            {"nics", {{"count", 1}, {"bandwidth", "20 GB/s"}}}}},
          {"nodes", nodes},
          {"fabric", {{"kind", "graph"}, {"vertices", vertices}, {"edges", edges}}}};
}

TEST(Graph, IsCutBetweenNodesWhateverTheirNumber) {
  // 20 GB/s a node over 5 GB/s up: 4 to 1, also where the middle runs through a node and its NVLink.
  for (const int nodes : {2, 3, 4, 5}) {
    const Cluster cluster = read_text(tapered_graph(nodes).dump());
    EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 4.0) << nodes;
    EXPECT_EQ(bisection_bandwidth(build_topology(cluster.spec)), gigabytes_per_second(5 * (nodes / 2)));
  }
}

TEST(Graph, StorageOnSpinesHasALeafAndOnCoresNone) {
  const auto join = [](Json& cluster, const std::string& a, const std::string& b) {
    cluster["fabric"]["edges"].push_back(
        {{"from", a}, {"to", b}, {"bandwidth", "5 GB/s"}, {"latency", "1 us"}});
  };
  const auto add = [](Json& cluster, const std::string& id, const std::string& kind) {
    cluster["fabric"]["vertices"].push_back({{"id", id}, {"kind", kind}});
  };
  Json on_spine = tapered_graph(2);
  add(on_spine, "beside", "switch");
  add(on_spine, "disk", "storage");
  join(on_spine, "disk", "beside");
  join(on_spine, "beside", "spine");
  const Topology two = built(on_spine.dump());
  EXPECT_EQ(two.count(Kind::leaf), 3);
  EXPECT_EQ(two.count(Kind::spine), 1);
  EXPECT_EQ(two.count(Kind::core), 0);

  // A second spine, which only the switch with the disk joins to the first.
  Json on_core = on_spine;
  for (Json& edge : on_core["fabric"]["edges"]) {
    if (edge["from"] == "leaf1") edge["to"] = "other";
  }
  add(on_core, "other", "switch");
  join(on_core, "beside", "other");
  const Topology three = built(on_core.dump());
  EXPECT_EQ(three.count(Kind::leaf), 2);
  EXPECT_EQ(three.count(Kind::spine), 2);
  EXPECT_EQ(three.count(Kind::core), 1);
}

TEST(Graph, OfOneWayStreetsIsCheckedAtAnySize) {
  // 300 nodes on a ring of one-way cables: all reach all. Without the last cable a node reaches those after
  // it alone, so that every pair lacks one direction: 300 x 299 / 2.
  constexpr int kNodes = 300;
  Json vertices = Json::array();
  Json edges = Json::array();
  for (int node = 0; node < kNodes; ++node) {
    const std::string n = std::to_string(node);
    vertices.push_back({{"id", "gpu" + n}, {"kind", "gpu"}, {"node", node}});
    vertices.push_back({{"id", "switch" + n}, {"kind", "switch"}});
    edges.push_back({{"from", "gpu" + n}, {"to", "switch" + n}});
    edges.push_back(
        {{"from", "switch" + n}, {"to", "switch" + std::to_string((node + 1) % kNodes)}, {"directed", true}});
  }
  Json cluster = {
      {"node", {{"gpu", "h100-sxm-80gb"}, {"gpus", 1}, {"nics", {{"count", 0}, {"bandwidth", "50 GB/s"}}}}},
      {"nodes", kNodes},
      {"fabric",
       {{"kind", "graph"}, {"link_bandwidth", "50 GB/s"}, {"vertices", vertices}, {"edges", edges}}}};
  EXPECT_TRUE(refusals(cluster.dump()).empty());
  // (Every node must have the same links: a switch outside nodes may lack one.)
  cluster["fabric"]["edges"].erase(2 * kNodes - 1);
  EXPECT_EQ(
      refusals(cluster.dump()),
      (std::vector<std::string>{"experiment.json: /cluster/fabric: no path between gpu0 and gpu1; 44850 "
                                "pairs of GPUs in all"}));
}

Json graph_json() { return parse_json(kTwoNodeGraph, "graph"); }
std::vector<std::string> refused(const Json& cluster) { return refusals(cluster.dump()); }
using Lines = std::vector<std::string>;

TEST(Graph, OfUnlikeNodesIsRefused) {
  Json missing = graph_json();
  missing["fabric"]["vertices"].erase(4);  // b1
  missing["fabric"]["edges"].erase(5);
  missing["fabric"]["edges"].erase(1);
  EXPECT_EQ(refused(missing),
            (Lines{"experiment.json: /cluster/fabric: node 1 has 1 GPUs among the vertices, a node of this "
                   "cluster has 2"}));
  Json slower = graph_json();
  slower["fabric"]["edges"][7]["bandwidth"] = "10 GB/s";
  EXPECT_EQ(refused(slower),
            (Lines{"experiment.json: /cluster/fabric: node 1 has other links than node 0 (kinds, bandwidths "
                   "and latencies compared); every node must be the same"}));
  Json unknown = graph_json();
  unknown["fabric"]["edges"][6]["to"] = "sw";
  EXPECT_EQ(refused(unknown),
            (Lines{"experiment.json: /cluster/fabric/edges/6/to: found \"sw\", expected \"s\" "
                   "or one of a0, a1, an, b0, b1, bn, disk"}));
  Json apart = graph_json();
  apart["fabric"]["edges"].erase(7);
  apart["fabric"]["edges"].erase(6);
  EXPECT_EQ(refused(apart),
            (Lines{"experiment.json: /cluster/fabric: no path between a0 and b0; 4 pairs of GPUs in all"}));
}

TEST(Graph, WithOneWayEdgesIsAskedForEveryPair) {
  Json one_way = graph_json();
  for (const size_t edge : {6u, 7u}) one_way["fabric"]["edges"][edge]["directed"] = true;
  EXPECT_EQ(refused(one_way),
            (Lines{"experiment.json: /cluster/fabric: no path between a0 and b0; 4 pairs of GPUs in all"}));
}

TEST(Pxn, IsOnForNvSwitchNodesOnRails) {
  const auto pxn = [](const std::string& cluster) { return read_text(cluster).spec.fabric.pxn; };
  EXPECT_TRUE(pxn(R"("dgx-h100")"));
  EXPECT_TRUE(pxn(R"("gb200-nvl72")"));
  EXPECT_FALSE(pxn(R"("dgx1-v100")"));
  EXPECT_FALSE(pxn(R"({"preset": "dgx-h100", "fabric": {"kind": "leaf_spine"}})"));
  EXPECT_FALSE(pxn(R"({"preset": "dgx-h100", "fabric": {"pxn": false}})"));
  // Across rails one switch and an NVLink hop instead of three switches.
  const Topology with = built(R"({"preset": "dgx-h100", "nodes": 2})");
  const Topology without = built(R"({"preset": "dgx-h100", "nodes": 2, "fabric": {"pxn": false}})");
  EXPECT_EQ(hops(with, 0, 9), 1);
  EXPECT_EQ(hops(without, 0, 9), 3);
}

TEST(Transport, SpraysWhereRoutingIsAdaptive) {
  const auto fabric = [](const std::string& cluster) { return read_text(cluster).spec.fabric; };
  EXPECT_DOUBLE_EQ(fabric(R"({"preset": "dgx-h100", "fabric": {"routing": "static"}})").spray_efficiency,
                   1.0);
  EXPECT_DOUBLE_EQ(fabric(R"("dgx-h100")").spray_efficiency, 0.95);
  EXPECT_DOUBLE_EQ(fabric(R"("alps")").spray_efficiency, 0.95);
  const Topology given = built(
      R"({"preset": "dgx-h100", "nodes": 2, "fabric": {"transport": {"ramp": "7 us", "spray_efficiency": 0.9}}})");
  EXPECT_EQ(given.ramp(), microseconds(7));
  EXPECT_DOUBLE_EQ(given.spray_efficiency(), 0.9);
  // One round trip of the longest path: 2 x 2.95 us (Latency.AddsUpByHand).
  EXPECT_NEAR(built(R"({"preset": "dgx-h100", "nodes": 64})").ramp().base(), 5.9e-6, 1e-12);
}

TEST(EstimateLimits, NameWhatOnlyTheSimulationSees) {
  const auto limits = [](const std::string& cluster) { return estimate_limits(read_text(cluster).spec); };
  EXPECT_TRUE(limits(R"("dgx-h100")").empty());
  EXPECT_EQ(limits(R"({"preset": "dgx-h100", "fabric": {"routing": "ecmp"}})").size(), 1u);
  EXPECT_TRUE(limits(R"({"preset": "dgx-h100", "nodes": 1, "fabric": {"routing": "ecmp"}})").empty());
  EXPECT_FALSE(limits(R"("tpu-v4")").empty());
  // Leaves of a dragonfly+ have several spines to choose from; a dragonfly has its pairs of switches alone.
  const std::string of_kind = R"({"node": "dgx-h100", "nodes": 64, "fabric": {"routing": "static", "kind": )";
  EXPECT_EQ(limits(of_kind + R"("dragonfly+"}})").size(), 2u);
  EXPECT_EQ(limits(of_kind + R"("dragonfly"}})").size(), 1u);
  EXPECT_TRUE(needs_simulation(
      read_text(R"({"preset": "dgx-h100", "fabric": {"failed_switches": ["spine0"]}})").spec));
}

/// The values of {"value", "origin"} pairs.
Json values_of(const Json& pairs) {
  if (pairs.contains("origin")) return pairs.at("value");
  Json values = Json::object();
  for (const auto& [key, member] : pairs.items()) values[key] = values_of(member);
  return values;
}

TEST(ResolvedCluster, ReadsBackAsItself) {
  std::vector<std::string> clusters = {kTwoNodeGraph};
  for (const std::string& name : topology_preset_names(TopologyPresetKind::cluster)) {
    clusters.push_back("\"" + name + "\"");
    clusters.push_back(R"({"preset": ")" + name + R"(", "nodes": 16})");
  }
  clusters.emplace_back(R"({"preset": "dgx-h100", "nodes": 24, "fabric": {"kind": "dragonfly+"}})");
  clusters.emplace_back(R"({"preset": "dgx-h100", "fabric": {"failed_switches": ["spine0"],
      "failed_links": [["leaf0", "spine1"]], "degraded": [{"link": ["leaf1", "spine1"], "bandwidth": "1 GB/s"}]}})");
  for (const std::string& cluster : clusters) {
    SCOPED_TRACE(cluster);
    const Json once = values_of(resolved_cluster_json(read_text(cluster).spec));
    EXPECT_EQ(values_of(resolved_cluster_json(read_text(once.dump()).spec)), once);
  }
}

/// Every preset as it ships: it builds, its first GPU reaches GPUs all over it, the graph is within the
/// shape.
class EveryPreset : public testing::TestWithParam<std::string> {};
TEST_P(EveryPreset, BuildsConnectedAndAgreesWithItsShape) {
  const Cluster cluster = read_text("\"" + GetParam() + "\"");
  const Topology topology = build_topology(cluster.spec);
  const ClusterShape& shape = cluster.shape;
  ASSERT_EQ(topology.gpu_count(), shape.gpus);
  EXPECT_EQ(topology.payload_efficiency(), shape.payload_efficiency);
  EXPECT_TRUE(fabric_warnings(cluster.spec).empty());
  double longest = 0.0;
  const int step = std::max(1, shape.gpus / 61 / shape.gpus_per_domain) * shape.gpus_per_domain;
  for (int to = shape.gpus_per_domain; to < shape.gpus; to += step) {
    const std::vector<LinkId> route = topology.route(0, to);
    const double latency = route_latency(topology, route).base();
    longest = std::max(longest, latency);
    EXPECT_LE(latency, group_shape(shape, std::vector<int>{0, to}).network_latency.base() + 1e-15);
    // A torus spreads what a rank sends over the six ring links of its router, a route takes one.
    const double links = cluster.spec.fabric.kind == FabricKind::torus ? 6.0 : 1.0;
    // Cables are thinned to meet a ratio exactly: Meta's spines take 55 for 54.86, 0.26 % less each.
    EXPECT_LE(0.997 * std::min(shape.nic_bandwidth, shape.host_link).base(),
              links * route_bandwidth(topology, route).base());
  }
  const double far = shape.gpus > shape.gpus_per_domain ? shape.network_latency_far.base() : 0.0;
  EXPECT_LE(longest, far + 1e-15);
}
INSTANTIATE_TEST_SUITE_P(Topologies, EveryPreset,
                         testing::ValuesIn(topology_preset_names(TopologyPresetKind::cluster)),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace orrery
