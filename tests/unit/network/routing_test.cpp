#include <gtest/gtest.h>

#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/breadth_first_search.hpp>
#include <boost/graph/visitors.hpp>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "fabrics.hpp"
#include "sim/network/cuts.hpp"
#include "sim/network/hop_counts.hpp"
#include "sim/network/reachability.hpp"
#include "sim/network/topology.hpp"

namespace orrery {
namespace {

using test::ids_of;
using test::link_between;
using test::rails;
using test::torus;
using Ids = std::vector<std::string>;

constexpr BytesPerSecond kRoutedCable = gigabytes_per_second(50);

/// A random connected graph of switches of any kind with GPUs and storage cabled to some of them.
Topology random_graph(std::mt19937& random) {
  const auto pick = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random);
  };
  Topology topology;
  const int switches = pick(2, 30);
  for (int s = 0; s < switches; ++s) {
    topology.add_vertex(
        static_cast<VertexKind>(pick(static_cast<int>(VertexKind::leaf), static_cast<int>(VertexKind::core))),
        -1, test::numbered("switch", s));
    if (s > 0) topology.add_duplex_link(s, pick(0, s - 1), kRoutedCable * pick(1, 4), microseconds(1));
  }
  for (int extra = pick(0, 3 * switches); extra-- > 0;) {
    const int a = pick(0, switches - 1);
    const int b = pick(0, switches - 1);
    if (a != b) topology.add_duplex_link(a, b, kRoutedCable * pick(1, 4), microseconds(1));
  }
  for (int e = 0; e < 12; ++e) {
    const VertexId end = topology.add_vertex(e < 8 ? VertexKind::gpu : VertexKind::storage, e < 8 ? e : -1,
                                             test::numbered("end", e));
    topology.add_duplex_link(end, pick(0, switches - 1), kRoutedCable, microseconds(1));
    if (pick(0, 3) == 0)
      topology.add_duplex_link(end, pick(0, switches - 1), kRoutedCable * 2.0, microseconds(1));
  }
  return topology;
}

/// Links of a shortest path by Boost's breadth-first search over everything that forwards; 0 without a path.
std::size_t oracle_links(const Topology& topology, VertexId from, VertexId to) {
  using Graph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS>;
  Graph graph(topology.vertices().size());
  for (std::size_t l = 0; l < topology.links().size(); ++l) {
    const Link& link = topology.links()[l];
    const VertexKind kind = topology.vertices()[static_cast<std::size_t>(link.from)].kind;
    const bool forwards = kind != VertexKind::gpu && kind != VertexKind::storage;
    if (topology.usable(static_cast<LinkId>(l)) && (forwards || link.from == from)) {
      boost::add_edge(static_cast<std::size_t>(link.from), static_cast<std::size_t>(link.to), graph);
    }
  }
  std::vector<std::size_t> distance(topology.vertices().size(), 0);
  boost::breadth_first_search(graph, static_cast<std::size_t>(from),
                              boost::visitor(boost::make_bfs_visitor(
                                  boost::record_distances(distance.data(), boost::on_tree_edge()))));
  return distance[static_cast<std::size_t>(to)];
}

/// What flows into a vertex flows out of it; 1 leaves the source and 1 arrives.
void expect_conserved(const Topology& topology, const std::vector<RouteLink>& links, VertexId from,
                      VertexId to) {
  std::map<VertexId, double> balance;
  std::set<LinkId> seen;
  for (const RouteLink& each : links) {
    EXPECT_TRUE(seen.insert(each.link).second) << "a link comes twice";
    EXPECT_TRUE(topology.usable(each.link));
    EXPECT_GT(each.share, 0.0);
    const Link& link = topology.links()[static_cast<std::size_t>(each.link)];
    balance[link.from] -= each.share;
    balance[link.to] += each.share;
  }
  balance[from] += 1.0;
  balance[to] -= 1.0;
  for (const auto& [vertex, rest] : balance)
    EXPECT_NEAR(rest, 0.0, 1e-12) << "vertex " << vertex;  // round-off
}

