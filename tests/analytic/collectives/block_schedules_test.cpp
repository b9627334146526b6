#include "sim/collectives/block_schedules.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bitset>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "sim/collectives/block_closed_forms.hpp"
#include "sim/collectives/closed_forms.hpp"

namespace orrery {
namespace {

const Bytes kPayload(1.2e9);
const LinkCost kInside{gigabytes_per_second(200), microseconds(2)};
const LinkCost kAcross{gigabytes_per_second(25), microseconds(7)};
// Only the order of the additions differs between a schedule and its closed form.
constexpr double kRoundOff = 1e-9;

using Contributions = std::bitset<64>;  // of the ranks

using Held = std::vector<std::vector<Contributions>>;  // by vertex and chunk

Held start_of(const BlockSchedule& schedule) {
  const auto vertices = static_cast<size_t>(schedule.ranks + schedule.switches);
  Held held(vertices, std::vector<Contributions>(static_cast<size_t>(schedule.chunks)));
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    for (int chunk = 0; chunk < schedule.chunks; ++chunk) {
      bool owns = true;  // reductions
      if (schedule.op == CollectiveOp::all_gather) owns = chunk == rank;
      if (schedule.op == CollectiveOp::all_to_all) owns = chunk / schedule.ranks == rank;
      if (owns) held[static_cast<size_t>(rank)][static_cast<size_t>(chunk)].set(static_cast<size_t>(rank));
    }
  }
  return held;
}

/// What a transfer brings of each of its chunks.
using Message = std::vector<Contributions>;

void receive(Contributions& held, const BlockTransfer& transfer, const Contributions& brought) {
  held = transfer.reduces ? held | brought : brought;
}

/// Which ranks' contributions each vertex holds of each chunk at the end. A transfer sends what its sender
/// held at the start and what reached it by the transfers that this one waits for, directly or through
/// others: nothing else may be relied on to have arrived.
Held run(const BlockSchedule& schedule) {
  const Held start = start_of(schedule);
  const size_t count = schedule.transfers.size();
  std::vector<std::vector<bool>> earlier(count, std::vector<bool>(count));
  std::vector<Message> messages(count);
  Held last = start;
  for (size_t i = 0; i < count; ++i) {
    const BlockTransfer& transfer = schedule.transfers[i];
    for (const int before : transfer.after) {
      const auto at = static_cast<size_t>(before);
      EXPECT_LT(at, i);
      earlier[i][at] = true;
      for (size_t j = 0; j < at; ++j) earlier[i][j] = earlier[i][j] || earlier[at][j];
    }
    for (const int chunk : transfer.chunks) {
      Contributions sent = start[static_cast<size_t>(transfer.from)][static_cast<size_t>(chunk)];
      for (size_t j = 0; j < i; ++j) {
        const BlockTransfer& other = schedule.transfers[j];
        if (!earlier[i][j] || other.to != transfer.from) continue;
        const auto place = std::find(other.chunks.begin(), other.chunks.end(), chunk);
        if (place == other.chunks.end()) continue;
        receive(sent, other, messages[j][static_cast<size_t>(place - other.chunks.begin())]);
      }
      EXPECT_TRUE(sent.any()) << "transfer " << i << " sends what its vertex does not hold";
      Contributions& received = last[static_cast<size_t>(transfer.to)][static_cast<size_t>(chunk)];
      if (transfer.reduces) {
        EXPECT_TRUE((sent & received).none()) << "transfer " << i << " adds a contribution twice";
      }
      receive(received, transfer, sent);
      messages[i].push_back(sent);
    }
  }
  return last;
}

Contributions all_of(int ranks) {
  Contributions all;
  for (int rank = 0; rank < ranks; ++rank) all.set(static_cast<size_t>(rank));
  return all;
}

void expect_all_reduced(const BlockSchedule& schedule) {
  const auto held = run(schedule);
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    for (const Contributions& chunk : held[static_cast<size_t>(rank)])
      EXPECT_EQ(chunk, all_of(schedule.ranks));
  }
}

