// What must hold of any traffic on any fabric, whatever the numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "sim/engine/fluid_traffic.hpp"
#include "sim/engine/link_capacity.hpp"
#include "sim/engine/ring_steps.hpp"
#include "tests/properties/fluid/leaf_spine.hpp"
#include "tests/properties/fluid/random_fabric.hpp"

namespace orrery {
namespace {

// Sums of up to a hundred doubles.
constexpr double kRoundOff = 1e-9;

TrafficTimes run(const Topology& topology, const std::vector<TrafficFlow>& flows, double tolerance = 0.0) {
  TrafficOptions options;
  options.fluid.tolerance = tolerance;
  FluidTraffic traffic(topology, options);
  for (const TrafficFlow& flow : flows) traffic.add(flow);
  return traffic.run();
}

TEST(FluidLaws, NoLinkAndNoCutCarriesMoreThanItCanAndNothingIsLost) {
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    const Topology topology = testing::random_fabric(seed);
    const std::vector<TrafficFlow> flows = testing::random_flows(topology, seed);
    for (const double tolerance : {0.0, 0.002}) {
      const TrafficTimes times = run(topology, flows, tolerance);
      ASSERT_FALSE(times.links.empty()) << "seed " << seed;
      std::map<VertexId, double> balance;  // bytes in less bytes out
      std::map<int, std::pair<double, double>>
          cut;  // of each node: bytes out of it, capacity of what leads out
      for (const LinkTraffic& each : times.links) {
        const Link& link = topology.links()[static_cast<size_t>(each.link)];
        EXPECT_LE(each.bytes, each.capacity * times.span_s * (1 + kRoundOff)) << "seed " << seed;
        EXPECT_LE(each.mean_use, 1 + kRoundOff) << "seed " << seed;
        EXPECT_LE(each.busy_s, times.span_s * (1 + kRoundOff)) << "seed " << seed;
        balance[link.to] += each.bytes;
        balance[link.from] -= each.bytes;
        const int node = topology.vertices()[static_cast<size_t>(link.from)].node;
        if (node >= 0 && topology.vertices()[static_cast<size_t>(link.to)].node != node)
          cut[node].first += each.bytes;
      }
      const std::vector<double> capacities = link_capacities(topology);
      for (size_t i = 0; i < capacities.size(); ++i) {
        const Link& link = topology.links()[i];
        const int node = topology.vertices()[static_cast<size_t>(link.from)].node;
        if (node >= 0 && topology.vertices()[static_cast<size_t>(link.to)].node != node) {
          cut[node].second += capacities[i];
        }
      }
      for (const auto& [node, bytes] : cut)
        EXPECT_LE(bytes.first, bytes.second * times.span_s * (1 + kRoundOff));
      double total = 0.0;
      for (const TrafficFlow& flow : flows) {
        balance[flow.from] += flow.bytes.base();
        balance[flow.to] -= flow.bytes.base();
        total += flow.bytes.base();
      }
      for (const auto& [vertex, left] : balance) {
        EXPECT_NEAR(left / total, 0.0, kRoundOff)
            << "seed " << seed << ", " << topology.vertices()[static_cast<size_t>(vertex)].id;
      }
    }
  }
}

TEST(FluidLaws, TheSameTrafficGivesTheSameNumbers) {
  for (const std::uint32_t seed : {3U, 4U, 5U, 6U}) {
    const Topology topology = testing::random_fabric(seed);
    const std::vector<TrafficFlow> flows = testing::random_flows(topology, seed);
    EXPECT_EQ(run(topology, flows).completion_s, run(topology, flows).completion_s);
  }
}

TEST(FluidLaws, HalvingAUsedLinkNeverSpeedsACollective) {
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    Topology topology = testing::random_fabric(seed);
    topology.set_routing(Routing::fixed);  // a hash that moves with the links is another experiment
    RingCollective ring;
    ring.gpus.resize(static_cast<size_t>(topology.gpu_count()));
    std::iota(ring.gpus.begin(), ring.gpus.end(), 0);
    ring.payload = Bytes(8e6);
    ring.alpha = microseconds(1);
    const double before = simulate_rings(topology, std::span(&ring, 1)).time.base();
    testing::Draws draws(seed);
    for (int trial = 0; trial < 3; ++trial) {
      const int from = draws.below(topology.gpu_count());
      const std::vector<LinkId> route = topology.route(from, (from + 1) % topology.gpu_count());
      const LinkId link = route[static_cast<size_t>(draws.below(static_cast<int>(route.size())))];
      const BytesPerSecond rate = topology.links()[static_cast<size_t>(link)].bandwidth;
      topology.set_bandwidth(link, rate / 2.0);
      EXPECT_GE(simulate_rings(topology, std::span(&ring, 1)).time.base(), before * (1 - kRoundOff))
          << "seed " << seed;
      topology.set_bandwidth(link, rate);
    }
  }
}

