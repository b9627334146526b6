#include "sim/network/topology.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <stdexcept>

namespace orrery {
namespace {

constexpr BytesPerSecond kFast = gigabytes_per_second(450);
constexpr BytesPerSecond kPcie = gigabytes_per_second(63);
constexpr BytesPerSecond kCable = gigabytes_per_second(50);

std::string numbered(const char* name, int number) { return name + std::to_string(number); }

/// `nodes` hosts of `gpus` GPUs on an NVSwitch and one PCIe switch with `nics` NICs; two hosts a leaf,
/// `spines` spines.
Topology hosts(int nodes, int gpus, int nics, int spines) {
  Topology topology;
  std::vector<VertexId> leaves;
  for (int leaf = 0; leaf < (nodes + 1) / 2; ++leaf) {
    leaves.push_back(topology.add_vertex(VertexKind::leaf, -1, numbered("leaf", leaf)));
  }
  for (int node = 0; node < nodes; ++node) {
    const std::string prefix = numbered("node", node) + "/";
    const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, node, prefix + "nvswitch");
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + "pcie0");
    for (int i = 0; i < gpus; ++i) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + numbered("gpu", i));
      topology.add_duplex_link(gpu, pcie, kPcie, microseconds(0.25));
      topology.add_duplex_link(gpu, nvswitch, kFast, microseconds(0.3));
    }
    for (int i = 0; i < nics; ++i) {
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + numbered("nic", i));
      topology.add_duplex_link(pcie, nic, kPcie, microseconds(0.5));
      topology.add_duplex_link(nic, leaves[static_cast<size_t>(node / 2)], kCable, microseconds(0.125));
    }
  }
  for (int s = 0; s < spines; ++s) {
    const VertexId spine = topology.add_vertex(VertexKind::spine, -1, numbered("spine", s));
    for (const VertexId leaf : leaves) topology.add_duplex_link(leaf, spine, kCable, microseconds(0.125));
  }
  return topology;
}

std::vector<std::string> path_ids(const Topology& topology, int from, int to, std::uint64_t flow = 0) {
  std::vector<std::string> ids;
  for (const LinkId link : topology.route(from, to, flow)) {
    const Link& hop = topology.links()[static_cast<size_t>(link)];
    if (ids.empty()) ids.push_back(topology.vertices()[static_cast<size_t>(hop.from)].id);
    EXPECT_EQ(ids.back(), topology.vertices()[static_cast<size_t>(hop.from)].id) << "links do not join up";
    ids.push_back(topology.vertices()[static_cast<size_t>(hop.to)].id);
  }
  return ids;
}

using Ids = std::vector<std::string>;

TEST(Topology, CountsAndFindsItsVertices) {
  const Topology topology = hosts(4, 2, 1, 3);
  EXPECT_EQ(topology.gpu_count(), 8);
  EXPECT_EQ(topology.count(VertexKind::nic), 4);
  EXPECT_EQ(topology.count(VertexKind::leaf), 2);
  EXPECT_EQ(topology.count(VertexKind::spine), 3);
  EXPECT_EQ(topology.count(VertexKind::core), 0);
  // Both directions of: 2 links a GPU, 2 a NIC, 2 leaves x 3 spines.
  EXPECT_EQ(topology.links().size(), 2u * (8 * 2 + 4 * 2 + 6));
  EXPECT_EQ(topology.find("node3/gpu1"), topology.gpu(7));
  EXPECT_EQ(topology.node_of_gpu(7), 3);
  EXPECT_EQ(topology.find("node4/gpu0"), -1);
  EXPECT_EQ(name_of(VertexKind::pcie_switch), "pcie_switch");
}

TEST(Topology, RefusesLinksThatCannotBe) {
  Topology topology;
  const VertexId a = topology.add_vertex(VertexKind::gpu, 0, "a");
  const VertexId b = topology.add_vertex(VertexKind::gpu, 0, "b");
  EXPECT_THROW(topology.add_link(a, a, kCable, Seconds()), std::invalid_argument);
  EXPECT_THROW(topology.add_link(a, 2, kCable, Seconds()), std::invalid_argument);
  EXPECT_THROW(topology.add_link(a, b, BytesPerSecond(), Seconds()), std::invalid_argument);
  EXPECT_THROW(topology.add_link(a, b, kCable, Seconds(-1)), std::invalid_argument);
  EXPECT_THROW(topology.add_vertex(VertexKind::gpu, 0, "a"), std::invalid_argument);
  EXPECT_THROW(topology.set_payload_efficiency(0.0), std::invalid_argument);
  EXPECT_THROW(topology.set_payload_efficiency(1.01), std::invalid_argument);
  EXPECT_EQ(topology.links().size(), 0u);
}

TEST(Route, ToItselfIsEmpty) { EXPECT_TRUE(hosts(1, 2, 1, 0).route(1, 1).empty()); }

TEST(Route, StaysOnTheNvswitchInsideADomainThoughPcieIsAsShort) {
  EXPECT_EQ(path_ids(hosts(2, 4, 1, 1), 0, 3), (Ids{"node0/gpu0", "node0/nvswitch", "node0/gpu3"}));
}

TEST(Route, TakesADirectLinkBeforeASwitch) {
  Topology topology = hosts(1, 2, 0, 0);
  topology.add_duplex_link(topology.gpu(0), topology.gpu(1), kFast, microseconds(1));
  EXPECT_EQ(path_ids(topology, 1, 0), (Ids{"node0/gpu1", "node0/gpu0"}));
}

