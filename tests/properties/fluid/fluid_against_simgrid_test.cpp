// The fluid network against SimGrid's max-min solver: another program's answer to the same question.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "sim/engine/child_process.hpp"
#include "sim/engine/fluid_network.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/simgrid_platform.hpp"

namespace orrery {
namespace {

struct Case {
  std::vector<double> capacity;
  std::vector<std::vector<FluidLoad>> loads;  // by flow, links rising
  std::vector<double> bound, bytes, start;
};

Case random_case(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto uniform = [&random](double from, double to) {
    return from + (to - from) * static_cast<double>(random()) * 0x1p-32;
  };
  const auto below = [&random](std::uint32_t count) { return random() % count; };
  // SimGrid counts how often a route lists a link: shares in whole numbers.
  constexpr double kWeights[] = {1.0, 1.0, 1.0, 0.5, 0.25, 2.0, 0.75};
  Case made;
  const std::uint32_t links = 1 + below(9);
  for (std::uint32_t i = 0; i < links; ++i) made.capacity.push_back(uniform(1e9, 50e9));
  const std::uint32_t flows = 2 + below(24);
  for (std::uint32_t i = 0; i < flows; ++i) {
    std::vector<FluidLoad>& loads = made.loads.emplace_back();
    for (std::uint32_t link = 0; link < links; ++link) {
      if (below(3) == 0) loads.push_back({static_cast<std::int32_t>(link), kWeights[below(7)]});
    }
    if (loads.empty()) loads.push_back({static_cast<std::int32_t>(below(links)), 1.0});
    // SharedResources leaves out links with one user: a flow's bound must keep to them by itself.
    double bound = uniform(0.5e9, 60e9);
    for (const FluidLoad& load : loads) {
      bound = std::min(bound, made.capacity[static_cast<size_t>(load.link)] / load.weight);
    }
    made.bound.push_back(bound);
    made.bytes.push_back(std::floor(uniform(1e6, 1e9)));
    made.start.push_back(below(2) == 0 ? 0.0 : uniform(0.0, 0.05));
  }
  return made;
}

std::vector<double> simgrid_ends(const Case& made) {
  return doubles_from_child([&made] {
    std::vector<std::vector<LinkLoad>> footprints;
    for (const auto& loads : made.loads) {
      auto& footprint = footprints.emplace_back();
      for (const FluidLoad& load : loads) footprint.push_back({load.link, load.weight});
    }
    const SharedResources resources(footprints, made.capacity);
    SimgridPlatform platform(resources, made.bound, *std::max_element(made.bytes.begin(), made.bytes.end()));
    std::vector<double> ends(made.loads.size(), 0.0);
    platform.on_flow_end([&](std::int32_t flow, std::span<const LostTime>) {
      ends[static_cast<size_t>(flow)] = platform.now();
    });
    for (size_t i = 0; i < made.loads.size(); ++i) {
      const auto flow = static_cast<std::int32_t>(i);
      if (resources.shares_of(flow).empty()) {  // it shares no link: its bound is its rate
        ends[i] = made.start[i] + made.bytes[i] / made.bound[i];
        continue;
      }
      const FlowPlatform::Start start{flow, flow, made.bytes[i], made.bound[i],
                                      resources.binding_shares_of(flow)};
      if (made.start[i] == 0.0) {
        platform.start_flow(start);
      } else {
        platform.set_timer(made.start[i], [&platform, start] { platform.start_flow(start); });
      }
    }
    platform.run();
    return ends;
  });
}

std::vector<double> fluid_ends(const Case& made) {
  FluidNetwork network(made.capacity);
  std::vector<size_t> order(made.loads.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    network.add_class(made.loads[i], made.bound[i]);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return made.start[a] < made.start[b]; });
  std::vector<double> ends(made.loads.size(), 0.0);
  std::vector<std::int64_t> ended;
  for (size_t next = 0; next < order.size() || network.live() > 0;) {
    const double start =
        next < order.size() ? made.start[order[next]] : std::numeric_limits<double>::infinity();
    const double now = std::min(start, network.next_time());
    ended.clear();
    network.advance(now, ended);
    for (const std::int64_t flow : ended) ends[static_cast<size_t>(flow)] = now;
    for (; next < order.size() && made.start[order[next]] <= now; ++next) {
      network.start(static_cast<std::int32_t>(order[next]), made.bytes[order[next]],
                    static_cast<std::int64_t>(order[next]));
    }
  }
  return ends;
}

TEST(FluidAgainstSimGrid, TheSameEndsOnAHundredRandomNetworks) {
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    const Case made = random_case(seed);
    const std::vector<double> expected = simgrid_ends(made);
    const std::vector<double> found = fluid_ends(made);
    for (size_t i = 0; i < expected.size(); ++i) {
      // SimGrid merges events within 1e-11 s and takes a link as full within 1e-10 of its capacity.
      EXPECT_NEAR(found[i] / expected[i], 1.0, 1e-6) << "seed " << seed << ", flow " << i;
    }
  }
}

}  // namespace
}  // namespace orrery
