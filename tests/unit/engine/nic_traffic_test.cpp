#include "sim/engine/nic_traffic.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace orrery {
namespace {

/// Nodes of 2 GPUs on PCIe of 63 GB/s, NICs of 50 GB/s of which 0.9 is payload.
ClusterShape nodes_of_2(int nodes, int nics) {
  ClusterShape shape;
  shape.gpus = 2 * nodes;
  shape.gpus_per_node = shape.gpus_per_domain = 2;
  shape.nics_per_node = nics;
  shape.nic_bandwidth = gigabytes_per_second(50);
  shape.host_link = gigabytes_per_second(63);
  shape.payload_efficiency = 0.9;
  return shape;
}

Communication of(CollectiveOp op, std::vector<std::vector<int>> groups, const char* algorithm = "ring") {
  Communication result;
  result.op = op;
  result.algorithm = algorithm;
  result.payload = Bytes(300);
  result.transfer = Seconds(2);
  result.groups = std::move(groups);
  return result;
}

struct Loaded {
  Traffic traffic;
  explicit Loaded(const ClusterShape& cluster, Communication communication) {
    WorkloadGraph graph;
    graph.communications.push_back(std::move(communication));
    traffic = nic_traffic(graph, cluster);
  }
  /// By falling weight.
  std::vector<double> weights() const {
    std::vector<double> result;
    for (const LinkLoad& load : traffic.footprints[0]) result.push_back(load.weight);
    std::sort(result.begin(), result.end(), std::greater<>());
    return result;
  }
  /// The most that each rank could put on the wire.
  double rate() const {
    double least = 1e300;
    for (const LinkLoad& load : traffic.footprints[0]) {
      least = std::min(least, traffic.capacity[static_cast<size_t>(load.link)] / load.weight);
    }
    return least;
  }
};

TEST(NicTraffic, LetsEachGpuUseItsLinkToAWideNic) {
  ClusterShape cluster = nodes_of_2(2, 1);
  cluster.nic_bandwidth = cluster.nic_slot = gigabytes_per_second(100);
  cluster.host_link = gigabytes_per_second(25);
  EXPECT_DOUBLE_EQ(Loaded(cluster, of(CollectiveOp::all_gather, {{0, 2}, {1, 3}})).rate(), 25e9);
}

TEST(NicTraffic, DividesANicThatGroupsShare) {
  // One NIC a node carries what both groups send, out and in: 45 GB/s of payload for two.
  const ClusterShape cluster = nodes_of_2(2, 1);
  EXPECT_DOUBLE_EQ(Loaded(cluster, of(CollectiveOp::all_gather, {{0, 2}})).rate(), 45e9);
  EXPECT_DOUBLE_EQ(Loaded(cluster, of(CollectiveOp::all_gather, {{0, 2}, {1, 3}})).rate(), 22.5e9);
  EXPECT_DOUBLE_EQ(Loaded(cluster, of(CollectiveOp::send_receive, {{0, 2}, {1, 3}})).rate(), 22.5e9);
}

TEST(NicTraffic, GivesAGpuItsOwnNics) {
  // Two NICs for two GPUs: 45 GB/s each. Four: 90 GB/s, of which the GPU's link takes 63.
  const Communication both = of(CollectiveOp::all_gather, {{0, 2}, {1, 3}});
  EXPECT_DOUBLE_EQ(Loaded(nodes_of_2(2, 2), both).rate(), 45e9);
  EXPECT_DOUBLE_EQ(Loaded(nodes_of_2(2, 4), both).rate(), 63e9);
}

TEST(NicTraffic, IsThatOfTheMemberThatIsAlone) {
  // Two members on one node, one on the other, whose NIC carries all bytes of the ring; of a two-level
  // algorithm (m - 1) / m x n / (n - 1) = 1/2 x 3/2 of them.
  const ClusterShape cluster = nodes_of_2(2, 2);
  EXPECT_EQ(Loaded(cluster, of(CollectiveOp::all_gather, {{0, 1, 2}})).weights(),
            (std::vector<double>{1, 1, 0.5, 0.5, 0.5, 0.5}));
  EXPECT_EQ(Loaded(cluster, of(CollectiveOp::all_gather, {{0, 1, 2}}, "tree")).weights(),
            (std::vector<double>{0.75, 0.75, 0.375, 0.375, 0.375, 0.375}));
  // In an all-to-all it sends all of its bytes out of its node, the other two half of theirs.
  EXPECT_EQ(Loaded(cluster, of(CollectiveOp::all_to_all, {{0, 1, 2}})).weights(),
            (std::vector<double>{1, 1, 0.5, 0.5, 0.5, 0.5}));
}

TEST(NicTraffic, LeavesOverTheNeighbourOnTheReceiversRail) {
  // GPUs 0 and 1 send to 3 and 5, whose NICs have number 1. With PXN both leave over GPU 1's.
  ClusterShape cluster = nodes_of_2(3, 2);
  const Communication sends = of(CollectiveOp::send_receive, {{0, 3}, {1, 5}});
  EXPECT_DOUBLE_EQ(Loaded(cluster, sends).rate(), 45e9);
  cluster.pxn = cluster.rail_optimized = true;
  EXPECT_DOUBLE_EQ(Loaded(cluster, sends).rate(), 22.5e9);
  // GPU 5 beyond the leaf: a spine is crossed either way.
  cluster.nodes_per_leaf = 2;
  EXPECT_DOUBLE_EQ(Loaded(cluster, of(CollectiveOp::send_receive, {{0, 5}, {1, 5}})).weights().back(), 1.0);
  // In an all-to-all of 0, 3 and 5 GPU 0 sends to both over GPU 1's NIC, and they to it over 2's and 4's.
  EXPECT_EQ(Loaded(cluster, of(CollectiveOp::all_to_all, {{0, 3, 5}})).weights(),
            (std::vector<double>{1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5}));
}

TEST(NicTraffic, LeavesOutWhatStaysInsideADomain) {
  const Loaded inside(nodes_of_2(2, 2), of(CollectiveOp::all_gather, {{0, 1}, {2, 3}}));
  EXPECT_TRUE(inside.traffic.footprints[0].empty());
  EXPECT_EQ(inside.traffic.flows[0].rate_bound, 0.0);
  const Loaded pair(nodes_of_2(2, 2), of(CollectiveOp::send_receive, {{2, 3}}));
  EXPECT_TRUE(pair.traffic.footprints[0].empty());
}

TEST(NicTraffic, IsBoundByTheTimeAlone) {
  // 300 bytes gathered by 3 ranks: each sends 2/3, 200 bytes in 2 s.
  const Loaded loaded(nodes_of_2(2, 2), of(CollectiveOp::all_gather, {{0, 1, 2}}));
  EXPECT_DOUBLE_EQ(loaded.traffic.flows[0].wire_bytes, 200.0);
  EXPECT_DOUBLE_EQ(loaded.traffic.flows[0].rate_bound, 100.0);
}

}  // namespace
}  // namespace orrery