TEST(Routing, OfRandomGraphsIsAsShortAsBoostFindsThem) {
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    Topology topology = random_graph(random);
    for (int failures = round % 4; failures-- > 0;) {
      topology.fail_link(
          std::uniform_int_distribution<int>(0, static_cast<int>(topology.links().size()) - 1)(random));
    }
    for (const Routing routing : {Routing::ecmp, Routing::fixed, Routing::adaptive}) {
      topology.set_routing(routing);
      for (std::size_t a = topology.vertices().size() - 12; a < topology.vertices().size(); ++a) {
        for (std::size_t b = topology.vertices().size() - 12; b < topology.vertices().size(); ++b) {
          if (a == b) continue;
          const auto from = static_cast<VertexId>(a);
          const auto to = static_cast<VertexId>(b);
          const std::size_t links = oracle_links(topology, from, to);
          if (links == 0) {
            EXPECT_THROW(topology.route_between(from, to), std::runtime_error);
            EXPECT_THROW(topology.spread(from, to), std::runtime_error);
            continue;
          }
          const std::vector<LinkId> path =
              topology.route_between(from, to, static_cast<std::uint64_t>(round));
          EXPECT_EQ(path.size(), links);
          for (std::size_t i = 1; i < path.size(); ++i) {
            EXPECT_EQ(topology.links()[static_cast<std::size_t>(path[i])].from,
                      topology.links()[static_cast<std::size_t>(path[i - 1])].to);
          }
          expect_conserved(topology, topology.spread(from, to), from, to);
        }
      }
    }
  }
}

TEST(Routing, RefusesEndsThatAreNeitherGpuNorStorage) {
  const Topology topology = rails(2, 2, 2, 1, 1);
  EXPECT_THROW(topology.route_between(topology.find("leaf0"), topology.gpu(0)), std::invalid_argument);
  EXPECT_THROW(topology.spread(topology.gpu(0), topology.find("node0/nic0")), std::invalid_argument);
  EXPECT_THROW(topology.spread(topology.gpu(0), 10000), std::invalid_argument);
}

TEST(HashSeed, DrawsOtherPathsAndZeroIsTheDefault) {
  Topology topology = rails(4, 1, 2, 8, 1);
  const std::vector<LinkId> plain = topology.route(0, 2, 7);
  std::set<std::vector<LinkId>> drawn;
  for (std::uint64_t seed = 1; seed < 100; ++seed) {
    topology.set_hash_seed(seed);
    drawn.insert(topology.route(0, 2, 7));
  }
  EXPECT_EQ(drawn.size(), 8u);  // 99 draws miss one of 8 spines with probability 8 x (7/8)^99 = 1.5e-5
  topology.set_hash_seed(0);
  EXPECT_EQ(topology.route(0, 2, 7), plain);
}

TEST(Adaptive, SplitsOverPortsInProportionToBandwidth) {
  Topology topology = rails(4, 1, 2, 4, 1);
  topology.set_routing(Routing::adaptive);
  topology.set_bandwidth(link_between(topology, "leaf0", "spine1"), kRoutedCable / 2.0);
  // 50, 25, 50, 50 GB/s up: shares 2/7, 1/7, 2/7, 2/7, and the same down.
  std::map<std::string, double> up;
  std::map<std::string, double> down;
  const std::vector<RouteLink> links = topology.spread(topology.gpu(0), topology.gpu(2));
  for (const RouteLink& each : links) {
    const Link& link = topology.links()[static_cast<std::size_t>(each.link)];
    if (link.from == topology.find("leaf0"))
      up[topology.vertices()[static_cast<std::size_t>(link.to)].id] = each.share;
    if (link.to == topology.find("leaf1"))
      down[topology.vertices()[static_cast<std::size_t>(link.from)].id] = each.share;
  }
  const std::map<std::string, double> expected = {
      {"spine0", 2.0 / 7}, {"spine1", 1.0 / 7}, {"spine2", 2.0 / 7}, {"spine3", 2.0 / 7}};
  for (const auto& [spine, share] : expected) {
    EXPECT_NEAR(up[spine], share, 1e-15);
    EXPECT_NEAR(down[spine], share, 1e-15);
  }
  EXPECT_EQ(links.size(), 6u + 8u);  // GPU, PCIe, NIC on either side; four up, four down
  expect_conserved(topology, links, topology.gpu(0), topology.gpu(2));
}

/// Two nodes of one GPU, each on a leaf, between these four spines, with so many cables from each spine to
/// either leaf.
Topology parallel_cables(int to_first, int to_second) {
  Topology topology;
  topology.set_routing(Routing::adaptive);
  for (const int node : {0, 1}) {
    const std::string prefix = test::numbered("node", node) + "/";
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + "gpu0");
    const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + "nic0");
    const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, test::numbered("leaf", node));
    topology.add_duplex_link(gpu, nic, kRoutedCable, Seconds());
    topology.add_duplex_link(nic, leaf, kRoutedCable, Seconds());
  }
  for (int i = 0; i < 4; ++i) {
    const VertexId spine = topology.add_vertex(VertexKind::spine, -1, test::numbered("spine", i));
    for (int cable = 0; cable < to_first; ++cable)
      topology.add_duplex_link(topology.find("leaf0"), spine, kRoutedCable, Seconds());
    for (int cable = 0; cable < to_second; ++cable)
      topology.add_duplex_link(topology.find("leaf1"), spine, kRoutedCable, Seconds());
  }
  return topology;
}

