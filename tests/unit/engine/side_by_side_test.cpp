#include "sim/workload/side_by_side.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "sim/engine/engine.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::segment;
using testing::segment_task;
using testing::SmallFabric;

/// 10 ms of work on one rank, then a send of 1 GB (20 ms at 50 GB/s) to the next node.
WorkloadGraph job(double work_s = 10e-3) {
  WorkloadGraphBuilder builder(2);
  builder.graph().gpu_of_rank = {0, 1};
  builder.graph().rank_names = {"a", "b"};
  const auto work = builder.add_segment(segment(work_s));
  const auto send =
      builder.add_communication(communication(CollectiveOp::send_receive, 1e9, 0.0, 20e-3, {{0, 1}}));
  const auto before = builder.add_task(segment_task(0, work));
  const std::int32_t to = 1;
  builder.depend(builder.add_task(communication_task(0, send), std::span(&to, 1)), before);
  return builder.finish();
}

TEST(SideBySide, RepeatsTheSecondJobOneStepAfterTheOther) {
  const SideBySide both = side_by_side(job(), job(), 3);
  ASSERT_EQ(both.repetition_begin.size(), 4u);
  EXPECT_EQ(both.graph.ranks, 4);
  EXPECT_EQ(both.graph.tasks.size(), 2u + 3 * 2 + 2);
  const StepTimeline timeline = run_contention_free(both.graph);
  EXPECT_NEAR(timeline.end_s[1], 30e-3, 1e-12);
  EXPECT_NEAR(timeline.makespan_s, 90e-3, 1e-12);
  for (size_t repetition = 0; repetition < 3; ++repetition) {
    const auto first = static_cast<size_t>(both.repetition_begin[repetition]);
    EXPECT_NEAR(timeline.start_s[first], 30e-3 * static_cast<double>(repetition), 1e-12);
    EXPECT_EQ(both.graph.tasks[first].rank, 2);
  }
}

TEST(SideBySide, MeetOnTheLinksThatTheyShare) {
  // The second job on the first one's GPUs: both send from 10 ms on at half the rate and end at 50 ms.
  const Topology topology = SmallFabric{.nodes = 4}.build();
  EXPECT_NEAR(run_simgrid(side_by_side(job(), job(), 1).graph, topology).end_s[1], 50e-3, 1e-9);
  // On GPUs of its own it is not noticed.
  WorkloadGraph elsewhere = job();
  const std::array<int, 2> gpu_of = {2, 3};
  renumber_gpus(elsewhere, gpu_of);
  EXPECT_EQ(elsewhere.gpu_of_rank, (std::vector<int>{2, 3}));
  EXPECT_NEAR(run_simgrid(side_by_side(job(), elsewhere, 1).graph, topology).end_s[1], 30e-3, 1e-9);
}

TEST(SideBySide, LeavesTheFirstJobsNumbersAlone) {
  const WorkloadGraph first = job();
  const WorkloadGraph graph = side_by_side(first, job(), 2).graph;
  for (size_t task = 0; task < first.tasks.size(); ++task) {
    EXPECT_EQ(graph.tasks[task].rank, first.tasks[task].rank);
    EXPECT_EQ(graph.tasks[task].index, first.tasks[task].index);
    const auto id = static_cast<std::int32_t>(task);
    EXPECT_TRUE(std::equal(graph.successors_of(id).begin(), graph.successors_of(id).end(),
                           first.successors_of(id).begin(), first.successors_of(id).end()));
  }
}

}  // namespace
}  // namespace orrery