void expect_all_exchanged(const BlockSchedule& schedule) {
  const auto held = run(schedule);
  for (int to = 0; to < schedule.ranks; ++to) {
    for (int from = 0; from < schedule.ranks; ++from) {
      Contributions only;
      only.set(static_cast<size_t>(from));
      EXPECT_EQ(held[static_cast<size_t>(to)][static_cast<size_t>(from * schedule.ranks + to)], only);
    }
  }
}

Bytes sent(const BlockSchedule& schedule, int vertex, bool across_only = false) {
  Bytes sum;
  for (const BlockTransfer& transfer : schedule.transfers) {
    if (transfer.from == vertex && (transfer.across || !across_only)) sum += transfer.bytes;
  }
  return sum;
}

void expect_time(const BlockSchedule& schedule, const LinkCost& inside, const LinkCost& across,
                 Seconds closed_form) {
  EXPECT_NEAR(execute_on_links(schedule, inside, across) / closed_form, 1.0, kRoundOff);
}

class BlockRanks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Schedules, BlockRanks, testing::Values(2, 3, 4, 5, 7, 8, 16, 31));

TEST_P(BlockRanks, PatGathersAndScattersInLogarithmicallyManySteps) {
  const int n = GetParam();
  const BlockSchedule gather = pat_all_gather(kPayload, n);
  const auto gathered = run(gather);
  for (int rank = 0; rank < n; ++rank) {
    for (int chunk = 0; chunk < n; ++chunk) {
      EXPECT_TRUE(
          gathered[static_cast<size_t>(rank)][static_cast<size_t>(chunk)].test(static_cast<size_t>(chunk)));
    }
    EXPECT_NEAR(sent(gather, rank) / kPayload, (n - 1.0) / n, kRoundOff);
  }
  const BlockSchedule scatter = pat_reduce_scatter(kPayload, n);
  const auto scattered = run(scatter);
  for (int rank = 0; rank < n; ++rank) {
    EXPECT_EQ(scattered[static_cast<size_t>(rank)][static_cast<size_t>(rank)], all_of(n));
  }
  EXPECT_EQ(gather.transfers.size(), static_cast<size_t>(n * tree_depth(n)));
  expect_time(gather, kAcross, kAcross, pat_time(kPayload, n, kAcross));
  expect_time(scatter, kAcross, kAcross, pat_time(kPayload, n, kAcross));
}

TEST_P(BlockRanks, NvlsSendsOnePayloadAndAnNthEachWay) {
  const int n = GetParam();
  const BlockSchedule schedule = nvls_all_reduce(kPayload, n);
  expect_all_reduced(schedule);
  for (int rank = 0; rank < n; ++rank) {
    EXPECT_NEAR(sent(schedule, rank) / nvls_link_bytes(kPayload, n), 1.0, kRoundOff);
    Bytes received;
    for (const BlockTransfer& transfer : schedule.transfers) {
      if (transfer.to == rank) received += transfer.bytes;
    }
    EXPECT_NEAR(received / nvls_link_bytes(kPayload, n), 1.0, kRoundOff);
  }
  expect_time(schedule, kInside, kAcross, nvls_all_reduce_time(kPayload, n, kInside));
}

TEST_P(BlockRanks, CollnetSendsThePayloadOnceUpAndOnceDown) {
  const int n = GetParam();
  for (const int chunks : {1, 2, 9}) {
    const BlockSchedule schedule = collnet_all_reduce(kPayload, n, chunks);
    expect_all_reduced(schedule);
    for (int rank = 0; rank < n; ++rank) EXPECT_NEAR(sent(schedule, rank) / kPayload, 1.0, kRoundOff);
    expect_time(schedule, kInside, kAcross, collnet_all_reduce_time(kPayload, n, chunks, kAcross));
  }
}

