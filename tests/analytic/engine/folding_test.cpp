#include <gtest/gtest.h>

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

/// Data-parallel rings, one through the GPUs of each number, on four nodes under two leaves. The rings go 0,
/// 2, 1, 3, so every hop crosses the uplinks, twice a ring and direction.
std::vector<std::vector<int>> rings_of(int gpus) {
  std::vector<std::vector<int>> rings;
  for (int number = 0; number < gpus; ++number) {
    rings.push_back({number, 2 * gpus + number, gpus + number, 3 * gpus + number});
  }
  return rings;
}

/// `rounds` all-reduces, each after 1 ms of work, on the ranks of each given set of rings. In full scope
/// every ring is simulated; folded, one stands for all.
WorkloadGraph rounds_of(const std::vector<std::vector<std::vector<int>>>& ring_sets, double bound,
                        int rounds) {
  WorkloadGraphBuilder builder(static_cast<int>(ring_sets.size()));
  const auto work = builder.add_segment(segment(1e-3));
  for (size_t rank = 0; rank < ring_sets.size(); ++rank) {
    // Four ranks: 1.5 payloads on the wire.
    const auto reduce = builder.add_communication(
        communication(CollectiveOp::all_reduce, 1e9, 20e-6, 1.5e9 / bound, ring_sets[rank]));
    std::int32_t before = -1;
    for (int round = 0; round < rounds; ++round) {
      const auto compute = builder.add_task(segment_task(static_cast<int>(rank), work));
      if (before >= 0) {
        builder.depend(compute, before);
      }
      before = builder.add_task(communication_task(static_cast<int>(rank), reduce));
      builder.depend(before, compute);
    }
  }
  return builder.finish();
}

void expect_folded_equals_full(int nics, double bound, double seconds_a_round) {
  constexpr int kGpus = 8;
  // 2:1: two nodes' NICs over an uplink of half their rate.
  const SmallFabric fabric{
      .nodes = 4, .gpus = kGpus, .nics = nics, .nodes_a_leaf = 2, .uplink = 2.0 * nics * 50e9 / 2.0};
  const Topology topology = fabric.build();
  std::vector<std::vector<std::vector<int>>> separate;
  for (const auto& ring : rings_of(kGpus)) {
    separate.push_back({ring});
  }
  constexpr int kRounds = 3;
  const StepTimeline full = run_simgrid(rounds_of(separate, bound, kRounds), topology);
  const StepTimeline folded = run_simgrid(rounds_of({rings_of(kGpus)}, bound, kRounds), topology);
  EXPECT_NEAR(folded.makespan_s, kRounds * seconds_a_round, 1e-6 * folded.makespan_s);
  EXPECT_NEAR(folded.makespan_s, full.makespan_s, 1e-6 * full.makespan_s);
  EXPECT_TRUE(full.contended);
  EXPECT_TRUE(folded.contended);
  ASSERT_EQ(full.link_bytes.size(), folded.link_bytes.size());
  for (size_t link = 0; link < full.link_bytes.size(); ++link) {
    EXPECT_NEAR(full.link_bytes[link], folded.link_bytes[link], 1.0) << "link " << link;
  }
}

TEST(Folding, EightRingsOverEightNicsUnderATwoToOneLeaf) {
  // 8 rings x 2 crossings over 400 GB/s: 25 GB/s a ring; 1.5 GB takes 60 ms (30 ms alone on its NIC).
  expect_folded_equals_full(8, 50e9, 1e-3 + 20e-6 + 1.5 / 25.0);
}

TEST(Folding, EightRingsOverFourNicsUnderATwoToOneLeaf) {
  // Two rings share a NIC: 25 GB/s is what the closed form gives each. 8 x 2 crossings over 200 GB/s: 12.5
  // GB/s.
  expect_folded_equals_full(4, 25e9, 1e-3 + 20e-6 + 1.5 / 12.5);
}

TEST(Folding, ReductionsAndPipelineSendsThatMeetOnTheUplink) {
  // Stage 0 on nodes 0 and 2, stage 1 on nodes 1 and 3 (leaves {0, 1} and {2, 3}); both stages reduce over
  // their two nodes while stage 0 sends to stage 1 across the leaves. Folded: stage 0 and stage 1 of GPU
  // number 0.
  constexpr int kGpus = 4;
  const Topology topology =
      SmallFabric{.nodes = 4, .gpus = kGpus, .nics = kGpus, .nodes_a_leaf = 2, .uplink = 150e9}.build();
  const auto gpu = [](int node, int number) { return node * kGpus + number; };
  const auto build = [&](bool folded) {
    using Groups = std::vector<std::vector<int>>;
    std::vector<std::array<Groups, 3>> ranks;  // groups of stage 0's reduction, stage 1's, the send
    for (int number = 0; number < kGpus; ++number) {
      const Groups first = {{gpu(0, number), gpu(2, number)}};
      const Groups second = {{gpu(1, number), gpu(3, number)}};
      const Groups send = {{gpu(0, number), gpu(3, number)}};
      if (folded && number > 0) {
        ranks[0][0].push_back(first[0]);
        ranks[0][1].push_back(second[0]);
        ranks[0][2].push_back(send[0]);
      } else {
        ranks.push_back({first, second, send});
      }
    }
    WorkloadGraphBuilder builder(static_cast<int>(2 * ranks.size()));
    const auto work = builder.add_segment(segment(1e-3));
    for (size_t i = 0; i < ranks.size(); ++i) {
      const int stage0 = static_cast<int>(2 * i);
      const auto start = builder.add_task(segment_task(stage0, work));
      const auto reduce0 =
          builder.add_communication(communication(CollectiveOp::all_reduce, 1e9, 5e-6, 20e-3, ranks[i][0]));
      const auto reduce1 =
          builder.add_communication(communication(CollectiveOp::all_reduce, 2e9, 5e-6, 40e-3, ranks[i][1]));
      const auto send = builder.add_communication(
          communication(CollectiveOp::send_receive, 0.3e9, 3e-6, 6e-3, ranks[i][2], GroupKind::pipeline));
      builder.depend(builder.add_task(communication_task(stage0, reduce0)), start);
      builder.add_task(communication_task(stage0 + 1, reduce1));
      const auto sent = builder.add_task(communication_task(stage0, send, 3));
      builder.depend(sent, start);
      builder.depend(builder.add_task(segment_task(stage0 + 1, work)), sent);
    }
    return builder.finish();
  };
  const StepTimeline full = run_simgrid(build(false), topology);
  const StepTimeline folded = run_simgrid(build(true), topology);
  EXPECT_TRUE(folded.contended);
  for (size_t task = 0; task < folded.end_s.size(); ++task) {
    EXPECT_NEAR(folded.end_s[task], full.end_s[task], 1e-6 * full.end_s[task]) << "task " << task;
  }
}

}  // namespace
}  // namespace orrery
