#include <gtest/gtest.h>
#include <sys/resource.h>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::concurrent;
using testing::link_between;
using testing::segment;
using testing::segment_task;
using testing::SmallFabric;

TEST(OneLink, TakesLatencyPlusSizeOverBandwidth) {
  // 1 GB at 50 GB/s behind 5 us: 20.005 ms.
  const Topology topology = SmallFabric{}.build();
  const auto graph = concurrent({communication(CollectiveOp::send_receive, 1e9, 5e-6, 1e9 / 50e9, {{0, 1}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 20.005e-3, 1e-9 * 20e-3);
  EXPECT_FALSE(timeline.contended);
}

TEST(OneLink, SlowerThanTheClosedFormThoughtTakesItsOwnTime) {
  // The closed form says 100 GB/s, the NIC carries 50: 5 us + 20 ms, and the report says so.
  const Topology topology = SmallFabric{}.build();
  const auto graph =
      concurrent({communication(CollectiveOp::send_receive, 1e9, 5e-6, 1e9 / 100e9, {{0, 1}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 20.005e-3, 1e-9 * 20e-3);
  EXPECT_TRUE(timeline.contended);
}

TEST(OneLink, PayloadEfficiencyTakesItsShareOfTheCablesOfTheFabric) {
  // 0.8 of 50 GB/s: 1 GB takes 25 ms where the closed form promised 20.
  Topology topology = SmallFabric{}.build();
  topology.set_payload_efficiency(0.8);
  const auto graph = concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 1e9 / 50e9, {{0, 1}})});
  EXPECT_NEAR(run_simgrid(graph, topology).end_s[0], 25e-3, 1e-9 * 25e-3);
}

TEST(Sharing, TwoFlowsOutOfOneNicGetHalfEach) {
  // GPU 0 sends 1 GB to GPU 1 and to GPU 2: 25 GB/s each, 40 ms.
  const Topology topology = SmallFabric{.nodes = 3}.build();
  const auto graph = concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 1}}),
                                 communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 2}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 40e-3, 1e-9 * 40e-3);
  EXPECT_NEAR(timeline.end_s[1], 40e-3, 1e-9 * 40e-3);
  EXPECT_TRUE(timeline.contended);
}

TEST(Sharing, AFlowThatComesLaterTakesHalfOfWhatIsLeft) {
  // A (1 GB) runs alone for 10 ms: 0.5 GB left. Then B (1 GB): A ends at 10 + 0.5/25 = 30 ms, B has 0.5 GB
  // left and ends 10 ms later.
  const Topology topology = SmallFabric{.nodes = 3}.build();
  const auto graph = concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 1}}),
                                 communication(CollectiveOp::send_receive, 1e9, 10e-3, 20e-3, {{0, 2}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 30e-3, 1e-9 * 30e-3);
  EXPECT_NEAR(timeline.end_s[1], 40e-3, 1e-9 * 40e-3);
}

TEST(Sharing, BackToBackFlowsDoNotMeet) {
  // The second starts in the instant in which the first ends; 0.1 + 0.2 is not 0.3 in binary, and must not
  // matter.
  WorkloadGraphBuilder builder(2);
  const auto first =
      builder.add_communication(communication(CollectiveOp::send_receive, 1e9, 0.1, 0.2, {{0, 1}}));
  const auto wait = builder.add_segment(segment(0.3));
  const auto second =
      builder.add_communication(communication(CollectiveOp::send_receive, 1e9, 0.0, 0.02, {{0, 1}}));
  builder.add_task(communication_task(0, first));
  const auto waiting = builder.add_task(segment_task(1, wait));
  builder.depend(builder.add_task(communication_task(1, second)), waiting);
  const StepTimeline timeline = run_simgrid(builder.finish(), SmallFabric{}.build());
  EXPECT_NEAR(timeline.end_s[2], 0.32, 1e-12);
  EXPECT_FALSE(timeline.contended);
}

TEST(Sharing, AFlowListedThreeTimesOnALinkCountsThreeTimes) {
  // A stands for three twins, B is alone; all four cross one 1 GB/s uplink. 3 rA + rB = 1 GB/s, max-min: rA =
  // rB, so both get 0.25 GB/s and 1 GB takes 4 s.
  const Topology topology = SmallFabric{.nodes = 8, .nodes_a_leaf = 4, .nic = 1e9, .uplink = 1e9}.build();
  const auto graph =
      concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 1.0, {{0, 4}, {1, 5}, {2, 6}}),
                  communication(CollectiveOp::send_receive, 1e9, 0.0, 1.0, {{3, 7}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 4.0, 1e-9 * 4);
  EXPECT_NEAR(timeline.end_s[1], 4.0, 1e-9 * 4);
  // Four times 1 GB crossed it.
  EXPECT_NEAR(timeline.link_bytes[static_cast<size_t>(link_between(topology, "leaf0", "spine0"))], 4e9, 1.0);
}

