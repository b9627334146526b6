// Loads added up by trunk and on links that stand for others are the loads of Topology::spread.
#include "sim/engine/trunks.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "sim/engine/traffic.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::concurrent;

/// Three tiers: pods of leaves and spines, spine s of every pod on core s; a GPU and NIC on each port.
Topology three_tiers(int pods, int leaves, int spines, int ports) {
  Topology topology;
  topology.set_routing(Routing::adaptive);
  const auto rate = BytesPerSecond(50e9);
  std::vector<VertexId> cores;
  for (int s = 0; s < spines; ++s) {
    cores.push_back(topology.add_vertex(VertexKind::core, -1, "core" + std::to_string(s)));
  }
  int node = 0;
  for (int pod = 0; pod < pods; ++pod) {
    std::vector<VertexId> tier;
    for (int s = 0; s < spines; ++s) {
      const std::string name = "spine" + std::to_string(pod * spines + s);
      tier.push_back(topology.add_vertex(VertexKind::spine, -1, name));
      topology.add_duplex_link(tier.back(), cores[static_cast<size_t>(s)], 2.0 * rate, Seconds(0));
    }
    for (int l = 0; l < leaves; ++l) {
      const VertexId leaf =
          topology.add_vertex(VertexKind::leaf, -1, "leaf" + std::to_string(pod * leaves + l));
      for (const VertexId spine : tier) topology.add_duplex_link(leaf, spine, rate, Seconds(0));
      for (int port = 0; port < ports; ++port, ++node) {
        const std::string name = "node" + std::to_string(node);
        const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu0");
        const VertexId nic = topology.add_vertex(VertexKind::nic, node, name + "/nic0");
        topology.add_duplex_link(gpu, nic, rate, Seconds(0));
        topology.add_duplex_link(nic, leaf, rate, Seconds(0));
      }
    }
  }
  return topology;
}

/// Sends between random GPUs, one to four at a time.
WorkloadGraph random_sends(const Topology& topology, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto gpus = static_cast<std::uint64_t>(topology.gpu_count());
  std::vector<Communication> sends;
  for (int i = 0; i < 30; ++i) {
    std::vector<std::vector<int>> groups;
    for (std::uint64_t twin = 0; twin <= random() % 4; ++twin) {
      const auto from = random() % gpus;
      groups.push_back({static_cast<int>(from), static_cast<int>((from + 1 + random() % (gpus - 1)) % gpus)});
    }
    sends.push_back(communication(CollectiveOp::send_receive, 1e6, 0, 1e-3, std::move(groups)));
  }
  return concurrent(sends);
}

void expect_loads_of_spread(const Topology& topology, const WorkloadGraph& graph) {
  const Traffic traffic = traffic_of(graph, topology);
  for (size_t i = 0; i < graph.communications.size(); ++i) {
    std::vector<double> expected(topology.links().size(), 0.0);
    for (const auto& group : graph.communications[i].groups) {
      for (const RouteLink& link : topology.spread(topology.gpu(group[0]), topology.gpu(group[1]))) {
        expected[static_cast<size_t>(link.link)] += link.share;
      }
    }
    std::vector<double> loads(topology.links().size(), 0.0);
    for (const LinkLoad& load : traffic.footprints[i]) loads[static_cast<size_t>(load.link)] = load.weight;
    for (size_t link = 0; link < loads.size(); ++link) {
      // Sums of up to four shares: rounding alone.
      EXPECT_NEAR(loads[static_cast<size_t>(traffic.stands_for[link])], expected[link], 1e-11)
          << "communication " << i << " link " << link;
    }
  }
}

TEST(Trunks, AddUpToTheSpreadOfEveryPair) {
  const Topology topology = three_tiers(3, 2, 4, 3);
  for (const std::uint64_t seed : {1, 2, 3}) expect_loads_of_spread(topology, random_sends(topology, seed));
}

TEST(Trunks, AddUpToItRoundFailedAndDegradedLinks) {
  Topology topology = three_tiers(3, 2, 4, 3);
  topology.fail_link(testing::link_between(topology, "leaf0", "spine1"));
  topology.fail_vertex(topology.find("spine6"));
  topology.set_bandwidth(testing::link_between(topology, "leaf3", "spine4"), BytesPerSecond(10e9));
  for (const std::uint64_t seed : {1, 2, 3}) expect_loads_of_spread(topology, random_sends(topology, seed));
}

TEST(Trunks, LeaveOneLinkOfEachTierOfARegularFabric) {
  // One pair across pods: all links from leaf to leaf carry alike within a tier, 1/4 each, on 4 x 4 of them;
  // cables above the spines are twice as fast and so do not stand for the others.
  const Topology topology = three_tiers(2, 1, 4, 1);
  const Traffic traffic =
      traffic_of(concurrent({communication(CollectiveOp::send_receive, 1, 0, 1, {{0, 1}})}), topology);
  EXPECT_EQ(traffic.footprints[0].size(), 4U + 1U);  // two host links at each end, and one trunk link
  EXPECT_DOUBLE_EQ(topology.links()[static_cast<size_t>(traffic.footprints[0][0].link)].bandwidth.base(),
                   50e9);
}

TEST(Trunks, OfOtherRoutingsAreNone) {
  Topology topology = three_tiers(2, 2, 2, 2);
  topology.set_routing(Routing::ecmp);
  Trunks trunks(topology);
  EXPECT_EQ(trunks.way(topology.gpu(0), topology.gpu(7), 0).trunk, -1);
  EXPECT_EQ(trunks.way(topology.gpu(0), topology.gpu(7), 0).own.size(), topology.route(0, 7).size());
  EXPECT_EQ(trunks.count(), 0U);
}

}  // namespace
}  // namespace orrery
