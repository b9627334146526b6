#include "sim/engine/footprint.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "sim/engine/shared_resources.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::link_between;
using testing::SmallFabric;

double weight_on(const std::vector<LinkLoad>& loads, LinkId link) {
  const auto found =
      std::find_if(loads.begin(), loads.end(), [link](const LinkLoad& l) { return l.link == link; });
  return found == loads.end() ? 0.0 : found->weight;
}

TEST(WireBytes, AreWhatEachRankSends) {
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::all_reduce, Bytes(8), 4).base(), 12.0);
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::reduce_scatter, Bytes(8), 4).base(), 6.0);
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::all_gather, Bytes(8), 4).base(), 6.0);
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::all_to_all, Bytes(8), 4).base(), 6.0);
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::broadcast, Bytes(8), 4).base(), 8.0);
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::send_receive, Bytes(8), 2).base(), 8.0);
  EXPECT_DOUBLE_EQ(wire_bytes(CollectiveOp::all_reduce, Bytes(8), 1).base(), 0.0);
}

TEST(Footprint, OfARingWithUnequalMembersDealsEvenlyOverEachSide) {
  // Two members on node 0, one on node 1: both members of node 0 send half each, the one of node 1 sends and
  // receives everything.
  const Topology topology = SmallFabric{.nodes = 2, .gpus = 2, .nics = 2}.build();
  FootprintBuilder builder(topology);
  const auto loads = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, {{0, 1, 2}}));
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/nic0", "leaf0")), 0.5);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/nic1", "leaf0")), 0.5);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node1/nic0", "leaf1")), 1.0);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "leaf0", "node0/nic1")), 0.5);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/gpu0", "node0/nvswitch")), 1.0);
}

TEST(Footprint, OfARingThatLostANicIsDealtOverTheOthers) {
  // Seven rings through three nodes, each over a NIC of its own: 1/7 a NIC, where eight had 1/8. They keep
  // their numbers, so nic2 is idle on all nodes.
  Topology topology = SmallFabric{.nodes = 3, .gpus = 8, .nics = 8}.build();
  topology.fail_vertex(topology.find("node1/nic2"));
  FootprintBuilder builder(topology);
  std::vector<int> all(24);
  std::iota(all.begin(), all.end(), 0);
  const auto loads = builder.footprint(communication(CollectiveOp::reduce_scatter, 1, 0, 1, {all}));
  for (const int node : {0, 1, 2}) {
    const std::string leaf = "leaf" + std::to_string(node);
    for (int i = 0; i < 8; ++i) {
      const std::string nic = "node" + std::to_string(node) + "/nic" + std::to_string(i);
      const double expected = i == 2 ? 0.0 : 1.0 / 7;
      EXPECT_NEAR(weight_on(loads, link_between(topology, nic, leaf)), expected, 1e-12) << nic;
      EXPECT_NEAR(weight_on(loads, link_between(topology, leaf, nic)), expected, 1e-12) << nic;
    }
  }
}

TEST(Footprint, OfARingThatLostOneOfAGpusTwoNicsIsDealtOverTheOthers) {
  // Two nodes of two GPUs with two NICs each: three rings are left of four, one at GPU 0, two at GPU 1.
  Topology topology;
  const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  for (int node = 0; node < 2; ++node) {
    const std::string name = "node" + std::to_string(node);
    const VertexId nvswitch = topology.add_vertex(VertexKind::nvswitch, node, name + "/nvswitch");
    for (int i = 0; i < 2; ++i) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu" + std::to_string(i));
      topology.add_duplex_link(gpu, nvswitch, BytesPerSecond(400e9), Seconds(0));
      for (int k = 0; k < 2; ++k) {
        const VertexId nic =
            topology.add_vertex(VertexKind::nic, node, name + "/nic" + std::to_string(2 * i + k));
        topology.add_duplex_link(gpu, nic, BytesPerSecond(1e12), Seconds(0));
        topology.add_duplex_link(nic, leaf, BytesPerSecond(50e9), Seconds(0));
      }
    }
  }
  topology.fail_vertex(topology.find("node0/nic0"));
  FootprintBuilder builder(topology);
  const auto loads = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, {{0, 1, 2, 3}}));
  for (const char* nic : {"node0/nic1", "node0/nic2", "node0/nic3", "node1/nic2", "node1/nic3"})
    EXPECT_NEAR(weight_on(loads, link_between(topology, nic, "leaf0")), 1.0 / 3, 1e-12) << nic;
  EXPECT_NEAR(weight_on(loads, link_between(topology, "node1/nic0", "leaf0")) +
                  weight_on(loads, link_between(topology, "node1/nic1", "leaf0")),
              1.0 / 3, 1e-12);
}

