#include "topologies/what_if.hpp"

#include <gtest/gtest.h>

#include <map>

#include "cluster_reading.hpp"
#include "sim/network/cuts.hpp"
#include "sim/network/group_shape.hpp"
#include "topologies/build_topology.hpp"
#include "topologies/cluster_shape.hpp"
#include "topologies/fabric_checks.hpp"

namespace orrery {
namespace {

using Lines = std::vector<std::string>;

std::string h100(int nodes, const std::string& fabric) {
  return R"({"preset": "dgx-h100", "nodes": )" + std::to_string(nodes) + R"(, "fabric": )" + fabric + "}";
}
Topology built_with(const std::string& cluster) { return build_topology(read_text(cluster).spec); }

/// Whether any route between these GPUs, over many flows, crosses a vertex.
bool crosses(const Topology& topology, int from, int to, const std::string& id) {
  for (std::uint64_t flow = 0; flow < 200; ++flow) {
    for (const LinkId l : topology.route(from, to, flow)) {
      const Link& link = topology.links()[static_cast<size_t>(l)];
      if (topology.vertices()[static_cast<size_t>(link.to)].id == id) return true;
    }
  }
  return false;
}

TEST(FailedSwitch, SpineLeavesTheOthersShare) {
  // 64 nodes, 8 spines: with one gone, 7/8 of the cut and of what the closed form gives across it.
  const std::string fabric = R"({"routing": "ecmp", "failed_switches": ["spine3"]})";
  const Cluster cluster = read_text(h100(64, fabric));
  const Topology topology = build_topology(cluster.spec);
  EXPECT_TRUE(crosses(built_with(h100(64, R"({"routing": "ecmp"})")), 0, 256, "spine3"));
  EXPECT_FALSE(crosses(topology, 0, 256, "spine3"));
  EXPECT_NEAR(bisection_bandwidth(topology).base(), 32 * 8 * 50e9 * 7 / 8, 1e3);
  EXPECT_NEAR(cluster.shape.oversubscription, 8.0 / 7.0, 1e-12);
  EXPECT_NEAR(cluster.shape.oversubscription_leaf, 8.0 / 7.0, 1e-12);
  EXPECT_EQ(cluster.shape.nic_bandwidth, gigabits_per_second(400));
  EXPECT_TRUE(fabric_warnings(cluster.spec).empty());  // every leaf lost the same
}

TEST(FailedLink, LeavesWhatTheSlotsOfTheOtherNicsLetThrough) {
  // NICs of 50 GB/s in slots of 31.5: with one of two gone, 31.5 of 63 are left, not 50 of 100.
  const Cluster cluster = read_text(R"({"node": {"gpu": "a100-sxm4-80gb", "gpus": 2,
      "scale_up": {"kind": "nvswitch"}, "host_link": "31.5 GB/s", "nics": {"count": 2, "bandwidth": "400 Gb/s"}},
    "nodes": 2, "fabric": {"kind": "single_switch", "failed_links": [["node0/nic1", "leaf0"]]}})");
  const std::vector<int> all = {0, 1, 2, 3};
  EXPECT_NEAR(group_shape(cluster.shape, all).scale_out_per_rank.base(),
              31.5e9 / 2 * cluster.shape.payload_efficiency, 1e3);
}

TEST(FailedSwitch, LeafTakesARailFromItsNodes) {
  const Cluster cluster = read_text(h100(64, R"({"failed_switches": ["leaf2"]})"));
  EXPECT_NEAR(cluster.shape.nic_bandwidth.base(), 50e9 * 7 / 8, 1);
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription, 1.0);
  // GPU 2 of node 0 has lost its NIC: it leaves over a neighbour's, and is reached over one.
  const Topology topology = build_topology(cluster.spec);
  EXPECT_FALSE(topology.route(2, 8 * 40 + 2).empty());
  EXPECT_FALSE(topology.route(8 * 40 + 2, 2).empty());
  EXPECT_EQ(fabric_warnings(cluster.spec),
            (Lines{"node0 reaches the fabric with 87.5 % of the rate of node32"}));
}

