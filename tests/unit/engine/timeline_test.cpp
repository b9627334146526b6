#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "sim/engine/engine.hpp"
#include "sim/timeline/step_timeline.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::segment;
using testing::segment_task;

double term(const Breakdown& breakdown, BreakdownTerm which) { return breakdown[static_cast<size_t>(which)]; }
double sum(const Breakdown& breakdown) { return std::accumulate(breakdown.begin(), breakdown.end(), 0.0); }

/// Two stages, one micro-batch: forward 1 s on rank 0, sent in 0.25 s, forward 2 s and backward 4 s on rank
/// 1, sent back in 0.5 s, backward 2 s on rank 0; then each rank reduces its gradients in 0.75 s and updates
/// for 0.1 s.
struct TwoStages {
  WorkloadGraph graph;
  StepTimeline timeline;

  TwoStages() {
    WorkloadGraphBuilder builder(2);
    const auto forward0 = builder.add_segment(segment(1.0));
    const auto forward1 = builder.add_segment(segment(2.0));
    const auto backward1 = builder.add_segment(segment(4.0, BreakdownTerm::backward));
    const auto backward0 = builder.add_segment(segment(2.0, BreakdownTerm::backward));
    const auto update = builder.add_segment(segment(0.1, BreakdownTerm::optimizer));
    const auto on = builder.add_communication(
        communication(CollectiveOp::send_receive, 1, 0.05, 0.2, {{0, 1}}, GroupKind::pipeline));
    const auto back = builder.add_communication(
        communication(CollectiveOp::send_receive, 1, 0.1, 0.4, {{1, 0}}, GroupKind::pipeline));
    const auto reduce = builder.add_communication(communication(CollectiveOp::all_reduce, 1, 0.25, 0.5, {}));
    const std::vector<std::int32_t> both = {0, 1};
    const std::array<std::int32_t, 9> tasks = {
        builder.add_task(segment_task(0, forward0)),             // 0 .. 1
        builder.add_task(communication_task(0, on, 3), both),    // 1 .. 1.25
        builder.add_task(segment_task(1, forward1)),             // 1.25 .. 3.25
        builder.add_task(segment_task(1, backward1)),            // 3.25 .. 7.25
        builder.add_task(communication_task(1, back, 3), both),  // 7.25 .. 7.75
        builder.add_task(segment_task(0, backward0)),            // 7.75 .. 9.75
        builder.add_task(communication_task(1, reduce)),         // 7.25 .. 8
        builder.add_task(communication_task(0, reduce)),         // 9.75 .. 10.5
        builder.add_task(segment_task(1, update))};              // 8 .. 8.1
    const auto after = [&](int later, int earlier) {
      builder.depend(tasks[static_cast<size_t>(later)], tasks[static_cast<size_t>(earlier)]);
    };
    after(1, 0);
    after(2, 1);
    after(3, 2);
    after(4, 3);
    after(5, 4);
    after(5, 0);
    after(6, 3);
    after(7, 5);
    after(8, 6);
    const auto last = builder.add_task(segment_task(0, update));  // 10.5 .. 10.6
    builder.depend(last, tasks[7]);
    graph = builder.finish();
    timeline = run_contention_free(graph);
  }
};