TEST(Adaptive, LeavesALostCableOfTheDestinationItsShare) {
  // Seven of eight cables into leaf1: each carries 1/7, the one to spine0 too, also where leaf0 is half as
  // wide.
  for (const int to_first : {1, 2}) {
    Topology topology = parallel_cables(to_first, 2);
    topology.fail_link(link_between(topology, "spine0", "leaf1"));
    const std::vector<RouteLink> links = topology.spread(topology.gpu(0), topology.gpu(1));
    expect_conserved(topology, links, topology.gpu(0), topology.gpu(1));
    int into = 0;
    for (const RouteLink& each : links) {
      const Link& link = topology.links()[static_cast<std::size_t>(each.link)];
      if (link.to != topology.find("leaf1") || link.from == topology.find("node1/nic0")) continue;
      EXPECT_NEAR(each.share, 1.0 / 7, 1e-15);
      ++into;
    }
    EXPECT_EQ(into, 7);
  }
}

TEST(Adaptive, FeelsALostCableBehindTheCores) {
  // leaf0 - two spines - two cores each - two spines - leaf1, over two cables each. One of the last four is
  // lost, so a third goes by the first spine from the start.
  Topology topology;
  topology.set_routing(Routing::adaptive);
  const auto join = [&](const std::string& a, const std::string& b) {
    topology.add_duplex_link(topology.find(a), topology.find(b), kRoutedCable, Seconds());
  };
  for (const std::string node : {"0", "1"}) {
    topology.add_vertex(VertexKind::gpu, node == "0" ? 0 : 1, "gpu" + node);
    topology.add_vertex(VertexKind::nic, node == "0" ? 0 : 1, "nic" + node);
    topology.add_vertex(VertexKind::leaf, -1, "leaf" + node);
    join("gpu" + node, "nic" + node);
    join("nic" + node, "leaf" + node);
  }
  for (const std::string plane : {"a", "b"}) {
    for (const std::string node : {"0", "1"}) {
      topology.add_vertex(VertexKind::spine, -1, "spine" + plane + node);
      for (int cable = 0; cable < 2; ++cable) join("leaf" + node, "spine" + plane + node);
    }
    for (const std::string core : {"0", "1"}) {
      topology.add_vertex(VertexKind::core, -1, "core" + plane + core);
      for (const std::string node : {"0", "1"}) join("core" + plane + core, "spine" + plane + node);
    }
  }
  topology.fail_link(link_between(topology, "spinea1", "leaf1"));
  double over_first = 0.0;
  for (const RouteLink& each : topology.spread(topology.gpu(0), topology.gpu(1))) {
    if (topology.links()[static_cast<std::size_t>(each.link)].to == topology.find("spinea0"))
      over_first += each.share;
  }
  EXPECT_NEAR(over_first, 1.0 / 3, 1e-15);
}

TEST(Adaptive, UsesBothPortsOfANicWithTwoLeaves) {
  // Dual top-of-rack: every NIC on two leaves, two spines above.
  Topology topology = rails(2, 1, 1, 2, 1);
  for (const char* other : {"a", "b"})
    topology.add_vertex(VertexKind::leaf, -1, std::string("second-") + other);
  for (const int node : {0, 1}) {
    const VertexId leaf = topology.find(node == 0 ? "second-a" : "second-b");
    topology.add_duplex_link(topology.find(test::numbered("node", node) + "/nic0"), leaf, kRoutedCable,
                             Seconds());
    for (const int s : {0, 1})
      topology.add_duplex_link(leaf, topology.find(test::numbered("spine", s)), kRoutedCable, Seconds());
  }
  topology.set_routing(Routing::adaptive);
  const std::vector<RouteLink> links = topology.spread(topology.gpu(0), topology.gpu(1));
  expect_conserved(topology, links, topology.gpu(0), topology.gpu(1));
  // 2 host links, 2 NIC ports, 4 leaf-spine, 4 spine-leaf, 2 ports, 2 host links.
  EXPECT_EQ(links.size(), 16u);
  topology.fail_vertex(topology.find("leaf0"));
  EXPECT_EQ(topology.spread(topology.gpu(0), topology.gpu(1)).size(), 2u + 1 + 2 + 4 + 2 + 2);
}