TEST(FluidLaws, ARingNeverBeatsItsSlowestLink) {
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    const Topology topology = testing::random_fabric(seed);
    RingCollective ring;
    ring.gpus.resize(static_cast<size_t>(topology.gpu_count()));
    std::iota(ring.gpus.begin(), ring.gpus.end(), 0);
    ring.payload = Bytes(16e6);
    const double n = topology.gpu_count();
    // Whatever a link carries of the ring, each edge's 2(n-1)/n payloads take their time on it.
    const std::vector<double> capacities = link_capacities(topology);
    std::vector<double> load(capacities.size(), 0.0);
    for (int rank = 0; rank < topology.gpu_count(); ++rank) {
      const int next = (rank + 1) % topology.gpu_count();
      for (const RouteLink& each : topology.spread(topology.gpu(rank), topology.gpu(next), 0)) {
        load[static_cast<size_t>(each.link)] += each.share * 2.0 * (n - 1) / n * 16e6;
      }
    }
    double bound = 0.0;
    for (size_t i = 0; i < load.size(); ++i) bound = std::max(bound, load[i] / capacities[i]);
    for (const int pieces : {1, 3}) {
      ring.pieces = pieces;
      EXPECT_GE(simulate_rings(topology, std::span(&ring, 1)).time.base(), bound * (1 - kRoundOff)) << seed;
      EXPECT_GE(fluid_rings(topology, std::span(&ring, 1)).time.base(), bound * (1 - kRoundOff)) << seed;
    }
  }
}

std::vector<TrafficFlow> shift(const Topology& topology, int by, double size) {
  std::vector<TrafficFlow> flows;
  const int hosts = topology.gpu_count();
  for (int from = 0; from < hosts; ++from) {
    flows.push_back({topology.gpu(from), topology.gpu((from + by) % hosts), Bytes(size), Seconds(0)});
  }
  return flows;
}

TEST(FluidLaws, SymmetricSendersFinishTogether) {
  for (const int spines : {1, 3, 8}) {
    Topology topology = testing::leaf_spine({.leaves = 4, .hosts_per_leaf = 8, .spines = spines});
    topology.set_routing(Routing::adaptive);
    const std::vector<double> times = run(topology, shift(topology, 8, 1e6)).completion_s;
    const auto [least, most] = std::minmax_element(times.begin(), times.end());
    EXPECT_NEAR(*most / *least, 1.0, kRoundOff);
    // 8 hosts of a leaf over so many uplinks: 8 MB over them, or 1 MB over the host's own link; 8 us of
    // wires.
    EXPECT_NEAR(*most, 8e-6 + std::max(1e6, 8e6 / spines) / 50e9, 1e-12);
  }
}

TEST(FluidLaws, ALostSpineCostsWhatTheOthersMustCarry) {
  // Eight hosts a leaf under k <= 4 spines: the uplinks bind from start to end, so a spine less takes k/(k-1)
  // times as long, wires apart.
  for (const int spines : {2, 3, 4}) {
    Topology topology = testing::leaf_spine({.leaves = 8, .hosts_per_leaf = 8, .spines = spines});
    topology.set_routing(Routing::adaptive);
    std::vector<TrafficFlow> flows;
    for (int from = 0; from < 64; ++from) {
      for (int to = 0; to < 64; ++to) {
        if (from / 8 != to / 8)
          flows.push_back({topology.gpu(from), topology.gpu(to), Bytes(1e6), Seconds(0)});
      }
    }
    const double before = run(topology, flows).span_s - 8e-6;
    topology.fail_vertex(topology.find("spine0"));
    const double after = run(topology, flows).span_s - 8e-6;
    EXPECT_NEAR(after / before, static_cast<double>(spines) / (spines - 1), kRoundOff);
    EXPECT_NEAR(before, 8 * 56 * 1e6 / (spines * 50e9), 1e-12);
  }
}

TEST(FluidLaws, HashedPathsCollideAndAdaptiveRoutingRemovesIt) {
  Topology topology = testing::leaf_spine({});
  const std::vector<TrafficFlow> flows = shift(topology, 64, 10e6);
  std::int64_t collided_draws = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    topology.set_hash_seed(seed);
    if (run(topology, flows).collisions > 0) ++collided_draws;
  }
  // A leaf's eight flows find eight different spines with a chance of 8!/8^8 = 0.24 %; 16 leaves never.
  EXPECT_EQ(collided_draws, 20);
  topology.set_routing(Routing::adaptive);
  const TrafficTimes sprayed = run(topology, flows);
  EXPECT_EQ(sprayed.collisions, 0);
  for (const double each : sprayed.completion_s) EXPECT_NEAR(each, 8e-6 + 10e6 / 50e9, 1e-12);
}

}  // namespace
}  // namespace orrery