TEST(FailedSwitch, CoreLeavesItsSpineToThePod) {
  // One node a leaf, each spine under one core of its own: without core0, seven of eight spines lead on.
  const Cluster cluster = read_text(
      h100(16, R"({"kind": "fat_tree", "tiers": 3, "switch_radix": 16, "failed_switches": ["core0"]})"));
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription_leaf, 1.0);
  EXPECT_NEAR(cluster.shape.oversubscription, 8.0 / 7, 1e-12);
  const Cluster spine = read_text(
      h100(16, R"({"kind": "fat_tree", "tiers": 3, "switch_radix": 16, "failed_switches": ["spine0"]})"));
  EXPECT_DOUBLE_EQ(spine.shape.oversubscription, cluster.shape.oversubscription);
}

TEST(FailedSwitch, SpineOfAPlaneLeavesTheOtherPlaneBetweenLeaves) {
  // Two planes with one spine each: without spine0, leaves meet over the NICs of plane 1 alone.
  const Cluster cluster = read_text(R"({"preset": "dgx-h100", "nodes": 8, "node": {"preset": "dgx-h100",
      "nics": {"count": 16, "bandwidth": "200 Gb/s", "protocol": "infiniband"}}, "fabric": {"planes": 2,
      "nodes_per_leaf": 4, "link_bandwidth": "400 Gb/s", "failed_switches": ["spine0"]}})");
  EXPECT_DOUBLE_EQ(cluster.shape.oversubscription_leaf, 2.0);
}

TEST(FailedLink, OfParallelCablesOneEntryTakesOne) {
  // 32 nodes: each leaf has 8 cables to each of 4 spines.
  const RemainingCapacity left = remaining_capacity(
      read_text(h100(32, R"({"failed_links": [["leaf0", "spine0"], ["spine0", "leaf0"]]})")).spec);
  EXPECT_NEAR(left.leaf_uplinks, 30.0 / 32, 1e-12);
  EXPECT_DOUBLE_EQ(left.nics, 1.0);
  EXPECT_EQ(fabric_warnings(read_text(h100(32, R"({"failed_links": [["leaf0", "spine0"]]})")).spec),
            (Lines{"uneven cut: leaf0 has uplinks for 96.9 % of its ports below, leaf1 for 100 %"}));
}

TEST(Degraded, CableKeepsWhatIsSaid) {
  const Cluster cluster =
      read_text(h100(2, R"({"degraded": [{"link": ["node1/nic3", "leaf3"], "bandwidth": "100 Gb/s"}]})"));
  const Topology topology = build_topology(cluster.spec);
  EXPECT_EQ(route_bandwidth(topology, topology.route(3, 8 + 3)), gigabits_per_second(100));
  EXPECT_EQ(route_bandwidth(topology, topology.route(8 + 3, 3)), gigabits_per_second(100));
  // Every NIC carries an eighth of what the node sends: all wait for the one with a quarter of its rate.
  EXPECT_NEAR(cluster.shape.nic_bandwidth.base(), 50e9 / 4, 1);
}

TEST(Degraded, SlowNicsAskLessOfTheUplinks) {
  // A NIC at a quarter of its rate fills a quarter of what it filled of uplinks at 2:1: these hold nothing
  // up.
  const Cluster cluster = read_text(h100(4, R"({"kind": "leaf_spine", "nodes_per_leaf": 1,
      "oversubscription": [2], "degraded": [{"link": ["node1/nic3", "leaf1"], "bandwidth": "100 Gb/s"}]})"));
  const BytesPerSecond slow = cluster.shape.nic_bandwidth;
  EXPECT_NEAR(slow.base(), 50e9 / 4, 1);
  const GroupShape pair = group_shape(cluster.shape, std::vector<int>{0, 8});
  EXPECT_NEAR(pair.scale_out_per_rank / (slow * cluster.shape.payload_efficiency), 1.0, 1e-12);
  // And of a torus' cables, of which a node's eight NICs ask eight times what one carries.
  const Cluster torus = read_text(h100(4, R"({"kind": "torus", "dimensions": [4],
      "degraded": [{"link": ["node1/nic3", "node1/router"], "bandwidth": "100 Gb/s"}]})"));
  const Cluster whole = read_text(h100(4, R"({"kind": "torus", "dimensions": [4]})"));
  const std::vector<int> ring = {0, 8, 16, 24};
  EXPECT_NEAR(
      group_shape(torus.shape, ring).scale_out_per_rank / group_shape(whole.shape, ring).scale_out_per_rank,
      1.0, 1e-12);
}

