#include <gtest/gtest.h>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::concurrent;
using testing::link_between;
using testing::SmallFabric;

std::int32_t uneven(const WorkloadGraph& graph, const Topology& topology) {
  const Traffic traffic = traffic_of(graph, topology);
  return first_uneven_communication(graph, topology, traffic, run_max_min(graph, traffic));
}

std::int32_t uneven(const std::vector<Communication>& communications, const Topology& topology) {
  return uneven(concurrent(communications), topology);
}

/// One communication after the other.
WorkloadGraph chained(const std::vector<Communication>& communications) {
  WorkloadGraphBuilder builder(static_cast<int>(communications.size()));
  std::int32_t last = -1;
  for (size_t i = 0; i < communications.size(); ++i) {
    const std::int32_t task = builder.add_task(
        communication_task(static_cast<int>(i), builder.add_communication(communications[i])));
    if (last >= 0) builder.depend(task, last);
    last = task;
  }
  return builder.finish();
}

/// Sends of twins from the first leaf's nodes to the second's, at 50 GB/s alone.
Communication sends(std::vector<std::vector<int>> groups) {
  return communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, std::move(groups));
}

TEST(Twins, AreAlikeWhereAllMeetTheSameNarrowUplink) {
  const Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 50e9}.build();
  EXPECT_EQ(uneven({sends({{0, 2}, {1, 3}})}, topology), -1);
}

TEST(Twins, DifferWhereOneStaysOnItsLeaf) {
  const Topology narrow = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 40e9}.build();
  EXPECT_EQ(uneven({sends({{0, 1}, {2, 0}})}, narrow), 0);
  // On an uplink that carries all of it nobody is held up, wherever the twins are.
  const Topology wide = SmallFabric{.nodes = 4, .nodes_a_leaf = 2}.build();
  EXPECT_EQ(uneven({sends({{0, 1}, {2, 0}})}, wide), -1);
}

TEST(Twins, DifferWhereAnotherCommunicationCrowdsOne) {
  // Both twins have a NIC each; on the first one's another send leaves at the same time.
  const Topology topology = SmallFabric{.nodes = 4}.build();
  EXPECT_EQ(uneven({sends({{0, 2}, {1, 3}}), sends({{0, 1}})}, topology), 0);
  EXPECT_EQ(uneven({sends({{0, 2}, {1, 3}}), sends({{0, 1}, {1, 0}})}, topology), -1);
}

TEST(Twins, AreAlikeWhereTheOtherComesLater) {
  // The same sends, one after the other: the NIC that both use is never full.
  const Topology topology = SmallFabric{.nodes = 4}.build();
  EXPECT_EQ(uneven(chained({sends({{0, 2}, {1, 3}}), sends({{0, 1}})}), topology), -1);
}

TEST(Twins, DifferByWhatTheyCouldGainOfTheStep) {
  // The second twin's cable carries 40 of 50 GB/s: the first could be a fifth of its 25 ms faster. That is
  // more than a thousandth of a step of seconds, and less of a longer one.
  Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2}.build();
  topology.set_bandwidth(link_between(topology, "node1/nic0", "leaf0"), BytesPerSecond(40e9));
  const auto after_a_pause = [&](double seconds) {
    const Communication pause = communication(CollectiveOp::send_receive, 1.0, seconds, 1e-9, {{2, 3}});
    return chained({pause, sends({{0, 2}, {1, 3}})});
  };
  EXPECT_EQ(uneven(after_a_pause(4.9), topology), 1);
  EXPECT_EQ(uneven(after_a_pause(5.1), topology), -1);
}

TEST(Twins, DifferOnADegradedLink) {
  Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2}.build();
  const Communication both = sends({{0, 2}, {1, 3}});
  EXPECT_EQ(uneven({both}, topology), -1);
  topology.set_bandwidth(link_between(topology, "node1/nic0", "leaf0"), BytesPerSecond(25e9));
  EXPECT_EQ(uneven({both}, topology), 0);
}

TEST(Twins, DifferOnALessCrowdedLinkToo) {
  // Both twins' NICs send for the other communication as well and are asked for twice what they carry. The
  // second twin's way leads over a degraded link that carries 40 of 50 GB/s: nothing while each gets 25, but
  // where the others have ended earlier it holds that twin alone.
  Topology topology = SmallFabric{.nodes = 6, .nic = 50e9}.build();
  const Communication twins = sends({{0, 2}, {1, 3}});
  const Communication others = sends({{0, 4}, {1, 5}});
  const Communication shorter =
      communication(CollectiveOp::send_receive, 0.5e9, 0.0, 10e-3, {{0, 4}, {1, 5}});
  EXPECT_EQ(uneven({twins, shorter}, topology), -1);
  topology.set_bandwidth(link_between(topology, "leaf3", "node3/nic0"), BytesPerSecond(40e9));
  EXPECT_EQ(uneven({twins, others}, topology), -1);
  EXPECT_EQ(uneven({twins, shorter}, topology), 0);
}

TEST(Twins, AreAlikeWhereOneCrossesALinkThatCannotBindBeforeItsNic) {
  // The NICs are asked for 50 + 50 GB/s of 50; the second leaf's cable for the same of 80 is never full
  // first.
  Topology topology = SmallFabric{.nodes = 6, .nic = 50e9}.build();
  topology.set_bandwidth(link_between(topology, "leaf1", "spine0"), BytesPerSecond(80e9));
  EXPECT_EQ(uneven({sends({{0, 2}, {1, 3}}), sends({{0, 4}, {1, 5}})}, topology), -1);
  // At 40 it is.
  topology.set_bandwidth(link_between(topology, "leaf1", "spine0"), BytesPerSecond(40e9));
  EXPECT_EQ(uneven({sends({{0, 2}, {1, 3}}), sends({{0, 4}, {1, 5}})}, topology), 0);
}

TEST(Twins, OfLessThanATenthOfAPercentCount) {
  Topology topology = SmallFabric{.nodes = 4, .nic = 40e9}.build();
  const Communication both = sends({{0, 2}, {1, 3}});
  topology.set_bandwidth(link_between(topology, "node1/nic0", "leaf1"), BytesPerSecond(40e9 * 0.9995));
  EXPECT_EQ(uneven({both}, topology), -1);
  topology.set_bandwidth(link_between(topology, "node1/nic0", "leaf1"), BytesPerSecond(40e9 * 0.998));
  EXPECT_EQ(uneven({both}, topology), 0);
}

}  // namespace
}  // namespace orrery
