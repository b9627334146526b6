#include "models/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

namespace orrery {
namespace {

/// Makespan of a schedule with free communication: forwards take 1, backwards 2, each stage does its passes
/// in order.
double unit_makespan(const Schedule& schedule) {
  using Key = std::tuple<PassKind, int, std::int32_t>;  // kind, virtual stage, micro-batch
  std::map<Key, double> ended;
  std::vector<size_t> next(static_cast<size_t>(schedule.stages), 0);
  std::vector<double> free_at(static_cast<size_t>(schedule.stages), 0.0);
  const int last = schedule.stages * schedule.chunks - 1;
  for (bool moved = true; moved;) {
    moved = false;
    for (int stage = 0; stage < schedule.stages; ++stage) {
      const auto s = static_cast<size_t>(stage);
      for (; next[s] < schedule.order[s].size(); ++next[s]) {
        const SchedulePass& pass = schedule.order[s][next[s]];
        const int at = pass.chunk * schedule.stages + stage;
        const bool forward = pass.kind == PassKind::forward;
        std::vector<Key> needs;
        if (forward && at > 0) needs.emplace_back(PassKind::forward, at - 1, pass.micro_batch);
        if (!forward) needs.emplace_back(PassKind::forward, at, pass.micro_batch);
        if (!forward && at < last) needs.emplace_back(PassKind::backward, at + 1, pass.micro_batch);
        double start = free_at[s];
        bool ready = true;
        for (const Key& need : needs) {
          const auto found = ended.find(need);
          ready = ready && found != ended.end();
          if (ready) start = std::max(start, found->second);
        }
        if (!ready) break;
        free_at[s] = start + (forward ? 1.0 : 2.0);
        ended[{pass.kind, at, pass.micro_batch}] = free_at[s];
        moved = true;
      }
    }
  }
  return *std::max_element(free_at.begin(), free_at.end());
}

// SC21 section 2.2: the bubble is (p-1)/m of the ideal time, (p-1)/(m v) under interleaving. 1e-9: sums of
// whole numbers.
void expect_textbook_bubble(ScheduleKind kind, int stages, int chunks, int micro_batches) {
  const Schedule schedule = make_schedule(kind, stages, chunks, micro_batches);
  ASSERT_EQ(find_deadlock(schedule), "") << stages << " x " << chunks << ", " << micro_batches;
  const double ideal = 3.0 * micro_batches * chunks;
  const double bubble = unit_makespan(schedule) / ideal - 1.0;
  EXPECT_NEAR(bubble, static_cast<double>(stages - 1) / (micro_batches * chunks), 1e-9)
      << stages << " x " << chunks << ", " << micro_batches;
  EXPECT_NEAR(bubble_fraction(kind, stages, chunks, micro_batches), bubble, 1e-9);
}

TEST(Schedule, BubblesAreThoseOfThePaper) {
  for (const int stages : {1, 2, 3, 4, 7, 8}) {
    for (const int micro_batches : {1, 2, 3, 8, 13, 32}) {  // fewer micro-batches than stages too
      expect_textbook_bubble(ScheduleKind::gpipe, stages, 1, micro_batches);
      expect_textbook_bubble(ScheduleKind::one_f_one_b, stages, 1, micro_batches);
    }
    for (const int chunks : {2, 3, 5}) {
      for (const int rounds : {1, 2, 5}) {
        expect_textbook_bubble(ScheduleKind::interleaved, stages, chunks, rounds * stages);
      }
    }
  }
}

TEST(Schedule, OneForwardOneBackwardOfTwoStagesByHand) {
  const Schedule schedule = make_schedule(ScheduleKind::one_f_one_b, 2, 1, 3);
  const auto f = [](std::int32_t i) { return SchedulePass{PassKind::forward, 0, i}; };
  const auto b = [](std::int32_t i) { return SchedulePass{PassKind::backward, 0, i}; };
  EXPECT_EQ(schedule.order[0], (std::vector<SchedulePass>{f(0), f(1), b(0), f(2), b(1), b(2)}));
  EXPECT_EQ(schedule.order[1], (std::vector<SchedulePass>{f(0), b(0), f(1), b(1), f(2), b(2)}));
}

TEST(Schedule, InterleavedFollowsMegatronsOrder) {
  // SC21 Figure 4, bottom, first device of 4 with 2 chunks: 1 2 3 4 of chunk 0, 1 2 3 4 of chunk 1, then 5 6
  // of chunk 0 before the first backward: warm-up 2 (4-1) + 4 = 10, and one more forward in the steady state.
  const Schedule schedule = make_schedule(ScheduleKind::interleaved, 4, 2, 8);
  const std::vector<SchedulePass>& order = schedule.order[0];
  const auto pass = [](PassKind kind, std::int16_t chunk, std::int32_t i) {
    return SchedulePass{kind, chunk, i};
  };
  EXPECT_EQ(order[3], pass(PassKind::forward, 0, 3));
  EXPECT_EQ(order[4], pass(PassKind::forward, 1, 0));
  EXPECT_EQ(order[8], pass(PassKind::forward, 0, 4));
  EXPECT_EQ(order[10], pass(PassKind::forward, 0, 6));
  EXPECT_EQ(order[11], pass(PassKind::backward, 1, 0));
}

TEST(Schedule, MicroBatchesInFlight) {
  constexpr int kStages = 4;
  constexpr int kMicroBatches = 16;
  const Schedule gpipe = make_schedule(ScheduleKind::gpipe, kStages, 1, kMicroBatches);
  const Schedule plain = make_schedule(ScheduleKind::one_f_one_b, kStages, 1, kMicroBatches);
  for (int stage = 0; stage < kStages; ++stage) {
    EXPECT_EQ(peak_in_flight(gpipe, stage), kMicroBatches);
    EXPECT_EQ(peak_in_flight(plain, stage), kStages - stage);
    for (const int chunks : {2, 3}) {
      // Warm-up of 2 (p-s-1) + (v-1) p passes, and one forward before the first backward.
      const Schedule interleaved = make_schedule(ScheduleKind::interleaved, kStages, chunks, kMicroBatches);
      EXPECT_EQ(peak_in_flight(interleaved, stage), 2 * (kStages - stage - 1) + (chunks - 1) * kStages + 1);
    }
  }
  const Schedule few = make_schedule(ScheduleKind::interleaved, kStages, 2, kStages);
  EXPECT_EQ(peak_in_flight(few, 0), 8);  // capped by the m v = 8 passes there are
}

TEST(Schedule, FindsADeadlock) {
  Schedule schedule = make_schedule(ScheduleKind::one_f_one_b, 2, 1, 2);
  std::swap(schedule.order[0][0],
            schedule.order[0][2]);  // the first stage wants a backward before any forward
  EXPECT_EQ(find_deadlock(schedule), "stage 0: backward of micro-batch 0, chunk 0 never starts");
}

TEST(Schedule, FindsAPassThatIsMissingOrThereTwice) {
  Schedule missing = make_schedule(ScheduleKind::gpipe, 2, 1, 2);
  missing.order[1].pop_back();
  EXPECT_EQ(find_deadlock(missing), "stage 1: backward of micro-batch 0, chunk 0 is missing");
  Schedule twice = make_schedule(ScheduleKind::gpipe, 2, 1, 2);
  twice.order[1].push_back(twice.order[1].front());
  EXPECT_EQ(find_deadlock(twice), "stage 1: forward of micro-batch 0, chunk 0 is listed twice");
}

TEST(Schedule, RefusesWhatItIsNotDefinedFor) {
  EXPECT_THROW(make_schedule(ScheduleKind::interleaved, 4, 2, 6), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::gpipe, 4, 2, 8), std::invalid_argument);
  EXPECT_THROW(make_schedule(ScheduleKind::one_f_one_b, 0, 1, 8), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