TEST(Adaptive, IsASingleRouteInsideANode) {
  Topology topology = rails(2, 4, 2, 1, 1);
  topology.set_routing(Routing::adaptive);
  const std::vector<RouteLink> links = topology.spread(topology.gpu(0), topology.gpu(3));
  ASSERT_EQ(links.size(), 2u);
  for (const RouteLink& link : links) EXPECT_EQ(link.share, 1.0);
}

TEST(Failures, RoutesGoRoundADeadSpine) {
  for (const Routing routing : {Routing::ecmp, Routing::fixed}) {
    Topology topology = rails(8, 2, 2, 4, 1);
    topology.set_routing(routing);
    topology.fail_vertex(topology.find("spine2"));
    EXPECT_TRUE(topology.failed(topology.find("spine2")));
    std::set<std::string> spines;
    for (int from = 0; from < 16; ++from) {
      for (int to = 0; to < 16; ++to) {
        for (std::uint64_t flow = 0; flow < 8; ++flow) {
          for (const LinkId link : topology.route(from, to, flow)) {
            EXPECT_TRUE(topology.usable(link));
            const Vertex& end = topology.vertices()[static_cast<std::size_t>(
                topology.links()[static_cast<std::size_t>(link)].to)];
            if (end.kind == VertexKind::spine) spines.insert(end.id);
          }
        }
      }
    }
    EXPECT_FALSE(spines.contains("spine2"));
    // Two destinations on a leaf use two spines under static routing, whichever are left.
    EXPECT_EQ(spines.size(), routing == Routing::ecmp ? 3u : 2u);
  }
}

TEST(Failures, OfOneSpineOfFourTakeAQuarterOfTheBisection) {
  // Two nodes a leaf, 4 uplinks of half of the rate: the uplinks bind. 4 leaves on each side x 4 cables x 25
  // GB/s.
  Topology topology = rails(16, 2, 4, 4, 1);
  for (std::size_t l = 0; l < topology.links().size(); ++l) {
    const auto kind = [&](VertexId v) { return topology.vertices()[static_cast<std::size_t>(v)].kind; };
    if (kind(topology.links()[l].from) == VertexKind::spine ||
        kind(topology.links()[l].to) == VertexKind::spine) {
      topology.set_bandwidth(static_cast<LinkId>(l), kRoutedCable / 2.0);
    }
  }
  EXPECT_EQ(bisection_bandwidth(topology).base(), 4 * 4 * 25e9);
  topology.fail_vertex(topology.find("spine1"));
  EXPECT_EQ(bisection_bandwidth(topology).base(), 3 * 4 * 25e9);
}

TEST(Failures, OfOneDirectionLeaveTheOther) {
  Topology topology = rails(4, 1, 2, 2, 1);
  topology.fail_link(link_between(topology, "leaf0", "spine0"));
  for (std::uint64_t flow = 0; flow < 20; ++flow) {
    EXPECT_EQ(ids_of(topology, topology.route(0, 2, flow)).at(4), "spine1");
  }
  std::set<std::string> back;
  for (std::uint64_t flow = 0; flow < 20; ++flow)
    back.insert(ids_of(topology, topology.route(2, 0, flow)).at(4));
  EXPECT_EQ(back.size(), 2u);
}

TEST(Failures, OfEveryWayNameBothEnds) {
  Topology topology = rails(4, 1, 2, 2, 1);
  topology.fail_vertex(topology.find("spine0"));
  topology.fail_vertex(topology.find("spine1"));
  EXPECT_EQ(topology.route(0, 1).size(), 6u);  // over their leaf
  try {
    topology.route(0, 2);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no path from node0/gpu0 to node2/gpu0");
  }
}

TEST(Failures, OfANicSendItsGpuOverANeighbourWithPxnAlone) {
  Topology topology = rails(2, 2, 2, 1, 1);
  topology.fail_vertex(topology.find("node0/nic1"));
  EXPECT_TRUE(topology.nics_of_gpu(1).empty());
  EXPECT_THROW(topology.route(1, 3), std::runtime_error);
  topology.set_pxn(true);
  EXPECT_EQ(ids_of(topology, topology.route(1, 3)),
            (Ids{"node0/gpu1", "node0/nvswitch", "node0/gpu0", "node0/pcie0", "node0/nic0", "leaf0", "spine0",
                 "leaf1", "node1/nic1", "node1/pcie1", "node1/gpu1"}));
}