TEST_P(BlockRanks, PairwiseExchangesEverything) {
  const int n = GetParam();
  const BlockSchedule schedule = pairwise_all_to_all(kPayload, n);
  expect_all_exchanged(schedule);
  expect_time(schedule, kInside, kAcross, pairwise_all_to_all_time(kPayload, n, kInside));
}

TEST_P(BlockRanks, AllToAllVTakesTheLongestMessageOfEachStep) {
  const int n = GetParam();
  std::mt19937 random(static_cast<unsigned>(n));
  std::uniform_real_distribution<double> size(0.0, 1e8);
  std::vector<std::vector<Bytes>> matrix(static_cast<size_t>(n));
  Bytes most;
  for (int i = 0; i < n; ++i) {
    Bytes row;
    for (int j = 0; j < n; ++j) {
      matrix[static_cast<size_t>(i)].push_back(Bytes((i + j) % 5 == 0 && n > 3 ? 0.0 : size(random)));
      if (i != j) row += matrix[static_cast<size_t>(i)].back();
    }
    most = max(most, row);
  }
  const BlockSchedule schedule = pairwise_all_to_all_v(matrix);
  expect_time(schedule, kInside, kAcross, pairwise_all_to_all_v_time(matrix, kInside));
  // No schedule beats the rank that has most to send.
  EXPECT_GE(execute_on_links(schedule, kInside, kAcross) / (most / kInside.rate), 1.0);
  for (const BlockTransfer& transfer : schedule.transfers) {
    EXPECT_EQ(transfer.chunks, std::vector<int>{transfer.from * n + transfer.to});
    EXPECT_EQ(transfer.bytes, matrix[static_cast<size_t>(transfer.from)][static_cast<size_t>(transfer.to)]);
  }
}

TEST_P(BlockRanks, AllToAllVOfEqualSharesIsTheAllToAll) {
  const int n = GetParam();
  const std::vector<std::vector<Bytes>> matrix(static_cast<size_t>(n),
                                               std::vector<Bytes>(static_cast<size_t>(n), kPayload / n));
  expect_all_exchanged(pairwise_all_to_all_v(matrix));
  EXPECT_NEAR(pairwise_all_to_all_v_time(matrix, kInside) / pairwise_all_to_all_time(kPayload, n, kInside),
              1.0, kRoundOff);
}

TEST_P(BlockRanks, MpisAllReducesEndComplete) {
  const int n = GetParam();
  const BlockSchedule doubling = recursive_doubling_all_reduce(kPayload, n);
  expect_all_reduced(doubling);
  expect_time(doubling, kInside, kAcross, recursive_doubling_all_reduce_time(kPayload, n, kInside));
  const BlockSchedule halving = rabenseifner_all_reduce(kPayload, n);
  expect_all_reduced(halving);
  expect_time(halving, kInside, kAcross, rabenseifner_all_reduce_time(kPayload, n, kInside));
}

struct Shape {
  int domains, per_domain;
};
class BlockShapes : public testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Schedules, BlockShapes,
                         testing::Values(Shape{1, 4}, Shape{2, 1}, Shape{2, 4}, Shape{2, 8}, Shape{3, 2},
                                         Shape{3, 8}, Shape{4, 4}, Shape{5, 3}, Shape{7, 8}, Shape{8, 8},
                                         Shape{16, 2}));

TEST_P(BlockShapes, HierarchicalAllReduceSendsOnlyItsShareAcross) {
  const auto [domains, r] = GetParam();
  const BlockSchedule schedule = hierarchical_all_reduce(kPayload, domains, r);
  expect_all_reduced(schedule);
  // What must leave every domain, dealt evenly to its ranks: 2 (N-1)/N of the payload.
  for (int rank = 0; rank < domains * r; ++rank) {
    EXPECT_NEAR(sent(schedule, rank, true) / kPayload, 2.0 * (domains - 1) / domains / r, kRoundOff);
  }
  expect_time(schedule, kInside, kAcross,
              hierarchical_all_reduce_time(kPayload, domains, r, kInside, kAcross));
}

