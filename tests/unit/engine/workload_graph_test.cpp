#include "sim/workload/workload_graph.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "sim/workload/operator.hpp"
#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::communication;
using testing::communication_task;
using testing::segment;
using testing::segment_task;

TEST(WorkloadGraphBuilder, SortsDependenciesAndDropsDuplicates) {
  WorkloadGraphBuilder builder(2);
  const auto work = builder.add_segment(segment(1.0));
  for (int i = 0; i < 4; ++i) {
    builder.add_task(segment_task(i % 2, work));
  }
  builder.depend(3, 0);
  builder.depend(2, 1);
  builder.depend(3, 0);
  builder.depend(1, 0);
  builder.depend(3, 2);
  const WorkloadGraph graph = builder.finish();
  EXPECT_EQ(graph.successor_begin, (LargeArray<std::int32_t>{0, 2, 3, 4, 4}));
  EXPECT_EQ(graph.successors, (LargeArray<std::int32_t>{1, 3, 2, 3}));
  EXPECT_EQ(graph.predecessor_counts(), (std::vector<std::int32_t>{0, 1, 1, 2}));
}

TEST(WorkloadGraphBuilder, KeepsParticipantsOfEachTask) {
  WorkloadGraphBuilder builder(3);
  const auto work = builder.add_segment(segment(1.0));
  const auto reduce =
      builder.add_communication(communication(CollectiveOp::all_reduce, 1, 0, 1, {{0, 1, 2}}));
  const std::vector<std::int32_t> all = {0, 1, 2};
  builder.add_task(segment_task(0, work));
  builder.add_task(communication_task(0, reduce), all);
  builder.add_task(segment_task(1, work));
  const WorkloadGraph graph = builder.finish();
  EXPECT_TRUE(graph.participants_of(0).empty());
  EXPECT_EQ(std::vector<std::int32_t>(graph.participants_of(1).begin(), graph.participants_of(1).end()), all);
  EXPECT_TRUE(graph.participants_of(2).empty());
}

TEST(WorkloadGraphBuilder, RefusesAnEdgeThatGoesBackwardsOrToItself) {
  for (const auto& [after, before] : {std::pair(0, 1), std::pair(1, 1), std::pair(2, 0), std::pair(1, -1)}) {
    WorkloadGraphBuilder builder(1);
    const auto work = builder.add_segment(segment(1.0));
    builder.add_task(segment_task(0, work));
    builder.add_task(segment_task(0, work));
    builder.depend(after, before);
    EXPECT_THROW(builder.finish(), std::logic_error) << after << " after " << before;
  }
}

TEST(WorkloadGraphBuilder, RefusesTasksOfUnknownSegmentsAndRanks) {
  WorkloadGraphBuilder builder(1);
  const auto work = builder.add_segment(segment(1.0));
  EXPECT_THROW(builder.add_task(segment_task(0, work + 1)), std::logic_error);
  EXPECT_THROW(builder.add_task(segment_task(1, work)), std::logic_error);
  EXPECT_THROW(builder.add_task(communication_task(0, 0)), std::logic_error);
}

TEST(WorkloadGraphBuilder, AnEmptyGraphHasOneBoundary) {
  const WorkloadGraph graph = WorkloadGraphBuilder(1).finish();
  EXPECT_EQ(graph.successor_begin, LargeArray<std::int32_t>{0});
  EXPECT_TRUE(graph.predecessor_counts().empty());
}

TEST(AttentionFlops, FollowTheFlashConvention) {
  // 2 sequences, 4 heads, 1,024 x 1,024, head size 128: QK^T and PV are 2 x 1024 x 1024 x 128 each; causal
  // half.
  AttentionShape shape{.batch = 2,
                       .seq_q = 1024,
                       .seq_kv = 1024,
                       .heads = 4,
                       .kv_heads = 4,
                       .head_dim = 128,
                       .value_dim = 128,
                       .causal = false};
  const double full = 2.0 * 4.0 * 2.0 * (2.0 * 1024.0 * 1024.0 * 128.0);
  EXPECT_DOUBLE_EQ(attention_flops(shape).base(), full);
  shape.causal = true;
  EXPECT_DOUBLE_EQ(attention_flops(shape).base(), full / 2);
  shape.pass = AttentionPass::backward;
  EXPECT_DOUBLE_EQ(attention_flops(shape).base(), 2.5 * full / 2);
}

TEST(AttentionFlops, OfALatentHeadCountBothWidths) {
  // MLA: scores over 192, values over 128.
  const AttentionShape shape{.batch = 1,
                             .seq_q = 512,
                             .seq_kv = 512,
                             .heads = 1,
                             .kv_heads = 1,
                             .head_dim = 192,
                             .value_dim = 128,
                             .causal = false};
  EXPECT_DOUBLE_EQ(attention_flops(shape).base(), 2.0 * 512.0 * 512.0 * (192.0 + 128.0));
}

TEST(AttentionFlops, OfAWindowCountTheBand) {
  // 1,000 queries, window 100: 1,000 x 100 less the triangle of 100^2 / 2 at the start.
  AttentionShape shape{.batch = 1,
                       .seq_q = 1000,
                       .seq_kv = 1000,
                       .heads = 1,
                       .kv_heads = 1,
                       .head_dim = 64,
                       .value_dim = 64,
                       .causal = true,
                       .window = 100};
  EXPECT_DOUBLE_EQ(attention_flops(shape).base(), 2.0 * (1000.0 * 100.0 - 5000.0) * 128.0);
  // A window as long as the sequence is none; one key less is nearly the causal half.
  shape.window = 1000;
  EXPECT_DOUBLE_EQ(attention_flops(shape).base(), 2.0 * 500000.0 * 128.0);
  shape.window = 999;
  EXPECT_NEAR(attention_flops(shape).base(), 2.0 * 500000.0 * 128.0, 128.0 * 2.0);
}

TEST(Names, CoverEveryValue) {
  EXPECT_EQ(name_of(CollectiveOp::all_reduce), "all_reduce");
  EXPECT_EQ(name_of(CollectiveOp::send_receive), "send_receive");
  EXPECT_EQ(name_of(GroupKind::tensor), "tensor");
  EXPECT_EQ(name_of(GroupKind::pipeline), "pipeline");
  EXPECT_EQ(name_of(BreakdownTerm::forward), "forward");
  EXPECT_EQ(name_of(BreakdownTerm::other), "other");
  EXPECT_EQ(name_of(exposed_term(GroupKind::expert)), "expert_comm_exposed");
  EXPECT_EQ(name_of(exposed_term(GroupKind::pipeline)), "pipeline_comm_exposed");
}

}  // namespace
}  // namespace orrery