TEST(Breakdown, OfTwoStagesIsTheHandDrawnOne) {
  const TwoStages step;
  EXPECT_DOUBLE_EQ(step.timeline.makespan_s, 10.6);
  const Breakdown first = breakdown_of_rank(step.graph, step.timeline, 0);
  EXPECT_NEAR(term(first, BreakdownTerm::forward), 1.0, 1e-12);
  EXPECT_NEAR(term(first, BreakdownTerm::backward), 2.0, 1e-12);
  EXPECT_NEAR(term(first, BreakdownTerm::optimizer), 0.1, 1e-12);
  EXPECT_NEAR(term(first, BreakdownTerm::data_comm_exposed), 0.75, 1e-12);
  // Idle from 1 to 7.75. The send back covers 0.5 s of it; the send on (1 to 1.25) is not waited for by
  // backward.
  EXPECT_NEAR(term(first, BreakdownTerm::pipeline_comm_exposed), 0.5, 1e-12);
  EXPECT_NEAR(term(first, BreakdownTerm::pipeline_bubble), 6.25, 1e-12);
  EXPECT_NEAR(sum(first), 10.6, 1e-12);

  const Breakdown second = breakdown_of_rank(step.graph, step.timeline, 1);
  EXPECT_NEAR(term(second, BreakdownTerm::forward), 2.0, 1e-12);
  EXPECT_NEAR(term(second, BreakdownTerm::backward), 4.0, 1e-12);
  EXPECT_NEAR(term(second, BreakdownTerm::pipeline_comm_exposed), 0.25, 1e-12);  // 1 to 1.25
  EXPECT_NEAR(term(second, BreakdownTerm::data_comm_exposed), 0.75, 1e-12);      // 7.25 to 8
  EXPECT_NEAR(term(second, BreakdownTerm::pipeline_bubble), 1.0 + 2.5, 1e-12);   // 0 to 1, 8.1 to 10.6
  EXPECT_NEAR(sum(second), 10.6, 1e-12);
}

TEST(Breakdown, GivesTheEndOfTheStepToTheRanksOwnCommunication) {
  WorkloadGraphBuilder builder(1);
  const auto work = builder.add_segment(segment(1.0));
  const auto reduce = builder.add_communication(communication(CollectiveOp::all_reduce, 1, 0.0, 0.5, {}));
  builder.add_task(segment_task(0, work));
  builder.depend(builder.add_task(communication_task(0, reduce)), 0);
  const WorkloadGraph graph = builder.finish();
  const Breakdown breakdown = breakdown_of_rank(graph, run_contention_free(graph), 0);
  EXPECT_NEAR(term(breakdown, BreakdownTerm::data_comm_exposed), 0.5, 1e-12);
  EXPECT_NEAR(sum(breakdown), 1.5, 1e-12);
}

TEST(Breakdown, WithoutAPipelineCallsIdleTimeOther) {
  WorkloadGraphBuilder builder(2);
  const auto brief = builder.add_segment(segment(1.0));
  const auto lengthy = builder.add_segment(segment(3.0));
  builder.add_task(segment_task(0, brief));
  builder.add_task(segment_task(1, lengthy));
  const WorkloadGraph graph = builder.finish();
  const Breakdown breakdown = breakdown_of_rank(graph, run_contention_free(graph), 0);
  EXPECT_NEAR(term(breakdown, BreakdownTerm::other), 2.0, 1e-12);
  EXPECT_EQ(term(breakdown, BreakdownTerm::pipeline_bubble), 0.0);
}

TEST(Breakdown, ExposesAChainOfCommunicationsOnce) {
  // Reduce-scatter 1 s, then all-gather 2 s, then the next segment; a second path to the same all-gather adds
  // nothing.
  WorkloadGraphBuilder builder(1);
  const auto work = builder.add_segment(segment(1.0));
  const auto scatter =
      builder.add_communication(communication(CollectiveOp::reduce_scatter, 1, 0.0, 1.0, {}));
  const auto gather =
      builder.add_communication(communication(CollectiveOp::all_gather, 1, 0.0, 2.0, {}, GroupKind::context));
  const auto first = builder.add_task(segment_task(0, work));
  const auto reduce = builder.add_task(communication_task(0, scatter));
  const auto collect = builder.add_task(communication_task(0, gather));
  const auto last = builder.add_task(segment_task(0, work));
  builder.depend(reduce, first);
  builder.depend(collect, reduce);
  builder.depend(last, collect);
  builder.depend(last, reduce);
  const WorkloadGraph graph = builder.finish();
  const StepTimeline timeline = run_contention_free(graph);
  const Breakdown breakdown = breakdown_of_rank(graph, timeline, 0);
  EXPECT_NEAR(term(breakdown, BreakdownTerm::data_comm_exposed), 1.0, 1e-12);
  EXPECT_NEAR(term(breakdown, BreakdownTerm::context_comm_exposed), 2.0, 1e-12);
  EXPECT_NEAR(sum(breakdown), 5.0, 1e-12);
}

