#include "sim/collectives/schedules.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <set>
#include <vector>

#include "sim/collectives/closed_forms.hpp"
#include "sim/collectives/collective_model.hpp"

namespace orrery {
namespace {

const Bytes kPayload(1.2e9);
const BytesPerSecond kRate = gigabytes_per_second(25);
const Seconds kAlpha = microseconds(3);
// Only the order of the additions differs between a schedule and its closed form.
constexpr double kRoundOff = 1e-9;

/// Which ranks' contributions each rank holds of each chunk, as a bit set; at most 64 ranks.
using Holdings = std::vector<std::vector<std::uint64_t>>;

std::uint64_t all_of(int ranks) { return ranks == 64 ? ~0ULL : (1ULL << ranks) - 1; }

Holdings start_of(const CollectiveSchedule& schedule) {
  Holdings held(static_cast<size_t>(schedule.ranks),
                std::vector<std::uint64_t>(static_cast<size_t>(schedule.chunks)));
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    for (int chunk = 0; chunk < schedule.chunks; ++chunk) {
      const bool reduces =
          schedule.op == CollectiveOp::all_reduce || schedule.op == CollectiveOp::reduce_scatter;
      const bool owns =
          reduces || (schedule.op == CollectiveOp::all_gather ? chunk == rank : rank == schedule.root);
      if (owns) held[static_cast<size_t>(rank)][static_cast<size_t>(chunk)] = 1ULL << rank;
    }
  }
  return held;
}

/// Runs the schedule step by step on sets of contributions; a step's sends read what was held before the
/// step.
Holdings run(const CollectiveSchedule& schedule) {
  Holdings held = start_of(schedule);
  std::set<int> done;
  for (const std::vector<int>& step : schedule.steps) {
    const Holdings before = held;
    for (const int number : step) {
      const Transfer& transfer = schedule.transfers[static_cast<size_t>(number)];
      for (const int earlier : transfer.after) EXPECT_TRUE(done.count(earlier)) << "transfer " << number;
      const auto chunk = static_cast<size_t>(transfer.chunk);
      const std::uint64_t sent = before[static_cast<size_t>(transfer.from)][chunk];
      std::uint64_t& received = held[static_cast<size_t>(transfer.to)][chunk];
      EXPECT_NE(sent, 0U) << "transfer " << number << " sends what its rank does not hold";
      if (transfer.reduces) {
        EXPECT_EQ(sent & received, 0U) << "transfer " << number << " adds a contribution twice";
        received |= sent;
      } else {
        received = sent;
      }
    }
    done.insert(step.begin(), step.end());
  }
  EXPECT_EQ(done.size(), schedule.transfers.size());
  return held;
}

Bytes sent_by(const CollectiveSchedule& schedule, int rank) {
  Bytes sum;
  for (const Transfer& transfer : schedule.transfers) {
    if (transfer.from == rank) sum += transfer.bytes;
  }
  return sum;
}

void expect_all_hold_everything(const CollectiveSchedule& schedule) {
  for (const auto& rank : run(schedule)) {
    for (const std::uint64_t chunk : rank) EXPECT_EQ(chunk, all_of(schedule.ranks));
  }
}

class Ranks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Schedules, Ranks, testing::Values(2, 3, 4, 5, 7, 8, 16, 31, 64));

TEST_P(Ranks, RingAllReduceEndsComplete) {
  expect_all_hold_everything(ring_all_reduce(kPayload, GetParam()));
}

TEST_P(Ranks, DoubleTreeAllReduceEndsComplete) {
  expect_all_hold_everything(double_tree_all_reduce(kPayload, GetParam(), 3));
}

TEST_P(Ranks, ReduceScatterLeavesChunkROnRankR) {
  const Holdings held = run(ring_reduce_scatter(kPayload, GetParam()));
  for (size_t rank = 0; rank < held.size(); ++rank) EXPECT_EQ(held[rank][rank], all_of(GetParam()));
}

TEST_P(Ranks, AllGatherAndBroadcastsEndWithTheOwnersChunks) {
  const Holdings gathered = run(ring_all_gather(kPayload, GetParam()));
  for (const auto& rank : gathered) {
    for (size_t chunk = 0; chunk < rank.size(); ++chunk) EXPECT_EQ(rank[chunk], 1ULL << chunk);
  }
  for (const CollectiveSchedule& schedule :
       {ring_broadcast(kPayload, GetParam(), 4), tree_broadcast(kPayload, GetParam(), 4)}) {
    for (const auto& rank : run(schedule)) {
      for (const std::uint64_t chunk : rank) EXPECT_EQ(chunk, 1ULL);
    }
  }
}

TEST_P(Ranks, EveryRingRankSendsTheBusFactorTimesThePayload) {
  const int n = GetParam();
  for (int rank = 0; rank < n; ++rank) {
    const auto share = [&](const CollectiveSchedule& s) { return sent_by(s, rank) / kPayload; };
    EXPECT_NEAR(share(ring_all_reduce(kPayload, n)), 2.0 * (n - 1) / n, kRoundOff);
    EXPECT_NEAR(share(ring_reduce_scatter(kPayload, n)), (n - 1.0) / n, kRoundOff);
    EXPECT_NEAR(share(ring_all_gather(kPayload, n)), (n - 1.0) / n, kRoundOff);
  }
}

