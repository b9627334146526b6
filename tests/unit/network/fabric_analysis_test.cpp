#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <stdexcept>

#include "fabrics.hpp"
#include "sim/network/cuts.hpp"
#include "sim/network/fabric_tiers.hpp"
#include "sim/network/hop_counts.hpp"
#include "sim/network/single_failures.hpp"

namespace orrery {
namespace {

using test::rails;
using test::torus;

/// One scalable unit of the DGX H100 SuperPOD as its reference architecture counts it, with all 32 nodes: 8
/// leaves, 4 spines, 256 + 256 cables of 400 Gb/s (8 from each leaf to each spine).
Topology superpod_unit() { return rails(32, 8, 32, 4, 8); }

std::map<std::pair<int, int>, std::int64_t> pairs_by_distance(const HopHistogram& histogram) {
  std::map<std::pair<int, int>, std::int64_t> pairs;
  for (const HopCount& count : histogram.counts)
    pairs[{static_cast<int>(count.over), count.hops}] = count.pairs;
  return pairs;
}

/// The histogram by walking the route of every pair.
std::map<std::pair<int, int>, std::int64_t> pairs_by_walking(const Topology& topology,
                                                             std::int64_t& unreachable) {
  std::map<std::pair<int, int>, std::int64_t> pairs;
  for (int a = 0; a < topology.gpu_count(); ++a) {
    for (int b = 0; b < topology.gpu_count(); ++b) {
      if (a == b) continue;
      int network = 0;
      int nvswitches = 0;
      try {
        for (const LinkId link : topology.route(a, b)) {
          const VertexId to = topology.links()[static_cast<std::size_t>(link)].to;
          const VertexKind kind = topology.vertices()[static_cast<std::size_t>(to)].kind;
          if (kind == VertexKind::leaf || kind == VertexKind::spine || kind == VertexKind::core) ++network;
          if (kind == VertexKind::nvswitch) ++nvswitches;
        }
      } catch (const std::runtime_error&) {
        ++unreachable;
        continue;
      }
      using Over = HopCount::Over;
      const Over over = network > 0 ? Over::network : nvswitches > 0 ? Over::domain : Over::node;
      ++pairs[{static_cast<int>(over), network > 0 ? network : nvswitches}];
    }
  }
  return pairs;
}

TEST(Hops, OfASuperPodUnit) {
  // 256 GPUs: 7 neighbours over NVSwitch, 31 on the same rail over one leaf, 31 x 7 over leaf, spine, leaf.
  const HopHistogram histogram = count_hops(superpod_unit());
  const int domain = static_cast<int>(HopCount::Over::domain);
  const int network = static_cast<int>(HopCount::Over::network);
  EXPECT_EQ(pairs_by_distance(histogram),
            (std::map<std::pair<int, int>, std::int64_t>{
                {{domain, 1}, 256 * 7}, {{network, 1}, 256 * 31}, {{network, 3}, 256 * 31 * 7}}));
  EXPECT_EQ(histogram.diameter, 3);
  EXPECT_EQ(histogram.unreachable, 0);
  EXPECT_FALSE(histogram.sampled);
}

TEST(Hops, WithPxnAreOneEverywhereInAUnit) {
  Topology topology = superpod_unit();
  topology.set_pxn(true);
  EXPECT_EQ(count_hops(topology).diameter, 1);
}

TEST(Hops, AreThoseOfTheRoutes) {
  std::vector<Topology> topologies;
  topologies.push_back(rails(6, 4, 2, 2, 1));
  topologies.push_back(rails(6, 4, 2, 2, 1));
  topologies.back().set_pxn(true);
  topologies.push_back(rails(6, 4, 2, 2, 1));
  topologies.back().fail_vertex(topologies.back().find("leaf1"));
  topologies.push_back(rails(6, 4, 2, 2, 1));
  topologies.back().fail_vertex(topologies.back().find("leaf1"));
  topologies.back().set_pxn(true);
  topologies.push_back(torus({4, 3}));
  // GPUs without their own NIC send and are reached over another one of their node.
  for (const bool pxn : {false, true}) {
    topologies.push_back(rails(6, 4, 2, 2, 1));
    test::bridge_hosts(topologies.back());
    topologies.back().fail_vertex(topologies.back().find("leaf1"));
    topologies.back().fail_vertex(topologies.back().find("node4/nic2"));
    topologies.back().set_pxn(pxn);
  }
  topologies.push_back(rails(4, 2, 2, 0, 0));  // no spines: groups cannot reach each other
  for (const Topology& topology : topologies) {
    std::int64_t unreachable = 0;
    const auto walked = pairs_by_walking(topology, unreachable);
    const HopHistogram histogram = count_hops(topology);
    EXPECT_EQ(pairs_by_distance(histogram), walked);
    EXPECT_EQ(histogram.unreachable, unreachable);
    for (const HopCount& count : histogram.counts) EXPECT_NE(count.from, count.to);
  }
}

TEST(Hops, OfASampleStandForAll) {
  // 10 x 10 x 6 places look alike, so 512 destinations of 600 have the distances of all: in a ring of n one
  // place at 0, two at 1 ... and one (n even) at n / 2.
  const auto ring = [](int n) {
    std::vector<std::int64_t> places(static_cast<std::size_t>(n / 2 + 1), 2);
    places.front() = places.back() = 1;
    return places;
  };
  std::map<std::pair<int, int>, std::int64_t> expected;
  const std::vector<std::int64_t> ten = ring(10);
  const std::vector<std::int64_t> six = ring(6);
  for (std::size_t x = 0; x < ten.size(); ++x) {
    for (std::size_t y = 0; y < ten.size(); ++y) {
      for (std::size_t z = 0; z < six.size(); ++z) {
        if (x + y + z > 0)
          expected[{static_cast<int>(HopCount::Over::network), static_cast<int>(x + y + z) + 1}] +=
              600 * ten[x] * ten[y] * six[z];
      }
    }
  }
  const HopHistogram histogram = count_hops(torus({10, 10, 6}));
  EXPECT_TRUE(histogram.sampled);
  EXPECT_EQ(histogram.destinations, 600);
  EXPECT_EQ(histogram.destinations_sampled, 512);
  EXPECT_EQ(pairs_by_distance(histogram), expected);
}

TEST(Hops, OfATorusFollowItsRings) {
  // Rings of 8, 4 and 2: 4 + 2 + 1 steps at most, one more router than steps.
  EXPECT_EQ(count_hops(torus({8, 4, 2})).diameter, 8);
}

TEST(Paths, OfASuperPodUnitAreTheUplinksOfALeaf) {
  // 32 cables up from each leaf, 8 to each spine, and as many down: 32 link-disjoint paths.
  const PathDiversity paths = count_paths(superpod_unit());
  EXPECT_EQ(paths.least, 32);
  EXPECT_EQ(paths.median, 32);
  EXPECT_EQ(paths.most, 32);
  EXPECT_EQ(paths.pairs_of_switches, 8 * 7);
  EXPECT_FALSE(paths.sampled);
}

TEST(Paths, LoseWhatFails) {
  Topology topology = rails(4, 1, 2, 4, 2);
  EXPECT_EQ(count_paths(topology).least, 8);
  topology.fail_link(test::link_between(topology, "leaf0", "spine1"));
  EXPECT_EQ(count_paths(topology).least, 7);
  EXPECT_EQ(count_paths(topology).most, 8);  // the other direction
  topology.fail_vertex(topology.find("spine0"));
  EXPECT_EQ(count_paths(topology).least, 5);
}

TEST(Paths, OnATorusAreTheDimensionsInWhichTwoDiffer) {
  // In rings of 5 there is one shortest way round, so a pair that differs in k of 3 dimensions has k.
  const PathDiversity paths = count_paths(torus({5, 5, 5}));
  EXPECT_EQ(paths.least, 1);
  EXPECT_EQ(paths.most, 3);
  EXPECT_EQ(paths.median, 3);  // 64 of 124 differ in all three
  EXPECT_TRUE(paths.sampled);  // 125 x 125 pairs
}

TEST(Paths, AreOneOnASingleSwitch) {
  const PathDiversity paths = count_paths(rails(4, 1, 4, 0, 0));
  EXPECT_EQ(paths.least, 1);
  EXPECT_EQ(paths.most, 1);
}

TEST(Tiers, OfASuperPodUnit) {
  const FabricTiers fabric = count_tiers(superpod_unit());
  ASSERT_EQ(fabric.tiers.size(), 2u);
  EXPECT_EQ(fabric.tiers[0].switches, 8);
  EXPECT_EQ(fabric.tiers[0].most_ports, 64);
  EXPECT_EQ(fabric.tiers[0].least_ports, 64);
  EXPECT_EQ(fabric.tiers[0].oversubscription, 1.0);
  EXPECT_EQ(fabric.tiers[1].switches, 4);
  EXPECT_EQ(fabric.tiers[1].most_ports, 64);
  ASSERT_EQ(fabric.cables.size(), 2u);
  EXPECT_EQ(fabric.cables[0].cables, 256);
  EXPECT_EQ(fabric.cables[1].cables, 256);
  EXPECT_EQ(fabric.oversubscription(), (std::vector<double>{1.0}));
}

TEST(Tiers, MeasureOversubscriptionOfTheWorstSwitchToo) {
  // 8 x 50 GB/s down, 4 x 50 up; one leaf loses a cable: 8 / 3 there, 16 / 7 in all.
  Topology topology = rails(16, 1, 8, 4, 1);
  EXPECT_EQ(count_tiers(topology).oversubscription(), (std::vector<double>{2.0}));
  topology.fail_link(test::link_between(topology, "leaf1", "spine3"));
  const SwitchTier leaf = count_tiers(topology).tiers.front();
  EXPECT_DOUBLE_EQ(leaf.oversubscription, 16.0 / 7);
  EXPECT_DOUBLE_EQ(leaf.worst_oversubscription, 8.0 / 3);
  EXPECT_EQ(count_tiers(topology).cables.back().failed, 1);
}

TEST(Tiers, OfATorusCompareWhatEntersWithItsLinks) {
  // A GPU sends 300 GB/s into its router, six links of 50 GB/s leave it.
  const FabricTiers fabric = count_tiers(torus({4, 4, 4}));
  EXPECT_EQ(fabric.oversubscription(), (std::vector<double>{1.0}));
  EXPECT_EQ(fabric.cables.back().cables, 3 * 64);
}

TEST(Tiers, OfADragonflyCompareInjectionWithGlobalCables) {
  // Two groups of two switches with two NICs of 50 GB/s each, a local cable of 50 in each group and one
  // global cable of 100 between the groups: 4 x 50 over 100 each way.
  Topology topology = rails(4, 2, 2, 0, 0);
  const auto leaf = [&](int i) { return topology.find(test::numbered("leaf", i)); };
  topology.add_duplex_link(leaf(0), leaf(1), gigabytes_per_second(50), Seconds());
  topology.add_duplex_link(leaf(2), leaf(3), gigabytes_per_second(50), Seconds());
  topology.add_duplex_link(leaf(1), leaf(2), gigabytes_per_second(100), Seconds());
  std::vector<int> groups(topology.vertices().size(), -1);
  for (int i = 0; i < 4; ++i) groups[static_cast<std::size_t>(leaf(i))] = i / 2;
  const FabricTiers fabric = count_tiers(topology, groups);
  EXPECT_EQ(fabric.oversubscription(), (std::vector<double>{2.0}));
  EXPECT_EQ(fabric.tiers.front().worst_oversubscription, 2.0);
  EXPECT_EQ(fabric.tiers.front().global.base(), 2 * 100e9);
  EXPECT_EQ(fabric.tiers.front().sideways.base(), 4 * 50e9);
}

TEST(Bisection, OfASuperPodUnitIsHalfOfItsNics) {
  EXPECT_EQ(bisection_bandwidth(superpod_unit()).base(), 128 * 50e9);
}

TEST(Bisection, OfATorusIsItsCrossSection) {
  // The halves 0-31 and 32-63 meet in two planes of 4 x 4 links (rings wrap).
  EXPECT_EQ(bisection_bandwidth(torus({4, 4, 4})).base(), 2 * 16 * 50e9);
}

TEST(Cut, BetweenTwoNodesIsTheirNics) {
  const Topology topology = superpod_unit();
  std::vector<int> a(8);
  std::vector<int> b(16);
  std::iota(a.begin(), a.end(), 0);
  std::iota(b.begin(), b.end(), 64);
  EXPECT_EQ(cut_bandwidth(topology, a, b).base(), 8 * 50e9);
  EXPECT_EQ(cut_bandwidth(topology, b, a).base(), 8 * 50e9);
  EXPECT_THROW(cut_bandwidth(topology, a, a), std::invalid_argument);
  EXPECT_EQ(cut_bandwidth(topology, a, {}).base(), 0.0);
}

/// The smallest cut by trying every way to deal out the vertices that are on neither side.
double smallest_cut(const Topology& topology, const std::vector<VertexId>& from,
                    const std::vector<VertexId>& to) {
  std::vector<int> side(topology.vertices().size(), -1);
  for (const VertexId v : from) side[static_cast<std::size_t>(v)] = 1;
  for (const VertexId v : to) side[static_cast<std::size_t>(v)] = 0;
  std::vector<std::size_t> open;
  for (std::size_t v = 0; v < side.size(); ++v) {
    if (side[v] < 0) open.push_back(v);
  }
  double least = 1e300;
  for (std::size_t deal = 0; deal < (std::size_t{1} << open.size()); ++deal) {
    for (std::size_t i = 0; i < open.size(); ++i) side[open[i]] = static_cast<int>(deal >> i & 1);
    double cut = 0.0;
    for (const Link& link : topology.links()) {
      if (side[static_cast<std::size_t>(link.from)] == 1 && side[static_cast<std::size_t>(link.to)] == 0)
        cut += link.bandwidth.base();
    }
    least = std::min(least, cut);
  }
  return least;
}

TEST(Cut, OfRandomGraphsIsTheSmallestOfAllCuts) {
  std::mt19937 random(11);
  const auto pick = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random);
  };
  for (int round = 0; round < 200; ++round) {
    Topology topology;
    const int vertices = pick(4, 12);
    for (int v = 0; v < vertices; ++v) {
      topology.add_vertex(v < 4 ? VertexKind::gpu : VertexKind::leaf, v, test::numbered("v", v));
    }
    for (int links = pick(vertices, 4 * vertices); links-- > 0;) {
      const int a = pick(0, vertices - 1);
      const int b = pick(0, vertices - 1);
      if (a != b) topology.add_link(a, b, BytesPerSecond(pick(1, 9)), Seconds());
    }
    const std::vector<int> low = {0, 1};
    const std::vector<int> high = {2, 3};
    EXPECT_EQ(cut_bandwidth(topology, low, high).base(), smallest_cut(topology, {0, 1}, {2, 3}))
        << "round " << round;
  }
}

