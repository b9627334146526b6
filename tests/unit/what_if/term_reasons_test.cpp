#include "reports/answers/term_reasons.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

/// Of 8 ranks: a reduce_scatter's bus bandwidth is 7/8 of its bytes over its time (nccl-tests).
CommunicationTotal line(double gigabytes, int count, double total, double exposed) {
  CommunicationTotal result;
  result.group = GroupKind::data;
  result.op = CollectiveOp::reduce_scatter;
  result.ranks = 8;
  result.payload = Bytes(gigabytes * 1e9);
  result.count = count;
  result.total = seconds(total);
  result.exposed = seconds(exposed);
  return result;
}

ComparablePrediction with(std::vector<CommunicationTotal> lines) {
  ComparablePrediction side;
  side.prediction.communication = std::move(lines);
  side.prediction.gpus = 8;
  return side;
}

TEST(PairedOperations, AddTheSizesOfAnOperation) {
  const auto a = with({line(1, 2, 0.5, 0.1), line(2, 1, 0.7, 0.2)});
  const auto pairs = paired_operations(a.prediction, with({}).prediction);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].a.count, 3);
  EXPECT_DOUBLE_EQ(pairs[0].a.bytes, 4e9);
  EXPECT_DOUBLE_EQ(pairs[0].a.total_s, 1.2);
  EXPECT_DOUBLE_EQ(pairs[0].a.bus_bandwidth, 2.5e9);  // of the size that takes longest: 7/8 x 2 GB in .7 s
  EXPECT_EQ(pairs[0].b.count, 0);
}

TEST(ReasonOfTerm, NamesTheBandwidthThatChanged) {
  EXPECT_EQ(reason_of_term(BreakdownTerm::data_comm_exposed, with({line(16, 1, 1.0, 0.5)}),
                           with({line(16, 1, 2.0, 1.5)})),
            "reduce_scatter at 7 GB/s instead of 14 GB/s, 2 s instead of 1 s in flight");
}

TEST(ReasonOfTerm, NamesSharedLinks) {
  auto a = with({line(16, 1, 1.0, 0.5)}), b = with({line(16, 1, 2.0, 1.5)});
  LinkClassUse busy, idle;
  busy.name = "leaf -> spine";
  busy.held_s = 1.0;
  idle.name = "nic -> leaf";
  b.prediction.links = {busy, idle};
  EXPECT_EQ(
      reason_of_term(BreakdownTerm::data_comm_exposed, a, b),
      "reduce_scatter at 7 GB/s instead of 14 GB/s, 2 s instead of 1 s in flight; links leaf -> spine hold "
      "it up");
  EXPECT_EQ(
      reason_of_term(BreakdownTerm::data_comm_exposed, b, a),
      "reduce_scatter at 14 GB/s instead of 7 GB/s, 1 s instead of 2 s in flight; links leaf -> spine hold "
      "it up less");
}

TEST(ReasonOfTerm, NamesWhatIsNewAndWhatIsGone) {
  EXPECT_EQ(
      reason_of_term(BreakdownTerm::data_comm_exposed, with({}), with({line(1.073741824, 2, 2.0, 1.5)})),
      "reduce_scatter over 8 ranks is new: 2 GiB a step");
  EXPECT_EQ(reason_of_term(BreakdownTerm::data_comm_exposed, with({line(1, 2, 2.0, 1.5)}), with({})),
            "no reduce_scatter over 8 ranks any more");
}

TEST(ReasonOfTerm, SaysThatOverlapChangedWhereTheTransfersDidNot) {
  EXPECT_EQ(reason_of_term(BreakdownTerm::data_comm_exposed, with({line(1, 1, 1.0, 0.5)}),
                           with({line(1, 1, 1.0, 0.75)})),
            "reduce_scatter in flight as long, 750 ms instead of 500 ms not hidden");
}

TEST(ReasonOfTerm, OfComputeNamesCollectivesOnlyWhereTheySlowItByMoreOrLess) {
  // 1 s in flight of which .5 s is hidden; of B .9 s. Kernels beside it take a quarter longer.
  auto a = with({line(1, 1, 1.0, 0.5)}), b = with({line(1, 1, 1.0, 0.1)});
  const auto forward = static_cast<size_t>(BreakdownTerm::forward);
  a.prediction.breakdown[forward] = 2.0;
  b.prediction.breakdown[forward] = 2.08;  // .4 s x .25 / 1.25
  a.overlap_slowdown = b.overlap_slowdown = 0.25;
  const std::string beside = "the same FLOPs a GPU, beside collectives for another part of the time";
  const std::string rate = "the same FLOPs a GPU at another rate";
  EXPECT_EQ(reason_of_term(BreakdownTerm::forward, a, b), beside);
  EXPECT_EQ(reason_of_term(BreakdownTerm::forward, b, a), beside);
  b.prediction.breakdown[forward] = 1.9;  // more is hidden, yet it is faster
  EXPECT_EQ(reason_of_term(BreakdownTerm::forward, a, b), rate);
  b.prediction.breakdown[forward] = 2.08;
  b.prediction.communication = a.prediction.communication;  // as much is hidden
  EXPECT_EQ(reason_of_term(BreakdownTerm::forward, a, b), rate);
  b = with({line(1, 1, 1.0, 0.1)});  // collectives slow nothing
  b.prediction.breakdown[forward] = 2.08;
  a.overlap_slowdown = 0.0;
  EXPECT_EQ(reason_of_term(BreakdownTerm::forward, a, b), rate);
}

TEST(ReasonOfTerm, OfABubbleNamesStagesAndMicroBatches) {
  auto a = with({}), b = with({});
  a.prediction.plan.pipeline = 4;
  b.prediction.plan.pipeline = 8;
  a.prediction.micro_batches = 32;
  b.prediction.micro_batches = 16;
  EXPECT_EQ(reason_of_term(BreakdownTerm::pipeline_bubble, a, b),
            "8 pipeline stages instead of 4, 16 micro-batches instead of 32");
}

}  // namespace
}  // namespace orrery