/// NICs that a flow crosses, with the share of each.
std::map<std::string, double> nics_of(const Topology& topology, const std::vector<RouteLink>& links,
                                      int node) {
  std::map<std::string, double> nics;
  for (const RouteLink& each : links) {
    const Vertex& to =
        topology
            .vertices()[static_cast<std::size_t>(topology.links()[static_cast<std::size_t>(each.link)].to)];
    if (to.kind == VertexKind::nic && to.node == node) nics[to.id] += each.share;
  }
  return nics;
}

TEST(Failures, OfANicSendItsGpuOverOneOtherNicOfItsNode) {
  // Adaptive routing sprays between switches, not over the NICs of a node: that one NIC carries two GPUs'
  // bytes, so both take twice the time.
  for (const bool pxn : {false, true}) {
    Topology topology = rails(4, 8, 2, 4, 2);
    test::bridge_hosts(topology);
    topology.set_routing(Routing::adaptive);
    topology.set_pxn(pxn);
    topology.fail_vertex(topology.find("node0/nic3"));
    std::set<std::string> arriving;
    std::set<std::string> over_flows;
    for (int other = 8; other < 32; ++other) {
      const std::vector<RouteLink> in = topology.spread(topology.gpu(other), topology.gpu(3));
      const std::vector<RouteLink> out = topology.spread(topology.gpu(3), topology.gpu(other));
      expect_conserved(topology, in, topology.gpu(other), topology.gpu(3));
      expect_conserved(topology, out, topology.gpu(3), topology.gpu(other));
      for (const auto& links : {in, out}) {
        const std::map<std::string, double> nics = nics_of(topology, links, 0);
        ASSERT_EQ(nics.size(), 1u);
        EXPECT_DOUBLE_EQ(nics.begin()->second, 1.0);
      }
      arriving.insert(nics_of(topology, in, 0).begin()->first);
    }
    EXPECT_EQ(arriving.size(), 1u) << "one NIC, whoever sends";
    for (std::uint64_t flow = 0; flow < 100; ++flow)
      over_flows.insert(
          nics_of(topology, topology.spread(topology.gpu(8), topology.gpu(3), flow), 0).begin()->first);
    EXPECT_EQ(over_flows.size(), 7u);  // 100 draws miss one of 7 with probability 7 x (6/7)^100 = 1.4e-6
  }
}

TEST(Failures, OfNicsDealTheirGpusEvenlyOverTheOthers) {
  // Four of eight NICs left: each carries its own GPU's flow and one more, whichever four they are.
  const std::vector<int> first_half = {0, 1, 2, 3};
  const std::vector<int> odd = {1, 3, 5, 7};
  for (const bool pxn : {false, true}) {
    for (const std::vector<int>& lost : {first_half, odd}) {
      Topology topology = rails(4, 8, 2, 4, 2);
      test::bridge_hosts(topology);
      topology.set_routing(Routing::adaptive);
      topology.set_pxn(pxn);
      for (const int nic : lost) topology.fail_vertex(topology.find(test::numbered("node0/nic", nic)));
      std::map<std::string, double> sent, received;
      for (int gpu = 0; gpu < 8; ++gpu) {
        const VertexId here = topology.gpu(gpu);
        const VertexId there = topology.gpu(8 + gpu);
        const std::vector<RouteLink> out = topology.spread(here, there);
        for (const auto& [nic, share] : nics_of(topology, out, 0)) sent[nic] += share;
        for (const auto& [nic, share] : nics_of(topology, topology.spread(there, here), 0))
          received[nic] += share;
      }
      for (const auto& carried : {sent, received}) {
        ASSERT_EQ(carried.size(), 4u);
        for (const auto& [nic, flows] : carried) EXPECT_DOUBLE_EQ(flows, 2.0) << nic << (pxn ? " pxn" : "");
      }
    }
  }
}

/// Two planes that never meet, but in node 1, whose two NICs share a PCIe switch. Node 0 is on plane a alone,
/// node 2 on plane b alone.
Topology two_planes() {
  Topology topology;
  const VertexId planes[] = {topology.add_vertex(VertexKind::leaf, -1, "a"),
                             topology.add_vertex(VertexKind::leaf, -1, "b")};
  for (int node = 0; node < 3; ++node) {
    const std::string prefix = test::numbered("node", node) + "/";
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + "gpu0");
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + "pcie0");
    topology.add_duplex_link(gpu, pcie, kRoutedCable, Seconds());
    for (const int plane : {0, 1}) {
      if (plane == 0 ? node == 2 : node == 0) continue;
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + test::numbered("nic", plane));
      topology.add_duplex_link(pcie, nic, kRoutedCable, Seconds());
      topology.add_duplex_link(nic, planes[plane], kRoutedCable, Seconds());
    }
  }
  return topology;
}