TEST(SlowestRank, IsTheLastToEndAndOfEqualsTheBusiest) {
  const TwoStages step;
  EXPECT_EQ(slowest_rank(step.graph, step.timeline), 0);

  WorkloadGraphBuilder builder(3);
  const auto brief = builder.add_segment(segment(1.0));
  const auto lengthy = builder.add_segment(segment(2.0));
  const auto reduce = builder.add_communication(communication(CollectiveOp::all_reduce, 1, 0.0, 1.0, {}));
  const std::vector<std::int32_t> all = {0, 1, 2};
  builder.add_task(segment_task(0, brief));
  builder.add_task(segment_task(1, lengthy));
  builder.add_task(segment_task(2, brief));
  const auto last = builder.add_task(communication_task(0, reduce), all);
  builder.depend(last, 0);
  builder.depend(last, 1);
  builder.depend(last, 2);
  const WorkloadGraph graph = builder.finish();
  EXPECT_EQ(slowest_rank(graph, run_contention_free(graph)), 1);
}

TEST(SlowestRank, IsTheLastToWorkWhereSeveralReadToTheEnd) {
  // Both read for 10 s; rank 1 has most compute, rank 0 is the last to be done with it.
  WorkloadGraphBuilder builder(2);
  const auto late = builder.add_segment(segment(1.0));
  const auto lengthy = builder.add_segment(segment(3.0));
  Communication read = communication(CollectiveOp::all_reduce, 1, 0.0, 10.0, {});
  read.storage = StorageUse::read;
  const auto reads = builder.add_communication(read);
  const auto sends = builder.add_communication(
      communication(CollectiveOp::send_receive, 1, 0.0, 1.0, {{1, 0}}, GroupKind::pipeline));
  builder.add_task(communication_task(0, reads));
  builder.add_task(communication_task(1, reads));
  const auto first = builder.add_task(segment_task(1, lengthy));
  const std::vector<std::int32_t> both = {0, 1};
  const auto sent = builder.add_task(communication_task(1, sends), both);
  const auto last = builder.add_task(segment_task(0, late));
  builder.depend(sent, first);
  builder.depend(last, sent);
  const WorkloadGraph graph = builder.finish();
  EXPECT_EQ(slowest_rank(graph, run_contention_free(graph)), 0);
}

TEST(CriticalPath, RunsThroughTheStagesWithoutGaps) {
  const TwoStages step;
  const auto path = critical_path(step.graph, step.timeline);
  EXPECT_EQ(path, (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 7, 9}));
  for (size_t i = 1; i < path.size(); ++i) {
    EXPECT_EQ(step.timeline.start_s[static_cast<size_t>(path[i])],
              step.timeline.end_s[static_cast<size_t>(path[i - 1])]);
  }
}

TEST(CommunicationUse, CountsCallsAndExposedSecondsOfOneRank) {
  const TwoStages step;
  const auto use = communication_use(step.graph, step.timeline, 0);
  ASSERT_EQ(use.size(), 3U);
  EXPECT_EQ(use[0].communication, 0);  // the send on: never waited for
  EXPECT_EQ(use[0].count, 1);
  EXPECT_NEAR(use[0].total_s, 0.25, 1e-12);
  EXPECT_EQ(use[0].exposed_s, 0.0);
  EXPECT_NEAR(use[1].exposed_s, 0.5, 1e-12);
  EXPECT_EQ(use[2].count, 1);  // rank 1 reduces on its own
  EXPECT_NEAR(use[2].total_s, 0.75, 1e-12);
  EXPECT_NEAR(use[2].exposed_s, 0.75, 1e-12);
}

}  // namespace
}  // namespace orrery