TEST(Footprint, OfARingIsDealtOverTheFewestNicsOfANode) {
  // Node 0 has lost nic0, node 1 nic3 to nic6: four rings, a quarter each on the NICs that they use.
  Topology topology = SmallFabric{.nodes = 3, .gpus = 8, .nics = 8}.build();
  for (const char* nic : {"node0/nic0", "node1/nic3", "node1/nic4", "node1/nic5", "node1/nic6"})
    topology.fail_vertex(topology.find(nic));
  FootprintBuilder builder(topology);
  std::vector<int> all(24);
  std::iota(all.begin(), all.end(), 0);
  const auto loads = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, {all}));
  for (const int node : {0, 1, 2}) {
    const std::string leaf = "leaf" + std::to_string(node);
    int used = 0;
    for (int i = 0; i < 8; ++i) {
      const double weight = weight_on(
          loads, link_between(topology, "node" + std::to_string(node) + "/nic" + std::to_string(i), leaf));
      EXPECT_NEAR(weight, weight > 0.0 ? 0.25 : 0.0, 1e-12);
      used += weight > 0.0 ? 1 : 0;
    }
    EXPECT_EQ(used, 4) << leaf;
  }
}

TEST(Footprint, OfARingThroughWholeNodesIsDealtOverNicsThatSomeGpusShare) {
  // Six NICs for eight GPUs: rings start at NICs, a sixth each, though two of them have two GPUs.
  const Topology topology = SmallFabric{.nodes = 2, .gpus = 8, .nics = 6}.build();
  FootprintBuilder builder(topology);
  std::vector<int> all(16);
  std::iota(all.begin(), all.end(), 0);
  const auto loads = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, {all}));
  for (int i = 0; i < 6; ++i) {
    const std::string nic = "node1/nic" + std::to_string(i);
    EXPECT_NEAR(weight_on(loads, link_between(topology, nic, "leaf1")), 1.0 / 6, 1e-12) << nic;
    EXPECT_NEAR(weight_on(loads, link_between(topology, "leaf1", nic)), 1.0 / 6, 1e-12) << nic;
  }
  // Groups of one GPU a node have no other NIC than that GPU's: a shared one carries two of them.
  std::vector<std::vector<int>> groups;
  for (int gpu = 0; gpu < 8; ++gpu) groups.push_back({gpu, 8 + gpu});
  const auto each = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, groups));
  EXPECT_DOUBLE_EQ(weight_on(each, link_between(topology, "node0/nic0", "leaf0")), 2.0);
  EXPECT_DOUBLE_EQ(weight_on(each, link_between(topology, "node0/nic1", "leaf0")), 1.0);
}

TEST(Footprint, OfARingThatLostASharedOrAnOwnNicIsDealtOverTheOthers) {
  // Five rings are left of six, whether nic0 is lost, which two GPUs share, or nic1, which one has.
  for (const char* lost : {"node0/nic0", "node0/nic1"}) {
    Topology topology = SmallFabric{.nodes = 2, .gpus = 8, .nics = 6}.build();
    topology.fail_vertex(topology.find(lost));
    FootprintBuilder builder(topology);
    std::vector<int> all(16);
    std::iota(all.begin(), all.end(), 0);
    const auto loads = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, {all}));
    for (int i = 0; i < 6; ++i) {
      const std::string nic = "node0/nic" + std::to_string(i);
      const double expected = nic == lost ? 0.0 : 0.2;
      EXPECT_NEAR(weight_on(loads, link_between(topology, nic, "leaf0")), expected, 1e-12) << nic;
      EXPECT_NEAR(weight_on(loads, link_between(topology, "leaf0", nic)), expected, 1e-12) << nic;
    }
  }
}