TEST_P(BlockShapes, HierarchicalAllToAllSendsFewerAndLargerMessagesAcross) {
  const auto [domains, r] = GetParam();
  const int n = domains * r;
  const BlockSchedule schedule = hierarchical_all_to_all(kPayload, domains, r);
  expect_all_exchanged(schedule);
  for (int rank = 0; rank < n; ++rank) {
    EXPECT_NEAR(sent(schedule, rank, true) / kPayload, (domains - 1.0) / domains, kRoundOff);
    const auto across = std::count_if(schedule.transfers.begin(), schedule.transfers.end(),
                                      [&](const BlockTransfer& t) { return t.from == rank && t.across; });
    EXPECT_EQ(across, domains - 1);
  }
  expect_time(schedule, kInside, kAcross,
              hierarchical_all_to_all_time(kPayload, domains, r, kInside, kAcross));
}

TEST_P(BlockShapes, NvlsTreeEndsComplete) {
  const auto [domains, r] = GetParam();
  if (r < 2 && domains > 1) GTEST_SKIP() << "one rank a domain has nothing to add in its switch";
  const BlockSchedule schedule = nvls_tree_all_reduce(kPayload, domains, r);
  expect_all_reduced(schedule);
  expect_time(schedule, kInside, kInside, nvls_tree_all_reduce_time(kPayload, domains, r, kInside));
}

TEST(BlockClosedForms, ByHand) {
  // 8 ranks, 800 MB, 100 GB/s, 1 us. PAT: 3 us + 700 MB. Rabenseifner: 6 us + 1400 MB. NVLS: 17 x (1 us + 1
  // ms).
  const LinkCost link{gigabytes_per_second(100), microseconds(1)};
  EXPECT_NEAR(pat_time(Bytes(8e8), 8, link).base(), 3e-6 + 7e-3, 1e-12);
  EXPECT_NEAR(rabenseifner_all_reduce_time(Bytes(8e8), 8, link).base(), 6e-6 + 14e-3, 1e-12);
  EXPECT_NEAR(nvls_all_reduce_time(Bytes(8e8), 8, link).base(), 17 * (1e-6 + 1e-3), 1e-12);
  EXPECT_NEAR(recursive_doubling_all_reduce_time(Bytes(8e8), 6, link).base(), 4 * (1e-6 + 8e-3), 1e-12);
}

TEST(BlockClosedForms, NothingToSendCostsNothingAndBadArgumentsAreRefused) {
  EXPECT_EQ(pat_time(Bytes(0), 8, kInside).base(), 0.0);
  EXPECT_EQ(nvls_all_reduce_time(kPayload, 1, kInside).base(), 0.0);
  EXPECT_EQ(rabenseifner_all_reduce_time(kPayload, 1, kInside).base(), 0.0);
  EXPECT_EQ(hierarchical_all_reduce_time(kPayload, 1, 1, kInside, kAcross).base(), 0.0);
  EXPECT_TRUE(pat_all_gather(kPayload, 1).transfers.empty());
  EXPECT_TRUE(pairwise_all_to_all(kPayload, 1).transfers.empty());
  EXPECT_THROW(pat_all_gather(kPayload, 0), std::invalid_argument);
  EXPECT_THROW(pat_time(kPayload, 4, LinkCost{BytesPerSecond(0), Seconds()}), std::invalid_argument);
  EXPECT_THROW(pairwise_all_to_all_v({{Bytes(1)}, {Bytes(1), Bytes(2)}}), std::invalid_argument);
  EXPECT_THROW(pairwise_all_to_all_v({{Bytes(0), Bytes(-1)}, {Bytes(0), Bytes(0)}}), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
