#include "sim/engine/fluid_network.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <stdexcept>

namespace orrery {
namespace {

// Round-off of a handful of divisions; the model itself is exact.
constexpr double kRoundOff = 1e-12;

/// Runs to the end and returns when each flow ended.
std::map<std::int64_t, double> run(FluidNetwork& network) {
  std::map<std::int64_t, double> ends;
  std::vector<std::int64_t> ended;
  while (network.live() > 0) {
    const double time = network.next_time();
    ended.clear();
    network.advance(time, ended);
    for (const std::int64_t flow : ended) ends[flow] = time;
  }
  return ends;
}

void move_to(FluidNetwork& network, double time) {
  std::vector<std::int64_t> ended;
  while (network.next_time() < time) network.advance(network.next_time(), ended);
  network.advance(time, ended);
}

TEST(FluidNetwork, TwoFlowsOnOneLinkShareItUntilTheShorterEnds) {
  FluidNetwork network(std::vector<double>{10.0});
  const std::int32_t all = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  network.start(all, 10.0, 1);
  network.start(all, 20.0, 2);
  EXPECT_NEAR(network.rate(all), 5.0, kRoundOff);
  const auto ends = run(network);
  EXPECT_NEAR(ends.at(1), 2.0, kRoundOff);  // 10 bytes at 5 B/s
  EXPECT_NEAR(ends.at(2), 3.0, kRoundOff);  // the other 10 at 10 B/s
  EXPECT_NEAR(network.link_bytes(0), 30.0, 1e-9);
  EXPECT_NEAR(network.busy_s(0), 3.0, kRoundOff);
}

TEST(FluidNetwork, TheParkingLotOfTwoLinks) {
  // A over both links, B on the first (1 B/s), C on the second (2 B/s): the first link binds A and B at 1/2,
  // C gets what is left of the second.
  FluidNetwork network(std::vector<double>{1.0, 2.0});
  const std::int32_t a = network.add_class(std::vector<FluidLoad>{{0, 1.0}, {1, 1.0}});
  const std::int32_t b = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  const std::int32_t c = network.add_class(std::vector<FluidLoad>{{1, 1.0}});
  for (const std::int32_t each : {a, b, c}) network.start(each, 100.0, each);
  EXPECT_NEAR(network.rate(a), 0.5, kRoundOff);
  EXPECT_NEAR(network.rate(b), 0.5, kRoundOff);
  EXPECT_NEAR(network.rate(c), 1.5, kRoundOff);
}

TEST(FluidNetwork, AFlowThatCrossesALinkThreeTimesGetsTheSameRateAndLoadsItThrice) {
  // Measured of SimGrid (design, section 4): both get 0.25 of 1 GB/s.
  FluidNetwork network(std::vector<double>{1e9});
  const std::int32_t thrice = network.add_class(std::vector<FluidLoad>{{0, 1.0}, {0, 1.0}, {0, 1.0}});
  const std::int32_t once = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  network.start(thrice, 1e9, 0);
  network.start(once, 1e9, 1);
  EXPECT_NEAR(network.rate(thrice), 0.25e9, 1e-3);
  EXPECT_NEAR(network.rate(once), 0.25e9, 1e-3);
}

TEST(FluidNetwork, ASprayedFlowLoadsEachLinkByItsShare) {
  // A halves over two links of 1, B takes the first: x/2 + x = 1 there, so both get 2/3; alone A gets 2.
  FluidNetwork network(std::vector<double>{1.0, 1.0});
  const std::int32_t a = network.add_class(std::vector<FluidLoad>{{0, 0.5}, {1, 0.5}});
  const std::int32_t b = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  network.start(a, 2.0, 0);
  network.start(b, 2.0, 1);
  EXPECT_NEAR(network.rate(a), 2.0 / 3.0, kRoundOff);
  EXPECT_NEAR(network.rate(b), 2.0 / 3.0, kRoundOff);
  EXPECT_NEAR(network.bound(a), 2.0, kRoundOff);
}

TEST(FluidNetwork, WhatABoundedFlowLeavesGoesToTheOthers) {
  FluidNetwork network(std::vector<double>{10.0});
  const std::int32_t slow = network.add_class(std::vector<FluidLoad>{{0, 1.0}}, 2.0);
  const std::int32_t fast = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  network.start(slow, 100.0, 0);
  network.start(fast, 100.0, 1);
  network.start(fast, 100.0, 2);
  EXPECT_NEAR(network.rate(slow), 2.0, kRoundOff);
  EXPECT_NEAR(network.rate(fast), 4.0, kRoundOff);
}

TEST(FluidNetwork, FlowsThatStartLaterShareFromThen) {
  // 100 bytes at 10 B/s; at 4 s a second flow halves the rate: 60 left take until it ends at 4 + 30/5 = 10 s
  // (30 bytes), then 30 bytes at 10 B/s: 13 s.
  FluidNetwork network(std::vector<double>{10.0});
  const std::int32_t all = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  network.start(all, 100.0, 1);
  move_to(network, 4.0);
  network.start(all, 30.0, 2);
  const auto ends = run(network);
  EXPECT_NEAR(ends.at(2), 10.0, 1e-11);
  EXPECT_NEAR(ends.at(1), 13.0, 1e-11);
}

TEST(FluidNetwork, AThousandFlowsOfOneClassAreOneClass) {
  FluidNetwork network(std::vector<double>{10.0});
  const std::int32_t all = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
  for (int i = 0; i < 1000; ++i) network.start(all, 1.0, i);
  const auto ends = run(network);
  ASSERT_EQ(ends.size(), 1000U);
  for (const auto& [flow, time] : ends) EXPECT_NEAR(time, 100.0, 1e-9);
  EXPECT_EQ(network.classes_solved(), 1);
}

TEST(FluidNetwork, OnlyWhatIsConnectedIsSolvedAgain) {
  // A hundred pairs, each on a link of its own; then one link that nothing can fill joins them all.
  std::vector<double> capacity(100, 1.0);
  capacity.push_back(1000.0);
  FluidNetwork network(capacity);
  std::vector<std::int64_t> ended;
  for (std::int32_t i = 0; i < 100; ++i) {
    const std::int32_t pair = network.add_class(std::vector<FluidLoad>{{i, 1.0}, {100, 1.0}});
    network.start(pair, 1.0 + i, 2 * i);
    network.start(pair, 2.0 + i, 2 * i + 1);
  }
  run(network);
  // 100 classes at the start; then one at every end but those that leave its link empty or that end together.
  EXPECT_LE(network.classes_solved(), 100 + 200);
}

TEST(FluidNetwork, ALinkThatItsFlowsCannotFillBindsNobody) {
  FluidNetwork network(std::vector<double>{10.0});
  const std::int32_t slow = network.add_class(std::vector<FluidLoad>{{0, 1.0}}, 1.0);
  for (int i = 0; i < 10; ++i) network.start(slow, 5.0, i);
  for (const auto& [flow, time] : run(network)) EXPECT_NEAR(time, 5.0, kRoundOff);
  EXPECT_NEAR(network.busy_s(0), 5.0, kRoundOff);  // ten flows of 1 B/s are 10 B/s all the same
}

TEST(FluidNetwork, TheDefaultToleranceSavesSolvesAndMovesNoEndByMuch) {
  // Two hundred flows of one link that end one shortly after the other: every end raises the others' rates,
  // and what is put off adds up to a few times the tolerance of 0.2 %. That is the worst case known (0.44 %);
  // half a percent is what --tolerance promises.
  const auto ends_with = [](double tolerance, std::int64_t& solves) {
    FluidNetwork network(std::vector<double>{10.0}, {tolerance});
    const std::int32_t all = network.add_class(std::vector<FluidLoad>{{0, 1.0}});
    for (int i = 0; i < 200; ++i) network.start(all, 100.0 + i, i);
    const auto ends = run(network);
    solves = network.solves();
    return ends;
  };
  std::int64_t exact_solves = 0, solves = 0;
  const auto exact = ends_with(0.0, exact_solves);
  const auto late = ends_with(0.002, solves);
  EXPECT_EQ(exact_solves, 200);
  EXPECT_LT(solves, exact_solves);
  for (const auto& [flow, time] : exact) {
    EXPECT_LE(late.at(flow) / time - 1.0, 0.005);
    EXPECT_GE(late.at(flow), time * (1 - 1e-12));  // what has left is not given away twice
  }
}

TEST(FluidNetwork, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(FluidNetwork(std::vector<double>{0.0}), std::invalid_argument);
  EXPECT_THROW(FluidNetwork(std::vector<double>{1.0}, {-0.1}), std::invalid_argument);
  EXPECT_THROW(FluidNetwork(std::vector<double>{1.0}, {0.6}), std::invalid_argument);
  FluidNetwork network(std::vector<double>{1.0});
  EXPECT_THROW(network.add_class(std::vector<FluidLoad>{{1, 1.0}}), std::invalid_argument);
  EXPECT_THROW(network.add_class(std::vector<FluidLoad>{{-1, 1.0}}), std::invalid_argument);
  EXPECT_THROW(network.add_class(std::vector<FluidLoad>{{0, 0.0}}), std::invalid_argument);
  EXPECT_THROW(network.add_class(std::vector<FluidLoad>{{0, 1.0}}, 0.0), std::invalid_argument);
  EXPECT_THROW(network.add_class({}), std::invalid_argument);
  EXPECT_EQ(network.add_class({}, 3.0), 0);  // a flow without links runs at its bound
  network.start(0, 6.0, 0);
  EXPECT_NEAR(run(network).at(0), 2.0, kRoundOff);
  EXPECT_THROW(network.start(0, 0.0, 0), std::invalid_argument);
  EXPECT_THROW(network.start(0, std::nan(""), 0), std::invalid_argument);
  network.start(0, 3.0, 0);
  std::vector<std::int64_t> ended;
  EXPECT_THROW(network.advance(1.0, ended), std::logic_error);   // back
  EXPECT_THROW(network.advance(10.0, ended), std::logic_error);  // past the end at 3 s
}

}  // namespace
}  // namespace orrery