/// Two nodes whose GPUs and NICs hang on one PCIe switch each.
Topology on_pcie(int gpus, int nics) {
  Topology topology;
  const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  for (int node = 0; node < 2; ++node) {
    const std::string name = "node" + std::to_string(node);
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, name + "/pcie0");
    for (int i = 0; i < gpus; ++i) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu" + std::to_string(i));
      topology.add_duplex_link(gpu, pcie, BytesPerSecond(25e9), Seconds(0));
    }
    for (int i = 0; i < nics; ++i) {
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, name + "/nic" + std::to_string(i));
      topology.add_duplex_link(pcie, nic, BytesPerSecond(25e9), Seconds(0));
      topology.add_duplex_link(nic, leaf, BytesPerSecond(25e9), Seconds(0));
    }
  }
  return topology;
}

TEST(Footprint, OfARingOverPcieSendsOnceFromEachMember) {
  // A ring's bytes leave each GPU once, to its neighbour or to the NIC: its one link carries them once, with
  // a NIC for each GPU, one for some or all, or after some are lost.
  struct Case {
    int gpus, nics;
    std::vector<std::string> lost;
  };
  const std::vector<Case> cases = {{4, 4, {}},
                                   {4, 1, {}},
                                   {4, 2, {}},
                                   {4, 3, {}},
                                   {4, 2, {"node1/nic0"}},
                                   {4, 4, {"node1/nic0"}},
                                   {4, 4, {"node1/nic1", "node1/nic2", "node1/nic3"}},
                                   {2, 2, {"node1/nic0"}},
                                   {2, 2, {"node0/nic0", "node1/nic0"}},
                                   {2, 5, {}},
                                   {2, 5, {"node1/nic0"}},
                                   {2, 5, {"node1/nic0", "node1/nic1"}}};
  for (const auto& [gpus, nics, lost] : cases) {
    Topology topology = on_pcie(gpus, nics);
    std::string which = std::to_string(gpus) + " GPUs, " + std::to_string(nics) + " NICs";
    for (const std::string& nic : lost) {
      topology.fail_vertex(topology.find(nic));
      which += ", lost " + nic;
    }
    FootprintBuilder builder(topology);
    std::vector<int> all(static_cast<size_t>(2 * gpus));
    std::iota(all.begin(), all.end(), 0);
    const auto loads = builder.footprint(communication(CollectiveOp::all_gather, 1, 0, 1, {all}));
    for (int gpu = 0; gpu < 2 * gpus; ++gpu) {
      const std::string node = "node" + std::to_string(gpu / gpus);
      const std::string name = node + "/gpu" + std::to_string(gpu % gpus);
      EXPECT_NEAR(weight_on(loads, link_between(topology, name, node + "/pcie0")), 1.0, 1e-12)
          << name << ", " << which;
      EXPECT_NEAR(weight_on(loads, link_between(topology, node + "/pcie0", name)), 1.0, 1e-12)
          << name << ", " << which;
    }
  }
}

TEST(Footprint, InsideADomainStaysOffTheNics) {
  const Topology topology = SmallFabric{.nodes = 2, .gpus = 4, .nics = 4}.build();
  FootprintBuilder builder(topology);
  for (const LinkLoad& load :
       builder.footprint(communication(CollectiveOp::all_reduce, 1, 0, 1, {{0, 1, 2, 3}}))) {
    const Link& link = topology.links()[static_cast<size_t>(load.link)];
    EXPECT_NE(topology.vertices()[static_cast<size_t>(link.from)].kind, VertexKind::nic);
    EXPECT_NE(topology.vertices()[static_cast<size_t>(link.to)].kind, VertexKind::nic);
    EXPECT_DOUBLE_EQ(load.weight, 1.0);
  }
}

TEST(Footprint, OfNvlsInOneDomainIsOneBufferUpAndOneShareMore) {
  // 8 ranks: (1 + 1/8) payloads over each link where a ring moves 2 x 7/8.
  const Topology topology = SmallFabric{.nodes = 1, .gpus = 8, .nics = 8}.build();
  FootprintBuilder builder(topology);
  Communication nvls = communication(CollectiveOp::all_reduce, 1, 0, 1, {{0, 1, 2, 3, 4, 5, 6, 7}});
  nvls.algorithm = "nvls";
  const auto loads = builder.footprint(nvls);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/gpu0", "node0/nvswitch")), 1.125 / 1.75);
}