TEST(Sharing, WhatOneFlowCannotUseIsLeftToTheOther) {
  // Uplink 60 GB/s; A is bound to 10 GB/s by its own transfer time, B takes the remaining 50 and is not held
  // up.
  const Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 55e9}.build();
  const auto graph = concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 100e-3, {{0, 2}}),
                                 communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{1, 3}})});

  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 100e-3, 1e-9 * 100e-3);
  EXPECT_NEAR(timeline.end_s[1], 1.0 / 45.0, 1e-9 * 22e-3);
}

TEST(RingAllReduce, OnAnIdleFabricTakesLatencyPlusTransferExactly) {
  // 4 nodes of 8: payload 1 GB, bus bandwidth 8 NICs x 50 GB/s: 2 x 31/32 GB / 400 GB/s.
  const Topology topology = SmallFabric{.nodes = 4, .gpus = 8, .nics = 8}.build();
  std::vector<int> ring;
  for (int gpu = 0; gpu < 32; ++gpu) {
    ring.push_back(gpu);
  }
  const double transfer = 2.0 * 31.0 / 32.0 * 1e9 / 400e9;
  const auto graph = concurrent({communication(CollectiveOp::all_reduce, 1e9, 100e-6, transfer, {ring})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_EQ(timeline.end_s[0], 100e-6 + transfer);
  EXPECT_FALSE(timeline.contended);
  EXPECT_EQ(timeline.end_s, run_contention_free(graph).end_s);
}

TEST(RingAllReduce, LoadsEveryNicWithItsShareAndNvlinkWithAllOfIt) {
  // 2 (n-1)/n of 1.6 GB for n = 16 is 3 GB on the ring: an eighth of it out of each NIC, all of it on NVLink.
  const Topology topology = SmallFabric{.nodes = 2, .gpus = 8, .nics = 8}.build();
  std::vector<int> ring;
  for (int gpu = 0; gpu < 16; ++gpu) {
    ring.push_back(gpu);
  }
  const auto graph = concurrent({communication(CollectiveOp::all_reduce, 1.6e9, 0.0, 3.0 / 400.0, {ring})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  const auto bytes_on = [&](const char* from, const char* to) {
    return timeline.link_bytes[static_cast<size_t>(link_between(topology, from, to))];
  };
  EXPECT_NEAR(bytes_on("node0/nic3", "leaf0"), 3e9 / 8, 1.0);
  EXPECT_NEAR(bytes_on("leaf1", "node1/nic7"), 3e9 / 8, 1.0);
  EXPECT_NEAR(bytes_on("node0/gpu5", "node0/nvswitch"), 3e9, 1.0);
  EXPECT_NEAR(bytes_on("leaf0", "spine0"), 3e9, 1.0);
}

TEST(TreeAllReduce, SendsHalfOfTheDataOutOfEachOfTwoNodesTwice) {
  // Two nodes of eight: a tree sends the 1 GB once out of each node (reduce one half there, spread the
  // other), where rings send 2 x 15/16 GB. So a tree's bus bandwidth of 467 GB/s over 8 x 50 GB/s is no
  // contradiction.
  const Topology topology = SmallFabric{.nodes = 2, .gpus = 8, .nics = 8, .nvlink = 500e9}.build();
  std::vector<int> ring;
  for (int gpu = 0; gpu < 16; ++gpu) {
    ring.push_back(gpu);
  }
  const double transfer = 2.0 * 15.0 / 16.0 * 1e9 / 467e9;
  Communication tree = communication(CollectiveOp::all_reduce, 1e9, 0.0, transfer, {ring});
  tree.algorithm = "tree";
  const StepTimeline timeline = run_simgrid(concurrent({tree}), topology);
  EXPECT_EQ(timeline.end_s[0], transfer);
  EXPECT_NEAR(timeline.link_bytes[static_cast<size_t>(link_between(topology, "leaf0", "spine0"))], 1e9, 1.0);
}

TEST(AllToAll, SendsAnEqualShareToEachOther) {
  // Four nodes of one GPU, payload 4 GB: 1 GB to each of three others, 3 GB out of each NIC at 50 GB/s = 60
  // ms.
  const Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 50e9}.build();
  const auto graph = concurrent({communication(CollectiveOp::all_to_all, 4e9, 0.0, 60e-3, {{0, 1, 2, 3}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  // Two GPUs of a leaf send 1 GB to each of the two GPUs of the other: 4 GB over a 50 GB/s uplink = 80 ms.
  EXPECT_NEAR(timeline.end_s[0], 80e-3, 1e-9 * 80e-3);
  EXPECT_NEAR(timeline.link_bytes[static_cast<size_t>(link_between(topology, "leaf0", "spine0"))], 4e9, 4.0);
  EXPECT_NEAR(timeline.link_bytes[static_cast<size_t>(link_between(topology, "node0/nic0", "leaf0"))], 3e9,
              3.0);
}

TEST(Broadcast, DoesNotCloseTheRing) {
  const Topology topology = SmallFabric{.nodes = 3}.build();
  const auto graph = concurrent({communication(CollectiveOp::broadcast, 1e9, 0.0, 20e-3, {{0, 1, 2}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  const auto out_of = [&](const std::string& node, const std::string& leaf) {
    return timeline.link_bytes[static_cast<size_t>(link_between(topology, node + "/nic0", leaf))];
  };
  EXPECT_EQ(out_of("node0", "leaf0"), 1e9);
  EXPECT_EQ(out_of("node1", "leaf1"), 1e9);
  EXPECT_EQ(out_of("node2", "leaf2"), 0.0);
}

TEST(Uplink, TwoGroupsOverOneOversubscribedUplinkTakeTheHandComputedTime) {
  // Two leaves of two nodes; ring {0, 2} and ring {1, 3} both cross a 50 GB/s uplink each way. All-reduce
  // over two ranks: the wire bytes are the payload, 1 GB. Together 2 GB over 50 GB/s: 40 ms instead of 20.
  const Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 50e9}.build();
  const auto graph = concurrent({communication(CollectiveOp::all_reduce, 1e9, 10e-6, 20e-3, {{0, 2}}),
                                 communication(CollectiveOp::all_reduce, 1e9, 10e-6, 20e-3, {{1, 3}})});
  const StepTimeline timeline = run_simgrid(graph, topology);
  EXPECT_NEAR(timeline.end_s[0], 40.01e-3, 1e-9 * 40e-3);
  EXPECT_NEAR(timeline.end_s[1], 40.01e-3, 1e-9 * 40e-3);
  EXPECT_TRUE(timeline.contended);
}

TEST(SlowLink, OfOneTwinHoldsAllTwinsBack) {
  // The fourth node's NIC runs at a fifth: the simulated group {0, 1} waits for its twin {2, 3}.
  Topology topology;
  const VertexId leaf = topology.add_vertex(VertexKind::leaf, -1, "leaf0");
  for (int node = 0; node < 4; ++node) {
    const VertexId nic = topology.add_vertex(VertexKind::nic, node, "nic" + std::to_string(node));
    const VertexId gpu = topology.add_vertex(VertexKind::gpu, node, "gpu" + std::to_string(node));
    topology.add_duplex_link(gpu, nic, BytesPerSecond(1e12), Seconds(0));
    topology.add_duplex_link(nic, leaf, BytesPerSecond(node == 3 ? 10e9 : 50e9), Seconds(0));
  }
  const auto graph =
      concurrent({communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 1}, {2, 3}})});
  EXPECT_NEAR(run_simgrid(graph, topology).end_s[0], 100e-3, 1e-9 * 100e-3);
}

TEST(RunSimgrid, TwiceInOneProcessGivesTheSameBytes) {
  const Topology topology = SmallFabric{.nodes = 4, .nodes_a_leaf = 2, .uplink = 50e9}.build();
  const auto graph = concurrent({communication(CollectiveOp::all_reduce, 1e9, 10e-6, 20e-3, {{0, 2}}),
                                 communication(CollectiveOp::all_reduce, 1.1e9, 10e-6, 22e-3, {{1, 3}})});
  const StepTimeline first = run_simgrid(graph, topology);
  const StepTimeline second = run_simgrid(graph, topology);
  EXPECT_EQ(first.start_s, second.start_s);
  EXPECT_EQ(first.end_s, second.end_s);
  EXPECT_EQ(first.link_bytes, second.link_bytes);
}

/// Pages that child processes have touched so far.
long pages_of_children() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return usage.ru_minflt;
}

TEST(RunSimgrid, StartsNoProcessWhereNothingContends) {
  const Topology topology = SmallFabric{.nodes = 3}.build();
  const Communication to_one = communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 1}});
  const Communication to_other = communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{2, 1}});
  const long before = pages_of_children();
  EXPECT_NEAR(run_simgrid(concurrent({to_one}), topology).end_s[0], 20e-3, 1e-9 * 20e-3);
  EXPECT_EQ(pages_of_children(), before);
  EXPECT_NEAR(run_simgrid(concurrent({to_one, to_other}), topology).end_s[0], 40e-3, 1e-9 * 40e-3);
  EXPECT_GT(pages_of_children(), before);
}

}  // namespace
}  // namespace orrery