TEST(Routing, NeverCrossesAThirdNodeBetweenSwitches) {
  Topology topology = two_planes();
  for (const Routing routing : {Routing::ecmp, Routing::adaptive, Routing::fixed}) {
    topology.set_routing(routing);
    EXPECT_THROW(topology.route(0, 2), std::runtime_error);
    EXPECT_THROW(topology.spread(topology.gpu(2), topology.gpu(0)), std::runtime_error);
    // Whichever of its NICs the flow would take by its number: the one that is joined.
    for (const std::uint64_t flow : {0u, 1u}) {
      EXPECT_EQ(ids_of(topology, topology.route(0, 1, flow)).at(4), "node1/nic0");
      EXPECT_EQ(ids_of(topology, topology.route(1, 2, flow)).at(3), "b");
    }
  }
  const UnreachablePairs lost = find_unreachable(topology);
  EXPECT_EQ(lost.pairs, 1);
  EXPECT_EQ(lost.first, 0);
  EXPECT_EQ(lost.second, 2);
}

TEST(Routing, CrossesNicsWhereNoSwitchJoinsTheNodes) {
  // Five nodes whose NICs stand in a ring: GPU, PCIe, NIC, NICs on the way, PCIe, GPU.
  Topology topology;
  std::vector<VertexId> nics;
  for (int node = 0; node < 5; ++node) {
    const std::string prefix = test::numbered("node", node) + "/";
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + "gpu0");
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + "pcie0");
    nics.push_back(topology.add_vertex(VertexKind::nic, node, prefix + "nic0"));
    topology.add_duplex_link(gpu, pcie, kRoutedCable, Seconds());
    topology.add_duplex_link(pcie, nics.back(), kRoutedCable, Seconds());
  }
  for (std::size_t node = 0; node < 5; ++node)
    topology.add_duplex_link(nics[node], nics[(node + 1) % 5], kRoutedCable, Seconds());
  for (const Routing routing : {Routing::ecmp, Routing::adaptive}) {
    topology.set_routing(routing);
    EXPECT_EQ(topology.spread(topology.gpu(0), topology.gpu(1)).size(), 5u);
    EXPECT_EQ(topology.spread(topology.gpu(0), topology.gpu(3)).size(), 6u);
  }
  EXPECT_EQ(find_unreachable(topology).pairs, 0);
}

/// Vertices of all kinds with links at random, some of one direction, some failed.
Topology random_mixture(std::mt19937& random) {
  const auto pick = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random);
  };
  Topology topology;
  const int nodes = pick(2, 5);
  for (int v = 0; v < 26; ++v) {
    const int node = pick(0, nodes - 1);
    const VertexKind kind = v < 8 ? VertexKind::gpu : static_cast<VertexKind>(pick(1, 5));
    const bool outside = kind == VertexKind::leaf || kind == VertexKind::spine || pick(0, 9) == 0;
    topology.add_vertex(kind, v >= 8 && outside ? -1 : node, test::numbered("v", v));
  }
  for (int links = pick(20, 60); links-- > 0;) {
    const int a = pick(0, 25);
    const int b = pick(0, 25);
    if (a == b) continue;
    topology.add_link(a, b, kRoutedCable, Seconds());
    if (pick(0, 4) > 0) topology.add_link(b, a, kRoutedCable, Seconds());
  }
  for (int failures = pick(0, 4); failures-- > 0;)
    topology.fail_link(pick(0, static_cast<int>(topology.links().size()) - 1));
  return topology;
}

TEST(Reachability, IsThatOfTheRoutes) {
  std::mt19937 random(17);
  std::int64_t reached = 0;
  std::int64_t lost = 0;
  for (int round = 0; round < 1500; ++round) {
    const Topology topology = random_mixture(random);
    UnreachablePairs expected;
    for (int a = 0; a < 8; ++a) {
      for (int b = a + 1; b < 8; ++b) {
        try {
          topology.route(a, b);
          topology.route(b, a);
          ++reached;
        } catch (const std::runtime_error&) {
          if (expected.pairs++ == 0) std::tie(expected.first, expected.second) = std::pair(a, b);
        }
      }
    }
    lost += expected.pairs;
    const UnreachablePairs found = find_unreachable(topology);
    EXPECT_EQ(found.pairs, expected.pairs) << "round " << round;
    EXPECT_EQ(found.first, expected.first) << "round " << round;
    EXPECT_EQ(found.second, expected.second) << "round " << round;
  }
  EXPECT_GT(reached, 1000);
  EXPECT_GT(lost, 1000);
}