TEST(Footprint, OfAMeshUsesAllItsLinks) {
  // Four GPUs with a link for each pair: a ring moves 4 wire loads over 12 directed links.
  Topology topology;
  for (int i = 0; i < 4; ++i) {
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, 0, "gpu" + std::to_string(i));
    for (int other = 0; other < i; ++other) {
      topology.add_duplex_link(gpu, topology.gpu(other), BytesPerSecond(100e9), Seconds(0));
    }
  }
  FootprintBuilder builder(topology);
  const auto loads = builder.footprint(communication(CollectiveOp::all_reduce, 1, 0, 1, {{0, 1, 2, 3}}));
  ASSERT_EQ(loads.size(), 12U);
  for (const LinkLoad& load : loads) {
    EXPECT_DOUBLE_EQ(load.weight, 1.0 / 3.0);
  }
}

TEST(Footprint, AddsTheTwinsUp) {
  const Topology topology = SmallFabric{.nodes = 4, .gpus = 1, .nics = 1, .nodes_a_leaf = 2}.build();
  FootprintBuilder builder(topology);
  const auto loads = builder.footprint(communication(CollectiveOp::send_receive, 1, 0, 1, {{0, 2}, {1, 3}}));
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "leaf0", "spine0")), 2.0);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/nic0", "leaf0")), 1.0);
  // And leaves nothing behind for the next.
  EXPECT_EQ(builder.footprint(communication(CollectiveOp::send_receive, 1, 0, 1, {{0, 1}})).size(), 4U);
}

TEST(Footprint, UsesAllNicsOfAGpu) {
  Topology topology;
  const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  for (int node = 0; node < 2; ++node) {
    const std::string name = "node" + std::to_string(node);
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, name + "/gpu0");
    for (int i = 0; i < 2; ++i) {
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, name + "/nic" + std::to_string(i));
      topology.add_duplex_link(gpu, nic, BytesPerSecond(1e12), Seconds(0));
      topology.add_duplex_link(nic, leaf, BytesPerSecond(50e9), Seconds(0));
    }
  }
  FootprintBuilder builder(topology);
  const auto loads = builder.footprint(communication(CollectiveOp::send_receive, 1, 0, 1, {{0, 1}}));
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/nic0", "leaf0")), 0.5);
  EXPECT_DOUBLE_EQ(weight_on(loads, link_between(topology, "node0/nic1", "leaf0")), 0.5);
}

TEST(SharedResources, KeepOneConstraintOfLinksWithTheSameUsers) {
  // Links 0 and 1 carry A alone, 2 and 3 carry A three times for each B; of each kind the tightest stays.
  // Link 1 is looser for A than link 3 (3 / 60 > 1 / 40), so it cannot bind and goes as well.
  const std::vector<std::vector<LinkLoad>> footprints = {{{0, 1.0}, {1, 1.0}, {2, 3.0}, {3, 1.5}},
                                                         {{2, 1.0}, {3, 0.5}}};
  const std::vector<double> capacity = {50.0, 40.0, 100.0, 30.0};
  const SharedResources resources(footprints, capacity);
  ASSERT_EQ(resources.resources().size(), 1U);
  ASSERT_EQ(resources.shares_of(0).size(), 1U);
  EXPECT_EQ(resources.shares_of(0)[0].multiplicity, 3);
  EXPECT_EQ(resources.shares_of(1)[0].multiplicity, 1);
  // Link 3: 1.5 a + 0.5 b <= 30, that is 3 a + b <= 60.
  EXPECT_DOUBLE_EQ(resources.resources()[0].unit_capacity, 60.0);
  // In units of A's own rate: a + b / 3 <= 20.
  EXPECT_DOUBLE_EQ(resources.resources()[0].capacity, 20.0);
  EXPECT_DOUBLE_EQ(resources.shares_of(1)[0].weight, 1.0 / 3.0);
}

TEST(SharedResources, FindWholeProportionsWithASmallDenominator) {
  // 1/8 against 1/5: 5 to 8.
  const SharedResources resources({{{0, 0.125}}, {{0, 0.2}}}, std::vector<double>{10.0});
  ASSERT_EQ(resources.resources().size(), 1U);
  EXPECT_EQ(resources.shares_of(0)[0].multiplicity, 5);
  EXPECT_EQ(resources.shares_of(1)[0].multiplicity, 8);
  EXPECT_DOUBLE_EQ(resources.resources()[0].unit_capacity, 400.0);
}

