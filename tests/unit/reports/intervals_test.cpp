#include <gtest/gtest.h>

#include <cmath>

#include "reports/answers/predict.hpp"

namespace orrery {
namespace {

size_t at(BreakdownTerm term) { return static_cast<size_t>(term); }
Breakdown all(double spread) {
  Breakdown result{};
  result.fill(spread);
  return result;
}

TEST(SpreadInterval, IsThatOfALogNormalForComputeAlone) {
  Breakdown breakdown{};
  breakdown[at(BreakdownTerm::forward)] = 2.0;
  // sigma 0.1: exp(0.12816) = 1.13673.
  const auto interval = spread_interval(seconds(2.0), breakdown, 0.1, all(0.5));
  EXPECT_NEAR(interval[0].base(), 2.0 / 1.13673, 2e-5);
  EXPECT_NEAR(interval[1].base(), 2.0 * 1.13673, 2e-5);
}

TEST(SpreadInterval, AddsIndependentPartsInQuadrature) {
  Breakdown breakdown{};
  breakdown[at(BreakdownTerm::forward)] = 6.0;
  breakdown[at(BreakdownTerm::pipeline_bubble)] = 2.0;
  breakdown[at(BreakdownTerm::data_comm_exposed)] = 2.0;
  // Shares 0.8 and 0.2: sigma = sqrt((0.8 * 0.05)^2 + (0.2 * 0.15)^2) = sqrt(0.0016 + 0.0009) = 0.05.
  const auto interval = spread_interval(seconds(10.0), breakdown, 0.05, all(0.15));
  EXPECT_NEAR(std::log(interval[1].base() / 10.0), 1.2815515655446004 * 0.05, 1e-12);
}

TEST(SpreadInterval, TakesOfEachKindOfCommunicationItsOwn) {
  Breakdown breakdown{}, spread{};
  breakdown[at(BreakdownTerm::forward)] = 5.0;
  breakdown[at(BreakdownTerm::tensor_comm_exposed)] = 1.0;
  breakdown[at(BreakdownTerm::data_comm_exposed)] = 4.0;
  spread[at(BreakdownTerm::tensor_comm_exposed)] = 0.1;
  spread[at(BreakdownTerm::data_comm_exposed)] = 0.2;
  // 0.1 of the step by 10 % and 0.4 by 20 %, together: 9 %; the rest is certain.
  const auto interval = spread_interval(seconds(10.0), breakdown, 0.0, spread);
  EXPECT_NEAR(std::log(interval[1].base() / 10.0), 1.2815515655446004 * 0.09, 1e-12);
}

// Where the host holds the step up, what its times are assumed to be off by (20 %) decides, not the kernels
// that wait for it, and a bubble waits for either in proportion: 8 s of the 10 are the host's.
TEST(SpreadInterval, CountsTheHostAndStorageAsAssumed) {
  Breakdown breakdown{};
  breakdown[at(BreakdownTerm::forward)] = 1.0;
  breakdown[at(BreakdownTerm::other)] = 4.0;
  breakdown[at(BreakdownTerm::pipeline_bubble)] = 5.0;
  EXPECT_NEAR(step_spread(seconds(10.0), breakdown, 0.05, {}), 0.2 * 0.05, 1e-12);
  EXPECT_NEAR(assumed_spread(seconds(10.0), breakdown), 0.8 * 0.2, 1e-12);
  breakdown = {};
  breakdown[at(BreakdownTerm::forward)] = 5.0;
  breakdown[at(BreakdownTerm::input_exposed)] = 3.0;
  breakdown[at(BreakdownTerm::checkpoint_exposed)] = 2.0;
  // Half of it kernels at 4 %, half storage at a datasheet's 25 %.
  EXPECT_NEAR(step_spread(seconds(10.0), breakdown, 0.04, {}), 0.02, 1e-12);
  EXPECT_NEAR(assumed_spread(seconds(10.0), breakdown), 0.125, 1e-12);
  const auto interval = spread_interval(seconds(10.0), breakdown, 0.04, {});
  EXPECT_NEAR(std::log(interval[1].base() / 10.0), 1.2815515655446004 * std::hypot(0.02, 0.125), 1e-12);
}

TEST(SpreadInterval, IsAPointWithoutSpread) {
  Breakdown breakdown{};
  breakdown[at(BreakdownTerm::forward)] = 3.0;
  const auto interval = spread_interval(seconds(3.0), breakdown, 0.0, {});
  EXPECT_EQ(interval[0], seconds(3.0));
  EXPECT_EQ(interval[1], seconds(3.0));
}

TEST(WeakestEvidence, LooksAtTermsAboveFivePercentOnly) {
  Breakdown breakdown{};
  std::array<Evidence, kBreakdownTerms> evidence{};
  evidence.fill(Evidence::measured);
  breakdown[at(BreakdownTerm::forward)] = 94.0;
  breakdown[at(BreakdownTerm::optimizer)] = 5.0;
  breakdown[at(BreakdownTerm::other)] = 1.0;
  evidence[at(BreakdownTerm::optimizer)] = Evidence::assumed;
  evidence[at(BreakdownTerm::forward)] = Evidence::interpolated;
  EXPECT_EQ(weakest_evidence(breakdown, evidence), Evidence::interpolated);  // exactly 5 % does not count
  breakdown[at(BreakdownTerm::optimizer)] = 5.1;
  EXPECT_EQ(weakest_evidence(breakdown, evidence), Evidence::assumed);
}

}  // namespace
}  // namespace orrery