TEST(Degraded, NicDecidesForThoseThatAreLeft) {
  // Seven NICs carry a seventh each, one of them at a quarter of its rate: 7 x 12.5 GB/s for 8 x 50 GB/s.
  const RemainingCapacity left = remaining_capacity(read_text(h100(2, R"({"failed_switches": ["node1/nic0"],
      "degraded": [{"link": ["node1/nic3", "leaf3"], "bandwidth": "100 Gb/s"}]})"))
                                                        .spec);
  EXPECT_NEAR(left.nics, 7.0 / 8 / 4, 1e-12);
}

TEST(Degraded, PcieSlowsANicOnlyBelowItsRate) {
  const auto nics_with = [](const std::string& pcie) {
    return remaining_capacity(
               read_text(h100(2, R"({"degraded": [{"link": ["node1/pcie3", "node1/nic3"], "bandwidth": ")" +
                                     pcie + R"("}]})"))
                   .spec)
        .nics;
  };
  EXPECT_DOUBLE_EQ(nics_with("55 GB/s"), 1.0);  // the NIC: 50 GB/s
  EXPECT_DOUBLE_EQ(nics_with("25 GB/s"), 0.5);
}

TEST(FailedLink, OfNvlinkNarrowsTheDomain) {
  const Cluster cluster = read_text(
      h100(2, R"({"degraded": [{"link": ["node0/gpu0", "node0/nvswitch"], "bandwidth": "225 GB/s"}]})"));
  EXPECT_EQ(cluster.shape.scale_up_bandwidth, gigabytes_per_second(225));
}

TEST(FailedSwitch, NvSwitchLeavesANodeOfPcie) {
  const Cluster cluster = read_text(h100(2, R"({"failed_switches": ["node1/nvswitch"]})"));
  EXPECT_EQ(cluster.shape.scale_up, ScaleUpKind::pcie);
  EXPECT_FALSE(cluster.shape.in_network_reduction);
  EXPECT_EQ(cluster.shape.scale_up_bandwidth, cluster.shape.host_link);
  // The shape's latency is that of the graph: GPU, PCIe switch, host, PCIe switch, GPU.
  const Topology topology = build_topology(cluster.spec);
  const std::vector<LinkId> route = topology.route(8, 9);
  EXPECT_EQ(route.size(), 4u);
  EXPECT_DOUBLE_EQ(cluster.shape.scale_up_latency.base(), route_latency(topology, route).base());
  // A rack loses its domain with its NVSwitch: nodes are what is left.
  const Cluster rack =
      read_text(R"({"preset": "gb200-nvl72", "fabric": {"failed_switches": ["domain0/nvswitch"]}})");
  EXPECT_EQ(rack.shape.gpus_per_domain, rack.shape.gpus_per_node);
}

TEST(FailedNic, IsReplacedByOneOtherOfItsNode) {
  const Cluster cluster = read_text(h100(4, R"({"routing": "adaptive", "failed_switches": ["node0/nic5"]})"));
  const Topology topology = build_topology(cluster.spec);
  std::map<std::string, double> nics;
  for (const RouteLink& each : topology.spread(topology.gpu(8 + 5), topology.gpu(5))) {
    const Vertex& to =
        topology.vertices()[static_cast<size_t>(topology.links()[static_cast<size_t>(each.link)].to)];
    if (to.kind == VertexKind::nic && to.node == 0) nics[to.id] += each.share;
  }
  ASSERT_EQ(nics.size(), 1u);
  EXPECT_NEAR(nics.begin()->second, 1.0, 1e-12);  // round-off of the shares over the spines
}