TEST(SingleFailures, NameWhatCostsMostFirst) {
  const std::vector<SingleFailure> failures = single_failures(superpod_unit());
  std::map<std::string, SingleFailure> by_kind;
  for (const SingleFailure& each : failures) by_kind[each.component] = each;
  ASSERT_EQ(by_kind.size(), 5u);
  // A leaf takes its rail: 32 GPUs, and 16 of the 128 NICs of either half.
  EXPECT_EQ(failures.front().component, "leaf");
  EXPECT_EQ(failures.front().gpus_cut_off, 32);
  EXPECT_EQ(failures.front().bisection_left.base(), 112 * 50e9);
  EXPECT_EQ(by_kind.at("NIC").gpus_cut_off, 1);
  EXPECT_EQ(by_kind.at("NIC").bisection_left.base(), 127 * 50e9);
  EXPECT_EQ(by_kind.at("NIC-leaf cable").there_are, 256);
  // Halves share every leaf, so the bisection does not need the spines.
  EXPECT_EQ(by_kind.at("spine").gpus_cut_off, 0);
  EXPECT_EQ(by_kind.at("spine").bisection_left.base(), 128 * 50e9);
  EXPECT_EQ(by_kind.at("leaf-spine cable").there_are, 256);
}

TEST(SingleFailures, OfALeafSendItsGpusOverOtherNicsOfTheirNodes) {
  Topology topology = rails(8, 4, 8, 2, 2);
  test::bridge_hosts(topology);
  const std::vector<SingleFailure> failures = single_failures(topology);
  for (const SingleFailure& each : failures) EXPECT_EQ(each.gpus_cut_off, 0) << each.component;
  EXPECT_EQ(failures.front().component, "leaf");  // 8 of the 32 NICs, one of each node
  EXPECT_EQ(failures.front().gpus_detoured, 8);
  EXPECT_EQ(failures.front().bisection_left.base(), 12 * 50e9);
  // As the route says.
  topology.fail_vertex(topology.find("leaf0"));
  EXPECT_EQ(count_hops(topology).unreachable, 0);
}

