// Whom contention is laid to: the link that holds a flow, and the job that is looked at.
#include <gtest/gtest.h>

#include <functional>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::concurrent;
using testing::link_between;
using testing::SmallFabric;

constexpr double kRoundOff = 1e-9;
/// Our own solver lets rates stay for 1e-4 of the time since the last start (max_min_platform.cpp): here up
/// to 140 ms, at two ends.
constexpr double kPutOff = 3e-5;

Communication send(int from, int to, double bytes, double latency = 0.0) {
  return communication(CollectiveOp::send_receive, bytes, latency, bytes / 50e9, {{from, to}});
}

/// Seconds that flows lost to a link.
double held_s(const StepTimeline& timeline, LinkId link) {
  for (const LinkContention& each : timeline.contention) {
    if (each.link == link) return each.held_s;
  }
  return 0.0;
}

/// Runs a graph on both solvers.
void on_both(const WorkloadGraph& graph, const Topology& topology, std::int64_t observed,
             const std::function<void(const StepTimeline&)>& check) {
  const Traffic traffic = traffic_of(graph, topology);
  check(run_simgrid(graph, traffic, observed));
  check(run_max_min(graph, traffic, observed));
}

TEST(Contention, IsLaidToTheLinkThatHoldsAFlowNotToTheOneAskedForMost) {
  // Node 0 sends to nodes 1, 2 and 3, each at up to 50 GB/s: its NIC of 50 is asked for three times what it
  // carries. But the receivers' cables carry 30, 5 and 5, so that it is never full: 3 GB take 100 ms where
  // they alone took 60, 1 GB takes 200 ms instead of 20.
  Topology topology = SmallFabric{.nodes = 4}.build();
  const auto narrow = [&topology](const std::string& node, const std::string& leaf, double rate) {
    const LinkId cable = link_between(topology, leaf, node + "/nic0");
    topology.set_bandwidth(cable, BytesPerSecond(rate));
    return cable;
  };
  const LinkId to_1 = narrow("node1", "leaf1", 30e9);
  const LinkId to_2 = narrow("node2", "leaf2", 5e9);
  const LinkId to_3 = narrow("node3", "leaf3", 5e9);
  const LinkId out = link_between(topology, "node0/nic0", "leaf0");
  const WorkloadGraph graph = concurrent({send(0, 1, 3e9), send(0, 2, 1e9), send(0, 3, 1e9)});
  on_both(graph, topology, kAllTasks, [&](const StepTimeline& timeline) {
    EXPECT_NEAR(timeline.end_s[0], 100e-3, kRoundOff);
    EXPECT_NEAR(held_s(timeline, to_1), 40e-3, kRoundOff);
    EXPECT_NEAR(held_s(timeline, to_2), 180e-3, kRoundOff);
    EXPECT_NEAR(held_s(timeline, to_3), 180e-3, kRoundOff);
    EXPECT_EQ(held_s(timeline, out), 0.0);
  });
}

TEST(Contention, IsSharedOutOverTheLinksThatHeldAFlowInTurn) {
  // Nodes 0 and 1 send 2 GB each to node 2, whose cable carries 50 GB/s: 25 each. At 40 ms node 0 begins a
  // second send of 4 GB, to node 3: its NIC then carries 25 + 25, and is full, but slower for nobody. At 80
  // ms both first sends have ended: each lost 40 ms to node 2's cable. Until then the second lost half of 40
  // ms to node 0's NIC; then it has all of it.
  const Topology topology = SmallFabric{.nodes = 4}.build();
  const LinkId in = link_between(topology, "leaf2", "node2/nic0");
  const LinkId out = link_between(topology, "node0/nic0", "leaf0");
  const WorkloadGraph graph = concurrent({send(0, 2, 2e9), send(1, 2, 2e9), send(0, 3, 4e9, 40e-3)});
  on_both(graph, topology, kAllTasks, [&](const StepTimeline& timeline) {
    EXPECT_NEAR(timeline.end_s[2], 140e-3, kPutOff);
    // Which of two full links holds node 0's first send after 40 ms is a matter of taste: both do.
    EXPECT_NEAR(held_s(timeline, in) + held_s(timeline, out), (40 + 40 + 20) * 1e-3, kPutOff);
    EXPECT_GE(held_s(timeline, in), 60e-3 - kPutOff);
    EXPECT_GE(held_s(timeline, out), 20e-3 - kPutOff);
  });
}

TEST(Contention, OfAJobBesideAnotherIsItsOwn) {
  // Both send out of node 0: the first's GB at 25 GB/s takes 40 ms, 20 more than alone, the other's 10 GB go
  // on until 220 ms.
  const Topology topology = SmallFabric{.nodes = 3}.build();
  const LinkId out = link_between(topology, "node0/nic0", "leaf0");
  const WorkloadGraph graph = concurrent({send(0, 1, 1e9), send(0, 2, 10e9)});
  on_both(graph, topology, 1, [&](const StepTimeline& timeline) {
    EXPECT_TRUE(timeline.contended);
    int held = 0;
    for (const LinkContention& each : timeline.contention) {
      EXPECT_LE(each.busy_s, 40e-3 + kRoundOff);
      if (each.held_s == 0.0) continue;
      ++held;
      EXPECT_EQ(each.link, out);
      EXPECT_NEAR(each.held_s, 20e-3, kRoundOff);
      EXPECT_NEAR(each.busy_s, 40e-3, kRoundOff);
      EXPECT_EQ(each.flows, 1);
    }
    EXPECT_EQ(held, 1);
    EXPECT_NEAR(timeline.link_bytes[static_cast<size_t>(out)], 1e9, 1.0);
    EXPECT_NEAR(timeline.end_s[1], 220e-3, kPutOff);
  });
}

TEST(Contention, AmongOthersAloneIsToldApart) {
  // The first job's send has its cables to itself; two of the others meet at node 4.
  const Topology topology = SmallFabric{.nodes = 5}.build();
  const WorkloadGraph graph = concurrent({send(0, 1, 1e9), send(2, 4, 1e9), send(3, 4, 1e9)});
  on_both(graph, topology, 1, [&](const StepTimeline& timeline) {
    EXPECT_FALSE(timeline.contended);
    EXPECT_TRUE(timeline.others_contended);
    for (const LinkContention& each : timeline.contention) EXPECT_EQ(each.held_s, 0.0);
  });
}

}  // namespace
}  // namespace orrery