TEST(SharedResources, RoundWhatHasNone) {
  const SharedResources resources({{{0, 1.0}}, {{0, std::sqrt(2.0)}}}, std::vector<double>{1.0});
  EXPECT_EQ(resources.shares_of(1)[0].multiplicity, 512);
  EXPECT_EQ(resources.shares_of(0)[0].multiplicity, 362);  // 512 / sqrt(2) = 362.04
}

TEST(SharedResources, LeaveOutOfTheBindingOnesWhatOthersImply) {
  // Leaves 0 and 1 of two flows each, pod 2 over all four: a + b <= 10 and c + d <= 10 say a + b + c + d
  // <= 20.
  const std::vector<std::vector<LinkLoad>> footprints = {
      {{0, 1.0}, {2, 1.0}}, {{0, 1.0}, {2, 1.0}}, {{1, 1.0}, {2, 1.0}}, {{1, 1.0}, {2, 1.0}}};
  const SharedResources enough(footprints, std::vector<double>{10.0, 10.0, 20.0});
  const SharedResources tight(footprints, std::vector<double>{10.0, 10.0, 19.99});
  for (std::int32_t flow = 0; flow < 4; ++flow) {
    EXPECT_EQ(enough.shares_of(flow).size(), 2U);
    ASSERT_EQ(enough.binding_shares_of(flow).size(), 1U);
    EXPECT_DOUBLE_EQ(
        enough.resources()[static_cast<size_t>(enough.binding_shares_of(flow)[0].resource)].capacity, 10.0);
    EXPECT_EQ(tight.binding_shares_of(flow).size(), 2U);
  }
}

TEST(SharedResources, HoldWhereverTheBindingOnesHold) {
  // Random links in two tiers; the upper ones carry about what the lower ones of their flows do. Whatever the
  // rates that fill the fullest of the binding resources, no other is asked for more than it carries.
  constexpr int kLower = 6, kUpper = 3, kFlows = 24;
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  int implied = 0;
  for (int network = 0; network < 200; ++network) {
    std::vector<double> capacity;
    for (int i = 0; i < kLower; ++i) capacity.push_back(1.0 + unit(random));
    for (int i = 0; i < kUpper; ++i) capacity.push_back(2.0 + 6.0 * unit(random));
    std::vector<std::vector<LinkLoad>> footprints;
    for (int i = 0; i < kFlows; ++i) {
      const int lower = i % kLower;
      const int upper = random() % 8 == 0 ? i % kUpper : lower % kUpper;
      footprints.push_back({{lower, 0.5 + unit(random)}, {kLower + upper, 0.5 + 0.5 * unit(random)}});
    }
    const SharedResources resources(footprints, capacity);
    std::vector<bool> binds(resources.resources().size(), false);
    for (std::int32_t flow = 0; flow < kFlows; ++flow) {
      for (const ResourceShare& share : resources.binding_shares_of(flow)) {
        binds[static_cast<size_t>(share.resource)] = true;
      }
    }
    implied += static_cast<int>(std::count(binds.begin(), binds.end(), false));
    for (int draw = 0; draw < 50; ++draw) {
      std::vector<double> use(binds.size(), 0.0);
      for (std::int32_t flow = 0; flow < kFlows; ++flow) {
        const double rate = random() % 3 == 0 ? 0.0 : unit(random);
        for (const ResourceShare& share : resources.shares_of(flow)) {
          const auto resource = static_cast<size_t>(share.resource);
          use[resource] += share.weight * rate / resources.resources()[resource].capacity;
        }
      }
      double fullest = 0.0;
      for (size_t i = 0; i < use.size(); ++i) fullest = std::max(fullest, binds[i] ? use[i] : 0.0);
      for (const double each : use) EXPECT_LE(each, fullest * (1.0 + 1e-8));  // rounding of sums
    }
  }
  EXPECT_GT(implied, 50);
  EXPECT_LT(implied, 600);  // of 200 networks' upper links
}

}  // namespace
}  // namespace orrery
