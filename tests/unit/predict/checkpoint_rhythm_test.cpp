// Two jobs that take turns at a store, against periods worked out by hand.
#include "reports/answers/checkpoint_rhythm.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

bool writes(Doing doing) { return doing == Doing::write || doing == Doing::steps_and_write; }

/// Steps of 1 s whatever else happens; a write takes 2 s alone and 4 s beside another.
std::array<Pace, 2> paces(Doing first, Doing second) {
  const double write_s = writes(first) && writes(second) ? 4.0 : 2.0;
  return {Pace{1.0, write_s}, Pace{1.0, write_s}};
}

TEST(CheckpointRhythm, WaitingForTheWritesOfOneRhythm) {
  // Three steps, then both write: 3 s + 4 s.
  const CheckpointRhythm rhythm{3, false, 0.0};
  for (const RhythmTotals& job : alternate({rhythm, rhythm}, paces)) {
    EXPECT_NEAR(job.step_s(), 7.0 / 3, 1e-9);
    EXPECT_NEAR(job.waited_a_step_s(), 4.0 / 3, 1e-9);
  }
}

TEST(CheckpointRhythm, AsynchronousWritesThatOutlastTheSteps) {
  // Every step a copy of 0.5 s, then the step and the write of 4 s beside it.
  const CheckpointRhythm rhythm{1, true, 0.5};
  for (const RhythmTotals& job : alternate({rhythm, rhythm}, paces)) {
    EXPECT_NEAR(job.step_s(), 4.5, 1e-9);
    EXPECT_NEAR(job.waited_a_step_s(), 3.5, 1e-9);
  }
}

TEST(CheckpointRhythm, OneJobAlone) {
  // Five steps beside a write of 2 s, after a copy of 0.5 s: the write is hidden, two steps of five beside
  // it.
  const auto [job, other] = alternate({CheckpointRhythm{5, true, 0.5}, CheckpointRhythm{}}, paces);
  EXPECT_NEAR(job.step_s(), 5.5 / 5, 1e-9);
  const auto with_write = job.steps_beside[static_cast<size_t>(Doing::steps_and_write)];
  EXPECT_NEAR(with_write[static_cast<size_t>(Doing::steps)] / job.steps, 2.0 / 5, 1e-9);
  EXPECT_NEAR(other.step_s(), 1.0, 1e-9);
}

TEST(CheckpointRhythm, MeetsSeldomWhereTheOtherWritesSeldom) {
  // The first writes for 2 s of every 3 s, the second once in 300 s: per write of the second the two share
  // for at most 6 s, so that the first's 100 periods take from 300 s to 304 s.
  const auto [often, seldom] =
      alternate({CheckpointRhythm{1, false, 0.0}, CheckpointRhythm{298, false, 0.0}}, paces);
  EXPECT_GT(often.step_s(), 3.0);
  EXPECT_LT(often.step_s(), 3.05);
  EXPECT_GT(seldom.step_s(), 300.0 / 298);
  EXPECT_LE(seldom.step_s(), 302.0 / 298 + 1e-9);
}

}  // namespace
}  // namespace orrery