struct WhatIfRefusal {
  const char* name;
  const char* fabric;
  Lines lines;
};
class WhatIfRefused : public testing::TestWithParam<WhatIfRefusal> {};
TEST_P(WhatIfRefused, WithTheseLines) { EXPECT_EQ(refusals(h100(32, GetParam().fabric)), GetParam().lines); }
INSTANTIATE_TEST_SUITE_P(
    Fabric, WhatIfRefused,
    testing::Values(
        WhatIfRefusal{
            "UnknownSwitch",
            R"({"failed_switches": ["spin3"]})",
            {"experiment.json: /cluster/fabric/failed_switches/0: found \"spin3\", expected \"spine3\" or "
             "another id of this fabric"}},
        WhatIfRefusal{
            "Gpu",
            R"({"failed_switches": ["node0/gpu0"]})",
            {"experiment.json: /cluster/fabric/failed_switches/0: found \"node0/gpu0\", expected a switch "
             "or a NIC"}},
        WhatIfRefusal{
            "NoSuchCable",
            R"({"failed_links": [["leaf0", "leaf1"]]})",
            {"experiment.json: /cluster/fabric/failed_links/0: found \"leaf0\" and \"leaf1\", which no cable "
             "joins, expected a neighbour of leaf0: one of node0/nic0, node1/nic0, node10/nic0, "
             "node11/nic0, node12/nic0, node13/nic0, node14/nic0, node15/nic0, ..."}},
        WhatIfRefusal{
            "NotAPair",
            R"({"failed_links": [["leaf0"]]})",
            {"experiment.json: /cluster/fabric/failed_links/0: found a list, expected the ids of two ends, "
             "[from, to]"}},
        WhatIfRefusal{
            "LostWithItsSwitch",
            R"({"failed_switches": ["spine0"], "failed_links": [["leaf0", "spine0"]]})",
            {"experiment.json: /cluster/fabric/failed_links/0: found \"leaf0\" and \"spine0\", whose "
             "cables are lost with spine0, expected no entry for them beside \"failed_switches\""}},
        WhatIfRefusal{
            "FasterThanItWas",
            R"({"degraded": [{"link": ["leaf0", "spine0"], "bandwidth": "800 Gb/s"}]})",
            {"experiment.json: /cluster/fabric/degraded/0/bandwidth: found 100000000000 B/s, expected at "
             "most 50000000000 B/s, the whole cable"}}),
    [](const testing::TestParamInfo<WhatIfRefusal>& refusal) { return std::string(refusal.param.name); });

TEST(Unreachable, NamesAPairAndCountsAll) {
  // One NIC a node and one leaf gone: 4 of 8 nodes (ports of a leaf) reach nobody: 4 x 4 + 4 x 3 / 2 pairs.
  const std::string cluster = R"({"node": {"preset": "dgx-h100", "gpus": 1, "scale_up": {"kind": "none"},
      "nics": {"count": 1}}, "nodes": 8, "fabric": {"kind": "leaf_spine", "switch_radix": 8,
      "failed_switches": ["leaf0"]}})";
  EXPECT_EQ(refusals(cluster), (Lines{"experiment.json: /cluster/fabric: no path between node0/gpu0 and "
                                      "node1/gpu0; 22 pairs of GPUs in all"}));
}

TEST(Unreachable, OfEightRailsAllMustFail) {
  std::string leaves;
  for (int i = 0; i < 8; ++i) leaves += (i == 0 ? "\"leaf" : ", \"leaf") + std::to_string(i) + '"';
  // Both nodes hang on these leaves alone: 8 x 8 pairs are lost, those inside a node are not.
  EXPECT_EQ(refusals(h100(2, R"({"failed_switches": [)" + leaves + "]}")),
            (Lines{"experiment.json: /cluster/fabric: no path between node0/gpu0 and node1/gpu0; 64 pairs of "
                   "GPUs in all"}));
}

}  // namespace
}  // namespace orrery