TEST(Failures, OfASharedNicMoveItsGpusToTheOtherOnTheirPcieSwitch) {
  Topology topology;
  const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  for (const int node : {0, 1}) {
    const std::string prefix = test::numbered("node", node) + "/";
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, node, prefix + "pcie0");
    for (const int i : {0, 1}) {
      const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, prefix + test::numbered("gpu", i));
      const VertexId nic = topology.add_vertex(VertexKind::nic, node, prefix + test::numbered("nic", i));
      topology.add_duplex_link(gpu, pcie, kRoutedCable, Seconds());
      topology.add_duplex_link(pcie, nic, kRoutedCable, Seconds());
      topology.add_duplex_link(nic, leaf, kRoutedCable, Seconds());
    }
  }
  EXPECT_EQ(ids_of(topology, topology.route(0, 2)).at(2), "node0/nic0");
  topology.fail_link(link_between(topology, "node0/nic0", "leaf0"));
  EXPECT_EQ(ids_of(topology, topology.route(0, 2)).at(2), "node0/nic1");
  EXPECT_THROW(topology.fail_link(-1), std::invalid_argument);
  EXPECT_THROW(topology.fail_vertex(1000), std::invalid_argument);
  EXPECT_THROW(topology.set_bandwidth(0, BytesPerSecond()), std::invalid_argument);
}

TEST(Pxn, KeepsAMessageOnTheRailOfItsDestination) {
  Topology topology = rails(2, 4, 2, 2, 1);
  EXPECT_EQ(ids_of(topology, topology.route(0, 6)).at(4), ids_of(topology, topology.route(0, 6, 0)).at(4));
  EXPECT_EQ(topology.route(0, 6).size(), 8u);  // leaf0, a spine, leaf2
  topology.set_pxn(true);
  EXPECT_EQ(ids_of(topology, topology.route(0, 6)),
            (Ids{"node0/gpu0", "node0/nvswitch", "node0/gpu2", "node0/pcie2", "node0/nic2", "leaf2",
                 "node1/nic2", "node1/pcie2", "node1/gpu2"}));
  // On its own rail nothing changes, nor inside the node.
  EXPECT_EQ(ids_of(topology, topology.route(2, 6)), (Ids{"node0/gpu2", "node0/pcie2", "node0/nic2", "leaf2",
                                                         "node1/nic2", "node1/pcie2", "node1/gpu2"}));
  EXPECT_EQ(topology.route(0, 2).size(), 2u);
}

TEST(Pxn, GainsNothingBetweenGroupsOfNodes) {
  // Nodes 0 and 1 on leaves 0 to 3, nodes 2 and 3 on leaves 4 to 7: no NIC of node 0 is on node 2's leaves.
  Topology topology = rails(4, 4, 2, 2, 1);
  topology.set_pxn(true);
  EXPECT_EQ(ids_of(topology, topology.route(0, 10)).at(2), "node0/nic0");
}

TEST(Pxn, NeedsNvlink) {
  Topology topology = rails(2, 2, 2, 1, 1);
  topology.set_pxn(true);
  topology.fail_vertex(topology.find("node0/nvswitch"));
  EXPECT_EQ(ids_of(topology, topology.route(0, 3)).at(2), "node0/nic0");
}

TEST(Storage, IsReachedOverItsSwitchOrItsNode) {
  Topology topology = rails(4, 2, 2, 2, 1);
  const VertexId shared = topology.add_vertex(VertexKind::storage, -1, "storage0");
  topology.add_duplex_link(shared, topology.find("spine0"), kRoutedCable, microseconds(1));
  const VertexId local = topology.add_vertex(VertexKind::storage, 0, "node0/nvme0");
  topology.add_duplex_link(local, topology.find("node0/pcie0"), kRoutedCable, microseconds(1));
  EXPECT_EQ(ids_of(topology, topology.route_between(topology.gpu(1), shared)),
            (Ids{"node0/gpu1", "node0/pcie1", "node0/nic1", "leaf1", "spine0", "storage0"}));
  EXPECT_EQ(ids_of(topology, topology.route_between(shared, topology.gpu(1))).size(), 6u);
  EXPECT_EQ(ids_of(topology, topology.route_between(local, topology.gpu(0))),
            (Ids{"node0/nvme0", "node0/pcie0", "node0/gpu0"}));
  // From another node's drive: over the NIC of its PCIe switch.
  EXPECT_EQ(
      ids_of(topology, topology.route_between(local, topology.gpu(2))),
      (Ids{"node0/nvme0", "node0/pcie0", "node0/nic0", "leaf0", "node1/nic0", "node1/pcie0", "node1/gpu0"}));
  topology.set_routing(Routing::adaptive);
  expect_conserved(topology, topology.spread(shared, topology.gpu(7)), shared, topology.gpu(7));
}

