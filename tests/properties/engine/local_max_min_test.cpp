// Rates of flows that come and go on random networks, checked against what makes rates max-min: every flow
// runs at its own bound or has a full link on which nobody is faster (Bertsekas and Gallager, Data Networks,
// section 6.5.2), and no link carries more than its capacity.
#include "sim/engine/local_max_min.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace orrery {
namespace {

struct Network {
  std::vector<double> capacity;
  std::vector<std::vector<ResourceShare>> ways;
  std::vector<double> bound;  // by way
};

Network random_network(std::mt19937_64& random) {
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  Network network;
  const auto links = static_cast<std::int32_t>(4 + random() % 40);
  for (std::int32_t i = 0; i < links; ++i) network.capacity.push_back(1.0 + 9.0 * unit(random));
  const bool alike = random() % 2 == 0;  // many equal rates
  if (alike) network.capacity.assign(network.capacity.size(), 8.0);
  for (int i = 0; i < 60; ++i) {
    std::vector<ResourceShare> way;
    for (std::int32_t link = 0; link < links; ++link) {
      if (random() % static_cast<std::uint64_t>(links) >= 4) continue;
      way.push_back({.resource = link, .weight = alike ? 1.0 : 0.25 + unit(random)});
    }
    if (way.empty()) way.push_back({.resource = 0, .weight = 1.0});
    network.ways.push_back(std::move(way));
    network.bound.push_back(alike ? 4.0 : 0.2 + 5.0 * unit(random));
  }
  return network;
}

using LiveFlow = std::pair<std::int32_t, size_t>;  // with its way

/// @returns what is wrong; empty if nothing is
std::string fault_of(const Network& network, const LocalMaxMin& solver, const std::vector<LiveFlow>& live,
                     double tolerance) {
  std::vector<double> load(network.capacity.size(), 0.0);
  std::vector<double> fastest(network.capacity.size(), 0.0);
  for (const auto& [flow, way] : live) {
    for (const ResourceShare& share : network.ways[way]) {
      const auto link = static_cast<size_t>(share.resource);
      load[link] += share.weight * solver.rate(flow);
      fastest[link] = std::max(fastest[link], solver.rate(flow));
    }
  }
  for (size_t link = 0; link < load.size(); ++link) {
    // Rounding of sums alone.
    if (load[link] > network.capacity[link] * (1.0 + 1e-9))
      return "link " + std::to_string(link) + " overflows";
  }
  for (const auto& [flow, way] : live) {
    const double rate = solver.rate(flow);
    const auto& shares = network.ways[way];
    const bool has_bottleneck = std::any_of(shares.begin(), shares.end(), [&](const ResourceShare& share) {
      const auto link = static_cast<size_t>(share.resource);
      return load[link] >= network.capacity[link] * (1.0 - 1e-6) && rate >= fastest[link] * (1.0 - tolerance);
    });
    if (!has_bottleneck && rate < network.bound[way] * (1.0 - 1e-9)) {
      return "flow " + std::to_string(flow) + " at " + std::to_string(rate) + " has no bottleneck";
    }
  }
  return "";
}

void come_and_go(double tolerance, double allowed) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    std::mt19937_64 random(seed);
    const Network network = random_network(random);
    LocalMaxMin solver(network.capacity, tolerance);
    std::vector<LiveFlow> live;
    for (int step = 0; step < 120; ++step) {
      const auto changes = 1 + random() % 4;
      for (std::uint64_t i = 0; i < changes; ++i) {
        if (!live.empty() && random() % 5 < 2) {
          const auto gone = live.begin() + static_cast<std::ptrdiff_t>(random() % live.size());
          solver.remove(gone->first);
          live.erase(gone);
        } else {
          const auto way = static_cast<size_t>(random() % network.ways.size());
          live.emplace_back(solver.add(network.ways[way], network.bound[way]), way);
        }
      }
      solver.settle();
      ASSERT_EQ(fault_of(network, solver, live, allowed), "") << "seed " << seed << " step " << step;
    }
  }
}

TEST(LocalMaxMin, GivesEveryFlowABottleneck) { come_and_go(1e-12, 1e-9); }

// Two neighbours may each stop at the tolerance, one above and one below.
TEST(LocalMaxMin, StaysWithinItsTolerance) { come_and_go(1e-3, 2e-3); }

TEST(LocalMaxMin, LeavesAloneWhatAChangeDoesNotReach) {
  // 1,000 pairs of flows, each pair on a link of its own: a third flow on one link moves two others.
  std::vector<double> capacity(1000, 1.0);
  std::vector<std::vector<ResourceShare>> ways;
  for (std::int32_t link = 0; link < 1000; ++link) ways.push_back({{.resource = link, .weight = 1.0}});
  LocalMaxMin solver(capacity, 1e-6);
  for (const auto& way : ways) {
    solver.add(way, 1.0);
    solver.add(way, 1.0);
  }
  EXPECT_EQ(solver.settle().size(), 2000U);
  const std::int64_t before = solver.flows_solved();
  const std::int32_t third = solver.add(ways[7], 1.0);
  EXPECT_EQ(solver.settle().size(), 3U);
  EXPECT_DOUBLE_EQ(solver.rate(third), 1.0 / 3.0);
  EXPECT_LE(solver.flows_solved() - before, 4);  // the third alone, then all three
}

}  // namespace
}  // namespace orrery
