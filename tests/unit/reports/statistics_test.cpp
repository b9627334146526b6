#include "reports/answers/statistics.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace orrery {
namespace {

TEST(Median, IsTheMiddleOrTheMeanOfTheTwoMiddleValues) {
  EXPECT_DOUBLE_EQ(*median({5, 1, 3}), 3.0);
  EXPECT_DOUBLE_EQ(*median({4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(*median({7}), 7.0);
  EXPECT_FALSE(median({}).has_value());
}

TEST(RankCorrelation, IsOneForAnyRisingAndMinusOneForAnyFallingRelation) {
  const std::vector<double> a = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(*rank_correlation(a, std::vector<double>{1, 8, 27, 64}), 1.0);
  EXPECT_DOUBLE_EQ(*rank_correlation(a, std::vector<double>{4, 3, 2, 1}), -1.0);
}

TEST(RankCorrelation, FollowsTheFormulaOfSquaredRankDifferences) {
  // Ranks 0 1 2 3 4 against 1 0 2 4 3: sum of squared differences 4, rho = 1 - 6 * 4 / (5 * 24) = 0.8.
  EXPECT_NEAR(*rank_correlation(std::vector<double>{1, 2, 3, 4, 5}, std::vector<double>{20, 10, 30, 50, 40}),
              0.8, 1e-15);
}

TEST(RankCorrelation, GivesTiesTheirMeanRank) {
  // Ranks 0 1 2 and 0.5 0.5 2: Pearson of (-1, 0, 1) and (-0.5, -0.5, 1) = 1.5 / sqrt(2 * 1.5).
  EXPECT_NEAR(*rank_correlation(std::vector<double>{1, 2, 3}, std::vector<double>{7, 7, 9}),
              0.8660254037844387, 1e-15);
}

TEST(RankCorrelation, NeedsThreePairsAndTwoSidesThatVary) {
  EXPECT_FALSE(rank_correlation(std::vector<double>{1, 2}, std::vector<double>{1, 2}).has_value());
  EXPECT_FALSE(rank_correlation(std::vector<double>{1, 2, 3}, std::vector<double>{5, 5, 5}).has_value());
}

}  // namespace
}  // namespace orrery
