#include "sim/collectives/one_thread.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "calibration/collectives/collective_profiles.hpp"
#include "calibration/collectives/one_thread_fit.hpp"

namespace orrery {
namespace {

// Twenty calls of one thread, event by event: it launches the kernels of one call after the other and never
// waits; a call's kernels run once its last one is launched and the call before it has ended.
double twenty_calls(double alone, int gpus, double launch) {
  double launched = 0.0;
  double ended = 0.0;
  for (int call = 0; call < 20; ++call) {
    for (int gpu = 0; gpu < gpus; ++gpu) launched += launch;
    ended = std::max(ended, launched) + alone;
  }
  return ended / 20;
}

TEST(OneThread, IsThePipelineOfLaunchesAndKernels) {
  for (const double alone : {3e-6, 16e-6, 17e-6, 80e-6, 2e-3}) {
    for (const int gpus : {2, 4, 8}) {
      EXPECT_NEAR(time_of_one_thread(alone, gpus, 4e-6) / twenty_calls(alone, gpus, 4e-6), 1.0, 1e-12);
    }
  }
  // By hand: 4 launches of 4 us hold up a call of 10 us: 16 + 10 / 20.
  EXPECT_NEAR(time_of_one_thread(10e-6, 4, 4e-6), 16.5e-6, 1e-15);
  EXPECT_EQ(time_of_one_thread(10e-6, 1, 4e-6), 10e-6);
}

TEST(OneThread, IsNeverFasterAndNeverFasterWithMoreBytes) {
  const OneThreadConstants constants = load_one_thread_constants();
  for (const CollectiveOp op : {CollectiveOp::all_reduce, CollectiveOp::all_to_all}) {
    double before = 0.0;
    for (double payload = 1.0; payload < 1e10; payload *= 1.5) {
      const double alone = 5e-6 + payload / 300e9;
      const double together = time_of_one_thread(alone, 8, launch_time(constants, op, payload));
      EXPECT_GE(together, alone);
      EXPECT_GE(together, before);
      before = together;
    }
  }
}

TEST(LoneCalls, HoldTheStartThatCallsInARowShare) {
  // Events around k calls of 10 us hold one start of 20 us: (20 + 10 k) / k. A call of nccl-tests' twenty
  // is 11.
  for (const int calls : {1, 2, 5, 20}) {
    EXPECT_NEAR(time_in_a_row(11e-6, 20e-6, calls), (20e-6 + 10e-6 * calls) / calls, 1e-18) << calls;
  }
  EXPECT_EQ(time_in_a_row(11e-6, 20e-6, 100), 11e-6);
}

TEST(LoneCalls, FitTakesTheMedianOfShortCallsByKind) {
  std::vector<LoneRow> rows;
  for (int i = -2; i <= 2; ++i) {
    const double alone = 50e-6;
    rows.push_back({CollectiveOp::all_gather, 1e6, alone + 0.95 * (16e-6 + i * 1e-6), alone, 1});
    rows.push_back({CollectiveOp::all_to_all, 1e6, alone + 0.95 * (25e-6 + i * 3e-6), alone, 1});
    rows.push_back({CollectiveOp::all_gather, 1e9, 2 * alone, alone, 1});  // too long to show a start
  }
  const OneThreadConstants fitted = fit_one_thread({}, rows);
  EXPECT_NEAR(lone_start(fitted, CollectiveOp::reduce_scatter), 16e-6, 1e-9);
  EXPECT_NEAR(lone_start(fitted, CollectiveOp::send_receive), 25e-6, 1e-9);
  EXPECT_EQ(lone_start(fit_one_thread({}), CollectiveOp::all_reduce), 0.0);
}

// "PyTorch's per-call host overhead of some 20-30us" (all_reduce_bench.py); XLA's events hold about as much.
TEST(LoneCalls, ShippedStartsAreAsPublished) {
  const OneThreadConstants constants = load_one_thread_constants();
  EXPECT_GT(constants.lone.collective, 10e-6);
  EXPECT_LT(constants.lone.exchange, 35e-6);
  EXPECT_LT(constants.lone.collective, constants.lone.exchange);
}

TEST(OneThread, LaunchesGrowWithTheChannelsOfTheSize) {
  const OneThreadConstants constants{{4e-6, 5.5e-6}, {6e-6, 7.5e-6}, {}};
  const CollectiveOp gather = CollectiveOp::all_gather;
  EXPECT_DOUBLE_EQ(launch_time(constants, gather, 8.0), 4e-6);
  EXPECT_DOUBLE_EQ(launch_time(constants, gather, 131072.0), 4.5e-6);  // one of three octaves
  EXPECT_DOUBLE_EQ(launch_time(constants, gather, 1e9), 5.5e-6);
  EXPECT_DOUBLE_EQ(launch_time(constants, CollectiveOp::send_receive, 8.0), 6e-6);
}

TEST(OneThread, FitRecoversTheLaunches) {
  std::vector<OneThreadRow> rows;
  for (const CollectiveOp op : {CollectiveOp::all_reduce, CollectiveOp::all_to_all}) {
    for (int k = 10; k <= 26; ++k) {
      OneThreadRow row;
      row.op = op;
      row.bytes = std::ldexp(1.0, k);
      row.alone = 7e-6 + row.bytes / 300e9;
      row.gpus = 4;
      row.seconds = time_of_one_thread(row.alone, 4,
                                       launch_time({{4.2e-6, 5e-6}, {5.5e-6, 6.4e-6}, {}}, op, row.bytes));
      rows.push_back(row);
    }
  }
  const OneThreadConstants fitted = fit_one_thread(rows);
  constexpr double kDigits = 5e-9;  // constants are kept with three
  EXPECT_NEAR(fitted.collective.few, 4.2e-6, kDigits);
  EXPECT_NEAR(fitted.collective.all, 5e-6, kDigits);
  EXPECT_NEAR(fitted.exchange.few, 5.5e-6, kDigits);
  EXPECT_NEAR(fitted.exchange.all, 6.4e-6, kDigits);
  EXPECT_EQ(fit_one_thread({}).collective.few, 0.0);
}

}  // namespace
}  // namespace orrery