TEST(Node, JoinsItsPcieSwitchesWithoutTheNetwork) {
  Topology topology;
  const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  for (const int i : {0, 1}) {
    const VertexId pcie = topology.add_vertex(VertexKind::pcie_switch, 0, test::numbered("pcie", i));
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, 0, test::numbered("gpu", i));
    const VertexId nic = topology.add_vertex(VertexKind::nic, 0, test::numbered("nic", i));
    topology.add_duplex_link(gpu, pcie, kRoutedCable, Seconds());
    topology.add_duplex_link(pcie, nic, kRoutedCable, Seconds());
    topology.add_duplex_link(nic, leaf, kRoutedCable, Seconds());
  }
  EXPECT_EQ(topology.route(0, 1).size(), 6u);
  topology.add_duplex_link(topology.find("pcie0"), topology.find("pcie1"), kRoutedCable, Seconds());
  EXPECT_EQ(ids_of(topology, topology.route(0, 1)), (Ids{"gpu0", "pcie0", "pcie1", "gpu1"}));
}

TEST(Node, UsesASwitchThatJoinsItsGpusBesideTheirNics) {
  // An NVLink rack as a user draws it: GPUs of two nodes on one switch outside nodes, NICs on another.
  Topology topology = rails(2, 2, 2, 1, 1);
  topology.fail_vertex(topology.find("node0/nvswitch"));
  topology.fail_vertex(topology.find("node1/nvswitch"));
  const VertexId rack = topology.add_vertex(VertexKind::leaf, -1, "rack");
  for (int gpu = 0; gpu < 4; ++gpu)
    topology.add_duplex_link(topology.gpu(gpu), rack, kRoutedCable * 9.0, Seconds());
  EXPECT_EQ(ids_of(topology, topology.route(0, 3)), (Ids{"node0/gpu0", "rack", "node1/gpu1"}));
  EXPECT_EQ(count_hops(topology).diameter, 1);
}

TEST(Torus, FixedRoutingGoesDimensionByDimension) {
  Topology topology = torus({4, 3, 5});
  topology.set_routing(Routing::fixed);
  // From (0, 0, 0) to (2, 1, 4): two steps along x, one along y, one back along z.
  const Ids route = ids_of(topology, topology.route(0, 2 + 4 * 1 + 12 * 4));
  ASSERT_EQ(route.size(), 7u);
  EXPECT_TRUE(route[2] == "router1" || route[2] == "router3") << "either way round a ring of four";
  EXPECT_EQ(route[3], "router2");
  EXPECT_EQ(route[4], "router6");
  EXPECT_EQ(route[5], "router54");
  // Every path is as long as its rings say.
  for (int to = 1; to < 60; ++to) {
    const auto ring = [](int steps, int n) { return std::min(steps, n - steps); };
    const int steps = ring(to % 4, 4) + ring(to / 4 % 3, 3) + ring(to / 12, 5);
    EXPECT_EQ(static_cast<int>(topology.route(0, to).size()), steps + 2);
  }
}

TEST(Torus, RoutesRoundADeadRouter) {
  Topology topology = torus({4, 4});
  topology.set_routing(Routing::fixed);
  topology.fail_vertex(topology.find("router1"));
  // 0 to 2 along x would pass 1; the other way passes 3.
  EXPECT_EQ(ids_of(topology, topology.route(0, 2)), (Ids{"gpu0", "router0", "router3", "router2", "gpu2"}));
}

TEST(Ramp, AndSprayEfficiencyAreKept) {
  Topology topology;
  EXPECT_EQ(topology.spray_efficiency(), 1.0);
  EXPECT_EQ(topology.ramp().base(), 0.0);
  topology.set_spray_efficiency(0.9);
  topology.set_ramp(microseconds(3));
  EXPECT_EQ(topology.spray_efficiency(), 0.9);
  EXPECT_EQ(topology.ramp(), microseconds(3));
  EXPECT_THROW(topology.set_spray_efficiency(0.0), std::invalid_argument);
  EXPECT_THROW(topology.set_ramp(Seconds(-1)), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
