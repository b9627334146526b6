#include "sim/engine/ring_steps.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "tests/properties/fluid/leaf_spine.hpp"

namespace orrery {
namespace {

constexpr double kRingRate = 50e9;  // 400 Gb/s

RingCollective ring_over(int ranks, CollectiveOp op, double payload, double alpha) {
  RingCollective ring;
  ring.op = op;
  ring.gpus.resize(static_cast<size_t>(ranks));
  std::iota(ring.gpus.begin(), ring.gpus.end(), 0);
  ring.payload = Bytes(payload);
  ring.alpha = Seconds(alpha);
  return ring;
}

double steps(const Topology& topology, const RingCollective& ring) {
  return simulate_rings(topology, std::span(&ring, 1)).time.base();
}
double fluid(const Topology& topology, const RingCollective& ring) {
  return fluid_rings(topology, std::span(&ring, 1)).time.base();
}

/// GPUs with a link of their own to every other.
Topology mesh(int gpus, double rate) {
  Topology topology;
  std::vector<VertexId> all;
  for (int i = 0; i < gpus; ++i)
    all.push_back(topology.add_vertex(VertexKind::gpu, 0, "gpu" + std::to_string(i)));
  for (const VertexId a : all) {
    for (const VertexId b : all) {
      if (a != b) topology.add_link(a, b, BytesPerSecond(rate), Seconds(0));
    }
  }
  return topology;
}

TEST(RingSteps, EqualTheClosedFormOnIdleLinks) {
  // 16 ranks on two leaves: two edges cross a spine (4 us of wires), 14 stay under a leaf (2 us). Every step
  // waits for the slowest: 30 (15) steps of alpha + 4 us + 1/16 of 1 GB at 50 GB/s.
  const Topology topology = testing::leaf_spine({.leaves = 2, .hosts_per_leaf = 8, .spines = 8});
  const double step = 3e-6 + 4e-6 + 1e9 / 16 / kRingRate;
  for (const auto& [op, count] :
       {std::pair(CollectiveOp::all_reduce, 30), std::pair(CollectiveOp::all_gather, 15),
        std::pair(CollectiveOp::reduce_scatter, 15)}) {
    const RingCollective ring = ring_over(16, op, 1e9, 3e-6);
    const StepTimes times = simulate_rings(topology, std::span(&ring, 1));
    EXPECT_NEAR(times.time.base() / (count * step), 1.0, 1e-12);  // round-off of 30 additions
    EXPECT_EQ(times.sends, 16 * count);
    EXPECT_EQ(times.contended_sends, 0);
    EXPECT_NEAR(fluid(topology, ring) / (count * step), 1.0, 1e-12);
  }
}

TEST(RingSteps, ASingleRankSendsNothingAndTwoExchange) {
  const Topology topology = testing::leaf_spine({});
  const RingCollective one = ring_over(1, CollectiveOp::all_reduce, 1e6, 1e-6);
  EXPECT_EQ(steps(topology, one), 0.0);
  EXPECT_EQ(fluid(topology, one), 0.0);
  const RingCollective two = ring_over(2, CollectiveOp::all_reduce, 1e6, 1e-6);
  EXPECT_NEAR(steps(topology, two), 2 * (1e-6 + 2e-6 + 0.5e6 / kRingRate), 1e-15);
}

TEST(RingSteps, ADegradedLinkHoldsEveryStepBack) {
  Topology topology = testing::leaf_spine({});
  const LinkId cable = topology.route(3, 4).at(1);  // NIC to leaf
  topology.set_bandwidth(cable, gigabits_per_second(100));
  const RingCollective ring = ring_over(8, CollectiveOp::all_reduce, 8e6, 0.0);
  EXPECT_NEAR(steps(topology, ring), 14 * (2e-6 + 1e6 / (kRingRate / 4)), 1e-12);
}

TEST(RingSteps, TwoRingsOverTheSameLinksTakeTwiceTheBytesTime) {
  const Topology topology = testing::leaf_spine({});
  const std::vector<RingCollective> rings(2, ring_over(8, CollectiveOp::all_reduce, 8e6, 1e-6));
  const StepTimes times = simulate_rings(topology, rings);
  EXPECT_NEAR(times.time.base(), 14 * (3e-6 + 2e6 / kRingRate), 1e-12);
  EXPECT_EQ(times.contended_sends, times.sends);
  EXPECT_EQ(times.ended[0], times.ended[1]);
}

TEST(RingSteps, PiecesNeverBeatTheBandwidthBound) {
  const Topology topology = testing::leaf_spine({});
  for (const int ranks : {2, 3, 8, 12}) {
    // Every rank's bytes must leave it (design, section 3.2).
    const double bound = 2.0 * (ranks - 1) / ranks * 64e6 / kRingRate;
    for (const int pieces : {1, 2, 7, 64}) {
      RingCollective ring = ring_over(ranks, CollectiveOp::all_reduce, 64e6, 0.0);
      ring.pieces = pieces;
      EXPECT_GE(steps(topology, ring), bound * (1 - 1e-12)) << ranks << " ranks, " << pieces << " pieces";
      EXPECT_GE(fluid(topology, ring), bound * (1 - 1e-12)) << ranks << " ranks, " << pieces << " pieces";
    }
  }
  // Without any latency the pieces change nothing at all.
  const Topology direct = mesh(6, 1e9);
  RingCollective ring = ring_over(6, CollectiveOp::all_reduce, 6e6, 0.0);
  for (const int pieces : {1, 4, 100}) {
    ring.pieces = pieces;
    EXPECT_NEAR(steps(direct, ring) / (10 * 1e6 / 1e9), 1.0, 1e-11);
  }
}

TEST(RingSteps, FluidPlusLatencyIsWithinOnePercentOfTheStepsWhereHashedPathsCollide) {
  // Neighbours under different leaves: hashed uplinks carry up to five messages at once.
  const Topology topology = testing::leaf_spine({});
  RingCollective ring = ring_over(128, CollectiveOp::all_reduce, 1e9, 2e-6);
  for (size_t i = 0; i < ring.gpus.size(); ++i) ring.gpus[i] = static_cast<int>(i * 37 % 128);
  const StepTimes exact = simulate_rings(topology, std::span(&ring, 1));
  EXPECT_GT(exact.contended_sends, 0);
  EXPECT_GT(exact.time.base(), 2.0 * 2 * 127 * (6e-6 + 1e9 / 128 / kRingRate));  // some do collide
  EXPECT_NEAR(fluid(topology, ring) / exact.time.base(), 1.0, 0.01);
}

TEST(RingSteps, RefuseWhatIsNoRing) {
  const Topology topology = testing::leaf_spine({});
  for (const CollectiveOp op :
       {CollectiveOp::broadcast, CollectiveOp::all_to_all, CollectiveOp::send_receive}) {
    EXPECT_THROW(steps(topology, ring_over(4, op, 1e6, 0.0)), std::invalid_argument);
  }
  RingCollective ring = ring_over(4, CollectiveOp::all_reduce, 1e6, 0.0);
  ring.pieces = 0;
  EXPECT_THROW(steps(topology, ring), std::invalid_argument);
  EXPECT_THROW(steps(topology, ring_over(4, CollectiveOp::all_reduce, 0.0, 0.0)), std::invalid_argument);
}

TEST(ScheduleSteps, AgreeWithTheScheduleOnLinksOfItsOwn) {
  // The schedules' own executor is another program: it walks the list once, without events.
  const double rate = 1e9, alpha = 4e-6;
  for (const int ranks : {2, 3, 5, 8}) {
    const Topology topology = mesh(ranks, rate);
    std::vector<int> gpus(static_cast<size_t>(ranks));
    std::iota(gpus.begin(), gpus.end(), 0);
    for (const CollectiveSchedule& schedule :
         {ring_all_reduce(Bytes(1e6), ranks), ring_reduce_scatter(Bytes(1e6), ranks),
          ring_all_gather(Bytes(1e6), ranks), ring_broadcast(Bytes(1e6), ranks, 8),
          tree_broadcast(Bytes(1e6), ranks, 8), send_receive(Bytes(1e6), 0, ranks - 1)}) {
      std::vector<int> taking_part(gpus.begin(), gpus.begin() + schedule.ranks);
      const double expected = execute_on_idle_links(schedule, BytesPerSecond(rate), Seconds(alpha)).base();
      const double found = simulate_schedule(topology, schedule, taking_part, Seconds(alpha)).time.base();
      EXPECT_NEAR(found / expected, 1.0, 1e-11) << name_of(schedule.op) << ", " << ranks << " ranks";
    }
  }
}

TEST(ScheduleSteps, TreesOnAFabricKeepTheBandwidthBound) {
  const Topology topology = testing::leaf_spine({});
  std::vector<int> gpus(16);
  std::iota(gpus.begin(), gpus.end(), 0);
  const CollectiveSchedule schedule = double_tree_all_reduce(Bytes(64e6), 16, 32);
  const StepTimes times = simulate_schedule(topology, schedule, gpus, microseconds(1));
  EXPECT_EQ(times.sends, static_cast<std::int64_t>(schedule.transfers.size()));
  // Every rank's buffer leaves and the result comes back (design, section 3.2).
  EXPECT_GE(times.time.base(), 2.0 * 15 / 16 * 64e6 / kRingRate);
  const std::vector<int> fewer(gpus.begin(), gpus.end() - 1);
  EXPECT_THROW(simulate_schedule(topology, schedule, fewer, Seconds(0)), std::invalid_argument);
}

TEST(ScheduleSteps, ARingsScheduleIsTheRing) {
  const Topology topology = testing::leaf_spine({});
  const RingCollective ring = ring_over(24, CollectiveOp::all_reduce, 24e6, 2e-6);
  EXPECT_NEAR(
      simulate_schedule(topology, ring_all_reduce(ring.payload, 24), ring.gpus, ring.alpha).time.base() /
          steps(topology, ring),
      1.0, 1e-12);
}

}  // namespace
}  // namespace orrery