TEST(Route, CrossesOneLeafBetweenNeighbours) {
  const Topology topology = hosts(2, 2, 2, 1);
  EXPECT_EQ(path_ids(topology, 1, 3), (Ids{"node0/gpu1", "node0/pcie0", "node0/nic1", "leaf0", "node1/nic1",
                                           "node1/pcie0", "node1/gpu1"}));
  const std::vector<LinkId> route = topology.route(1, 3);
  // PCIe 0.25 + 0.5, cable 0.125, and the same back.
  EXPECT_NEAR(route_latency(topology, route).base(), 1.75e-6, 1e-15);
  EXPECT_EQ(route_bandwidth(topology, route), kCable);
}

TEST(Route, CrossesASpineBetweenLeaves) {
  EXPECT_EQ(path_ids(hosts(4, 1, 1, 1), 0, 2),
            (Ids{"node0/gpu0", "node0/pcie0", "node0/nic0", "leaf0", "spine0", "leaf1", "node2/nic0",
                 "node2/pcie0", "node2/gpu0"}));
}

TEST(Route, GpusShareNicsWhereThereAreFewer) {
  const Topology topology = hosts(2, 4, 2, 1);
  const auto nic = [&](int gpu) {
    return topology.vertices()[static_cast<size_t>(topology.nics_of_gpu(gpu).at(0))].id;
  };
  EXPECT_EQ(nic(0), "node0/nic0");
  EXPECT_EQ(nic(1), "node0/nic0");
  EXPECT_EQ(nic(2), "node0/nic1");
  EXPECT_EQ(nic(7), "node1/nic1");
}

TEST(Route, AGpuKeepsItsOwnNicsThoughTheyFail) {
  Topology topology = hosts(1, 4, 2, 1);  // two NICs, each of two GPUs, on one PCIe switch
  const VertexId first = topology.find("node0/nic0"), second = topology.find("node0/nic1");
  topology.fail_vertex(first);
  for (const int gpu : {0, 1}) {
    const auto own = topology.own_nics_of_gpu(gpu);
    EXPECT_EQ(std::vector<VertexId>(own.begin(), own.end()), std::vector<VertexId>{first});
    EXPECT_EQ(topology.nics_of_gpu(gpu), std::vector<VertexId>{second});  // the other on the switch
  }
  EXPECT_EQ(topology.own_nics_of_gpu(3).front(), second);
}

TEST(Route, FlowsOfAGpuWithSeveralNicsUseThemInTurn) {
  const Topology topology = hosts(2, 2, 8, 1);  // four NICs a GPU
  EXPECT_EQ(topology.nics_of_gpu(3).size(), 4u);
  std::set<std::string> used;
  for (std::uint64_t flow = 0; flow < 4; ++flow) used.insert(path_ids(topology, 1, 3, flow).at(2));
  EXPECT_EQ(used, (std::set<std::string>{"node0/nic4", "node0/nic5", "node0/nic6", "node0/nic7"}));
}

TEST(Route, SaysWhichGpusHaveNoPath) {
  const Topology topology = hosts(4, 1, 1, 0);
  try {
    topology.route(0, 3);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no path from node0/gpu0 to node3/gpu0");
  }
}

TEST(Route, GpusDoNotForward) {
  // a - b - c in a row of direct links: b would have to forward.
  Topology topology;
  const VertexId a = topology.add_vertex(VertexKind::gpu, 0, "a");
  const VertexId b = topology.add_vertex(VertexKind::gpu, 0, "b");
  const VertexId c = topology.add_vertex(VertexKind::gpu, 0, "c");
  topology.add_duplex_link(a, b, kFast, Seconds());
  topology.add_duplex_link(b, c, kFast, Seconds());
  EXPECT_NO_THROW(topology.route(0, 1));
  EXPECT_THROW(topology.route(0, 2), std::runtime_error);
}

TEST(Route, SeesALinkThatIsAddedLater) {
  Topology topology = hosts(4, 1, 1, 0);
  EXPECT_THROW(topology.route(0, 3), std::runtime_error);
  topology.add_duplex_link(topology.find("leaf0"), topology.find("leaf1"), kCable, Seconds());
  EXPECT_EQ(topology.route(0, 3).size(), 7u);
}

TEST(Ecmp, IsTheSameEveryTimeAndInEveryCopy) {
  const Topology once = hosts(8, 2, 1, 8);
  const Topology again = hosts(8, 2, 1, 8);
  for (std::uint64_t flow = 0; flow < 50; ++flow) {
    EXPECT_EQ(once.route(0, 15, flow), again.route(0, 15, flow));
    EXPECT_EQ(once.route(0, 15, flow), once.route(0, 15, flow));
  }
}

TEST(Ecmp, SpreadsFlowsOverAllSpines) {
  const Topology topology = hosts(4, 1, 1, 8);
  std::map<std::string, int> flows_over;
  constexpr int kFlows = 8000;
  for (int flow = 0; flow < kFlows; ++flow)
    ++flows_over[path_ids(topology, 0, 2, static_cast<std::uint64_t>(flow)).at(4)];
  ASSERT_EQ(flows_over.size(), 8u);
  // 1000 each, standard deviation sqrt(8000 x 1/8 x 7/8) = 30: six of them.
  for (const auto& [spine, flows] : flows_over) EXPECT_NEAR(flows, 1000, 180) << spine;
}

TEST(StaticRouting, DealsDestinationsOutWhateverTheFlow) {
  Topology topology = hosts(4, 1, 1, 2);
  topology.set_routing(Routing::fixed);
  // Node 2 is the first NIC of leaf 1, node 3 the second: D-mod-K sends them over spines 0 and 1.
  for (std::uint64_t flow = 0; flow < 5; ++flow) {
    for (const int from : {0, 1}) {
      EXPECT_EQ(path_ids(topology, from, 2, flow).at(4), "spine0");
      EXPECT_EQ(path_ids(topology, from, 3, flow).at(4), "spine1");
    }
  }
}

}  // namespace
}  // namespace orrery