TEST_P(Ranks, DoubleTreeMovesTwoPayloadsOverEachOfItsEdges) {
  // n-1 edges a tree, half of the payload up and down each, two trees: 2 (n-1) payloads in all.
  const CollectiveSchedule schedule = double_tree_all_reduce(kPayload, GetParam(), 5);
  Bytes sum;
  for (const Transfer& transfer : schedule.transfers) sum += transfer.bytes;
  EXPECT_NEAR(sum / kPayload, 2.0 * (GetParam() - 1), 1e-6);
}

TEST_P(Ranks, SchedulesTakeTheTimeOfTheirClosedForms) {
  const int n = GetParam();
  const auto same = [&](const CollectiveSchedule& schedule, Seconds closed_form) {
    EXPECT_NEAR(execute_on_idle_links(schedule, kRate, kAlpha) / closed_form, 1.0, kRoundOff);
  };
  same(ring_all_reduce(kPayload, n), ring_all_reduce_time(kPayload, n, kRate, kAlpha));
  same(ring_reduce_scatter(kPayload, n), ring_reduce_scatter_time(kPayload, n, kRate, kAlpha));
  same(ring_all_gather(kPayload, n), ring_all_gather_time(kPayload, n, kRate, kAlpha));
  for (const int chunks : {1, 2, 9}) {
    same(ring_broadcast(kPayload, n, chunks), ring_broadcast_time(kPayload, n, chunks, kRate, kAlpha));
    same(tree_broadcast(kPayload, n, chunks), tree_broadcast_time(kPayload, n, chunks, kRate, kAlpha));
    same(double_tree_all_reduce(kPayload, n, chunks),
         double_tree_all_reduce_time(kPayload, n, chunks, kRate, kAlpha));
  }
}

TEST_P(Ranks, ComplementaryTreesShareNoInnerRank) {
  // Sanders, Speck, Traff: with an even number of ranks a rank has children in one tree only, so it can send
  // and receive the whole payload at full rate. With an odd number one rank may have them in both.
  const int n = GetParam();
  const auto inner = [n](const std::vector<int>& parents) {
    std::set<int> ranks;
    int roots = 0;
    for (int rank = 0; rank < n; ++rank) {
      if (parents[static_cast<size_t>(rank)] < 0) {
        ++roots;
      } else {
        ranks.insert(parents[static_cast<size_t>(rank)]);
      }
    }
    EXPECT_EQ(roots, 1);
    return ranks;
  };
  int both = 0;
  const std::set<int> other = inner(complementary_tree_parents(n));
  for (const int rank : inner(binary_tree_parents(n))) both += static_cast<int>(other.count(rank));
  EXPECT_LE(both, n % 2 == 0 ? 0 : 1);
}

TEST(ClosedForms, RingAllReduceByHand) {
  // 8 ranks, 1 GB, 100 GB/s, 2 us: 14 steps of 2 us + (125 MB / 100 GB/s = 1.25 ms).
  const Seconds t = ring_all_reduce_time(Bytes(1e9), 8, gigabytes_per_second(100), microseconds(2));
  EXPECT_NEAR(t.base(), 14 * (2e-6 + 1.25e-3), 1e-12);
}

TEST(ClosedForms, SendReceiveByHand) {
  EXPECT_NEAR(send_receive_time(Bytes(1e6), gigabytes_per_second(1), microseconds(5)).base(), 1.005e-3,
              1e-12);
  EXPECT_NEAR(
      execute_on_idle_links(send_receive(Bytes(1e6), 3, 1), gigabytes_per_second(1), microseconds(5)).base(),
      1.005e-3, 1e-12);
}

TEST(ClosedForms, OneRankAndNoBytesCostNothing) {
  EXPECT_EQ(ring_all_reduce_time(kPayload, 1, kRate, kAlpha).base(), 0.0);
  EXPECT_EQ(double_tree_all_reduce_time(kPayload, 1, 4, kRate, kAlpha).base(), 0.0);
  EXPECT_EQ(tree_broadcast_time(kPayload, 1, 4, kRate, kAlpha).base(), 0.0);
  EXPECT_EQ(ring_all_gather_time(Bytes(0), 8, kRate, kAlpha).base(), 0.0);
  EXPECT_TRUE(ring_all_reduce(kPayload, 1).transfers.empty());
  EXPECT_TRUE(double_tree_all_reduce(kPayload, 1, 2).transfers.empty());
}

TEST(ClosedForms, BadArgumentsAreRefused) {
  EXPECT_THROW(ring_all_reduce_time(kPayload, 0, kRate, kAlpha), std::invalid_argument);
  EXPECT_THROW(ring_broadcast_time(kPayload, 4, 0, kRate, kAlpha), std::invalid_argument);
  EXPECT_THROW(ring_all_reduce_time(kPayload, 4, BytesPerSecond(0), kAlpha), std::invalid_argument);
  EXPECT_THROW(ring_all_reduce(kPayload, 0), std::invalid_argument);
  EXPECT_THROW(send_receive(kPayload, 2, 2), std::invalid_argument);
}

TEST(BusFactor, IsTheOneOfNcclTests) {
  EXPECT_DOUBLE_EQ(bus_factor(CollectiveOp::all_reduce, 8), 1.75);
  EXPECT_DOUBLE_EQ(bus_factor(CollectiveOp::all_gather, 8), 0.875);
  EXPECT_DOUBLE_EQ(bus_factor(CollectiveOp::reduce_scatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor(CollectiveOp::all_to_all, 2), 0.5);
  EXPECT_DOUBLE_EQ(bus_factor(CollectiveOp::broadcast, 8), 1.0);
  EXPECT_DOUBLE_EQ(bus_factor(CollectiveOp::send_receive, 2), 1.0);
}

}  // namespace
}  // namespace orrery