TEST(SingleFailures, OfTheOnlySpineCutNobodyOffWhereRailsReachAll) {
  // Four nodes on four rails below one spine: without it a GPU is on its rail alone, but PXN, or another NIC
  // of the receiver's node, keeps messages on it.
  Topology topology = rails(4, 4, 4, 1, 4);
  const auto of_spine = [&] {
    for (const SingleFailure& each : single_failures(topology)) {
      if (each.component == "spine") return each;
    }
    return SingleFailure{};
  };
  EXPECT_EQ(of_spine().gpus_cut_off, 16);  // 4 of 16 are left
  topology.set_pxn(true);
  EXPECT_EQ(of_spine().gpus_cut_off, 0);
  EXPECT_EQ(of_spine().gpus_detoured, 0);
  topology.set_pxn(false);
  test::bridge_hosts(topology);
  EXPECT_EQ(of_spine().gpus_cut_off, 0);
  EXPECT_EQ(of_spine().gpus_detoured, 16);
  topology.fail_vertex(topology.find("spine0"));
  EXPECT_EQ(count_hops(topology).unreachable, 0);
}

TEST(SingleFailures, OfALeafCutNobodyOffUnderPxn) {
  Topology topology = superpod_unit();
  topology.set_pxn(true);
  for (const SingleFailure& each : single_failures(topology))
    EXPECT_EQ(each.gpus_cut_off, 0) << each.component;
}

TEST(SingleFailures, OfASpineTakeItsShareWhereHalvesMeetThere) {
  // 8 nodes below 2 groups of leaves, non-blocking: 32 NICs on either side, 4 spines.
  const std::vector<SingleFailure> failures = single_failures(rails(8, 4, 4, 4, 1));
  std::map<std::string, double> left;
  for (const SingleFailure& each : failures) left[each.component] = each.bisection_left.base();
  EXPECT_EQ(left.at("spine"), 0.75 * 16 * 50e9);
  EXPECT_EQ(left.at("leaf-spine cable"), 15 * 50e9);
}

}  // namespace
}  // namespace orrery
