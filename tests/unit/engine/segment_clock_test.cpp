#include "sim/engine/segment_clock.hpp"

#include <gtest/gtest.h>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::segment;
using testing::segment_task;
using testing::SmallFabric;

/// Work of `work_s` on rank 0 beside an all-reduce over GPUs 0 and 1 that starts at 2 s and takes 4 s.
WorkloadGraph work_beside_a_reduction(double work_s, double slows,
                                      BreakdownTerm term = BreakdownTerm::backward) {
  WorkloadGraphBuilder builder(2);
  const auto work = builder.add_segment(segment(work_s, term));
  const auto wait = builder.add_segment(segment(2.0));
  Communication reduce = communication(CollectiveOp::all_reduce, 4 * 50e9, 1.0, 3.0, {{0, 1}});
  reduce.slows = slows;
  const auto reduction = builder.add_communication(reduce);
  builder.add_task(segment_task(0, work));
  const auto waiting = builder.add_task(segment_task(1, wait));
  const std::int32_t both[2] = {0, 1};
  builder.depend(builder.add_task(communication_task(0, reduction), both), waiting);
  return builder.finish();
}

void expect_end(const WorkloadGraph& graph, size_t task, double end_s) {
  const Topology topology = SmallFabric{.nodes = 2, .nic = 100e9}.build();
  EXPECT_NEAR(run_contention_free(graph).end_s[task], end_s, 1e-12);
  EXPECT_NEAR(run_simgrid(graph, topology).end_s[task], end_s, 1e-12);
}

TEST(SegmentClock, SlowsAKernelForExactlyAsLongAsBothRun) {
  // At 0.8 of its speed from 2 s to 6 s, 10 s of work do 2 + 3.2 by then and end at 10.8 s (what SimGrid
  // gives for a host that switches speeds: design section 4).
  expect_end(work_beside_a_reduction(10.0, 1.25), 0, 10.8);
}

TEST(SegmentClock, AKernelThatEndsMeanwhileLosesWhatItRanSlowed) {
  // 3 s of work: 2 s alone, the last second takes 1.25 s.
  expect_end(work_beside_a_reduction(3.0, 1.25), 0, 3.25);
  // The edge: work that would end as the reduction starts is not touched.
  expect_end(work_beside_a_reduction(2.0, 1.25), 0, 2.0);
}

TEST(SegmentClock, WhatHoldsNoMultiprocessorsSlowsNothing) {
  expect_end(work_beside_a_reduction(10.0, 1.0), 0, 10.0);
}

TEST(SegmentClock, WaitsForTheHostAreNoKernels) {
  expect_end(work_beside_a_reduction(10.0, 1.25, BreakdownTerm::other), 0, 10.0);
}

TEST(SegmentClock, SlowsTheOtherRanksOfTheGroupAsWell) {
  // Rank 1 computes for 2 s, then for 5 more beside its reduction of 4 s: 3.2 s of work in 4, 1.8 s after.
  WorkloadGraphBuilder builder(2);
  const auto first = builder.add_segment(segment(2.0));
  const auto second = builder.add_segment(segment(5.0));
  Communication reduce = communication(CollectiveOp::all_reduce, 4 * 50e9, 1.0, 3.0, {{0, 1}});
  reduce.slows = 1.25;
  const auto reduction = builder.add_communication(reduce);
  const auto before = builder.add_task(segment_task(1, first));
  const std::int32_t both[2] = {0, 1};
  builder.depend(builder.add_task(communication_task(0, reduction), both), before);
  builder.depend(builder.add_task(segment_task(1, second)), before);
  expect_end(builder.finish(), 2, 2.0 + 4.0 + 1.8);
}

TEST(SegmentClock, OfTwoCommunicationsAtOnceTheLargerSlowingCounts) {
  WorkloadGraphBuilder builder(1);
  const auto work = builder.add_segment(segment(10.0));
  Communication mild = communication(CollectiveOp::all_reduce, 1e9, 4.0, 0.0, {{0, 1}});
  mild.slows = 1.25;
  Communication strong = mild;
  strong.slows = 2.0;
  strong.latency = Seconds(2.0);
  builder.add_task(segment_task(0, work));
  builder.add_task(communication_task(0, builder.add_communication(mild)));
  builder.add_task(communication_task(0, builder.add_communication(strong)));
  // 2 s at half speed: 1 s of work; 2 s at 0.8: 1.6 s; 7.4 s alone.
  expect_end(builder.finish(), 0, 2.0 + 2.0 + 7.4);
}

TEST(SegmentClock, TheBreakdownCountsASlowedKernelAsCompute) {
  const WorkloadGraph graph = work_beside_a_reduction(10.0, 1.25);
  const Breakdown breakdown = breakdown_of_rank(graph, run_contention_free(graph), 0);
  EXPECT_NEAR(breakdown[static_cast<size_t>(BreakdownTerm::backward)], 10.8, 1e-12);
}

TEST(SegmentClock, StretchesKernelsAloneInASegmentOfBoth) {
  // 6 s of kernels and 4 s of exposed collectives: throughout slowed by 1.5 it takes 9 + 4 s.
  Segment mixed = segment(6.0, BreakdownTerm::forward);
  mixed.pieces.push_back(Piece{"tensor", BreakdownTerm::tensor_comm_exposed, Seconds(4.0)});
  mixed.duration = Seconds(10.0);
  EXPECT_NEAR(kernel_share(mixed), 0.6, 1e-12);
  WorkloadGraphBuilder builder(1);
  Communication reduce = communication(CollectiveOp::all_reduce, 1e9, 100.0, 0.0, {{0, 1}});
  reduce.slows = 1.5;
  builder.add_task(communication_task(0, builder.add_communication(reduce)));
  builder.add_task(segment_task(0, builder.add_segment(mixed)));
  const WorkloadGraph graph = builder.finish();
  const StepTimeline timeline = run_contention_free(graph);
  EXPECT_NEAR(timeline.end_s[1], 13.0, 1e-12);
  const Breakdown breakdown = breakdown_of_rank(graph, timeline, 0);
  EXPECT_NEAR(breakdown[static_cast<size_t>(BreakdownTerm::forward)], 9.0, 1e-12);
  EXPECT_NEAR(breakdown[static_cast<size_t>(BreakdownTerm::tensor_comm_exposed)], 4.0, 1e-12);
}

}  // namespace
}  // namespace orrery
