#include "sim/engine/fluid_traffic.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/properties/fluid/leaf_spine.hpp"

namespace orrery {
namespace {

constexpr double kRate = 50e9;    // 400 Gb/s
constexpr double kWire = 1e-6;    // s
constexpr double kTight = 1e-12;  // s: round-off

TrafficFlow flow(const Topology& topology, int from, int to, double size, double start = 0.0) {
  return {topology.gpu(from), topology.gpu(to), Bytes(size), Seconds(start)};
}

TEST(FluidTraffic, AFlowAloneTakesRampLatencyBytesAndTheWayBack) {
  Topology topology = testing::leaf_spine({});
  topology.set_payload_efficiency(0.8);
  topology.set_ramp(microseconds(5));
  TrafficOptions options;
  {
    FluidTraffic traffic(topology, options);
    traffic.add(flow(topology, 0, 127, 4e6, 1.0));  // four wires: host, leaf, spine, leaf
    traffic.add(flow(topology, 8, 9, 4e6));         // two wires
    const TrafficTimes times = traffic.run();
    EXPECT_NEAR(times.completion_s[0], 5e-6 + 4 * kWire + 4e6 / (0.8 * kRate) + 4 * kWire, kTight);
    EXPECT_NEAR(times.completion_s[1], 5e-6 + 2 * kWire + 4e6 / (0.8 * kRate) + 2 * kWire, kTight);
    EXPECT_EQ(times.collisions, 0);
    EXPECT_NEAR(times.span_s, 1.0 + times.completion_s[0], 1e-9);
  }
  options.acknowledged = false;
  FluidTraffic traffic(topology, options);
  traffic.add(flow(topology, 0, 127, 4e6));
  EXPECT_NEAR(traffic.run().completion_s[0], 5e-6 + 4 * kWire + 4e6 / (0.8 * kRate), kTight);
}

TEST(FluidTraffic, AnIncastSharesTheReceiversLinkAndSaysWhichLinkBinds) {
  const Topology topology = testing::leaf_spine({});
  FluidTraffic traffic(topology);
  for (const int from : {20, 40, 60, 80}) traffic.add(flow(topology, from, 0, 1e6));
  const TrafficTimes times = traffic.run();
  for (const double each : times.completion_s) EXPECT_NEAR(each, 8 * kWire + 4e6 / kRate, kTight);
  EXPECT_EQ(times.collisions, 4);
  double busy = 0.0;
  LinkId busiest = -1;
  for (const LinkTraffic& link : times.links) {
    EXPECT_LE(link.mean_use, 1.0);
    if (link.busy_s > busy) busiest = link.link;
    busy = std::max(busy, link.busy_s);
  }
  EXPECT_NEAR(busy, 4e6 / kRate, kTight);
  ASSERT_GE(busiest, 0);
  const Link& cable = topology.links()[static_cast<size_t>(busiest)];
  EXPECT_EQ(topology.vertices()[static_cast<size_t>(cable.to)].id, "node0/nic0");
}

TEST(FluidTraffic, SprayedFlowsReachBetweenTwiceTheLossAndNone) {
  Topology topology = testing::leaf_spine({});
  topology.set_routing(Routing::adaptive);
  topology.set_spray_efficiency(0.9);
  FluidTraffic traffic(topology);
  for (int from = 0; from < 64; ++from) traffic.add(flow(topology, from, from + 64, 50e6));
  double slowest = 0.0, fastest = 1.0;
  for (const double each : traffic.run().completion_s) {
    const double reached = 50e6 / kRate / (each - 8 * kWire);
    slowest = std::max(slowest, 1.0 - reached);
    fastest = std::min(fastest, 1.0 - reached);
  }
  // 64 even draws from [0, 0.2]: the outermost lie within 0.03 of the ends with a chance above 0.9999.
  EXPECT_LE(slowest, 0.2);
  EXPECT_GT(slowest, 0.17);
  EXPECT_GE(fastest, -1e-9);
  EXPECT_LT(fastest, 0.03);
}

TEST(FluidTraffic, UsageOverTimeAddsUpToTheBytes) {
  const Topology topology = testing::leaf_spine({});
  TrafficOptions options;
  options.usage_parts = 7;
  FluidTraffic traffic(topology, options);
  traffic.add(flow(topology, 0, 9, 1e6));
  traffic.add(flow(topology, 1, 9, 2e6, 30e-6));
  const TrafficTimes times = traffic.run();
  ASSERT_EQ(times.usage.size(), times.links.size());
  for (size_t i = 0; i < times.links.size(); ++i) {
    double sum = 0.0;
    for (const double use : times.usage[i]) {
      EXPECT_LE(use, 1.0 + 1e-9);
      sum += use;
    }
    EXPECT_NEAR(sum / 7 * times.span_s * times.links[i].capacity / times.links[i].bytes, 1.0, 1e-9);
  }
}

TEST(FluidTraffic, RefusesFlowsThatAreNone) {
  Topology topology = testing::leaf_spine({});
  FluidTraffic traffic(topology);
  EXPECT_THROW(traffic.add(flow(topology, 1, 1, 1e6)), std::invalid_argument);
  EXPECT_THROW(traffic.add(flow(topology, 1, 2, 0.0)), std::invalid_argument);
  EXPECT_THROW(traffic.add(flow(topology, 1, 2, 1.0, -1.0)), std::invalid_argument);
  topology.fail_vertex(topology.find("leaf0"));
  EXPECT_THROW(traffic.add(flow(topology, 0, 9, 1.0)), std::runtime_error);
}

}  // namespace
}  // namespace orrery
