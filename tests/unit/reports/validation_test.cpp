#include "reports/answers/validation.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

ValidationRow scored(const std::string& id, double measured, double predicted, double mfu) {
  ValidationRow row;
  row.id = id;
  row.source_group = "source";
  row.gpu = "gpu";
  row.precision = "bf16";
  row.model_kind = "dense";
  row.parallel = "data";
  row.workload = id;
  row.scored = true;
  row.measured_step_s = measured;
  row.predicted_step_s = predicted;
  row.interval_s = {0.95 * predicted, 1.05 * predicted};
  row.error = predicted / measured - 1.0;
  row.measured_mfu = mfu;
  return row;
}

TEST(NullModel, GivesEachRowTheMedianMfuOfTheOthers) {
  std::vector<ValidationRow> rows = {scored("a", 1, 1, 0.4), scored("b", 1, 1, 0.5), scored("c", 1, 1, 0.8)};
  score_null_model(rows);
  // At MFU m' instead of m a step takes m / m' times as long. Medians of the others: 0.65, 0.6, 0.45.
  EXPECT_DOUBLE_EQ(*rows[0].null_error, 0.4 / 0.65 - 1.0);
  EXPECT_DOUBLE_EQ(*rows[1].null_error, 0.5 / 0.6 - 1.0);
  EXPECT_DOUBLE_EQ(*rows[2].null_error, 0.8 / 0.45 - 1.0);
}

TEST(NullModel, UsesOnlyRowsOfTheSameSourceGpuAndPrecision) {
  std::vector<ValidationRow> rows(4, scored("a", 1, 1, 0.4));
  rows[1].source_group = "other";
  rows[2].gpu = "other";
  rows[3].precision = "fp8";
  score_null_model(rows);
  for (const ValidationRow& row : rows) EXPECT_FALSE(row.null_error.has_value());
}

TEST(Summary, ComputesErrorsOverScoredRows) {
  std::vector<ValidationRow> rows = {scored("a", 1.0, 1.1, 0.4), scored("b", 2.0, 1.6, 0.5),
                                     scored("c", 4.0, 4.0, 0.5)};
  rows.push_back({});
  rows.back().source_group = "source";
  rows.back().reason = "not modelled";
  const ValidationSummary all = summarize(rows).front();
  EXPECT_EQ(all.by, "all");
  EXPECT_EQ(all.rows, 4);
  EXPECT_EQ(all.scored, 3);
  EXPECT_NEAR(*all.mape, (0.1 + 0.2 + 0.0) / 3, 1e-12);
  EXPECT_NEAR(*all.median, 0.1, 1e-12);
  EXPECT_NEAR(*all.p90, 0.18, 1e-12);  // place 2 * 0.9 = 1.8 between 0.1 and 0.2
  EXPECT_NEAR(*all.bias, -0.1 / 3, 1e-12);
  EXPECT_NEAR(*all.worst, -0.2, 1e-12);
  EXPECT_NEAR(*all.interval_coverage, 1.0 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(*all.rank_correlation, 1.0);
  EXPECT_FALSE(all.concordance.has_value());  // no two rows lay out the same step
}

TEST(Summary, JudgesTheChoiceAmongPlansOfOneWorkload) {
  // Measured 1 < 2 < 3, predicted 2.0, 1.5, 3.0: two of three pairs in order; the plan chosen is 2 instead
  // of 1.
  std::vector<ValidationRow> rows = {scored("a", 1.0, 2.0, 0.4), scored("b", 2.0, 1.5, 0.4),
                                     scored("c", 3.0, 3.0, 0.4)};
  for (ValidationRow& row : rows) row.workload = "the same";
  const ValidationSummary all = summarize(rows).front();
  EXPECT_DOUBLE_EQ(*all.concordance, 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(*all.regret, 1.0);
}

TEST(Summary, HasNoStatisticsWithoutScoredRows) {
  ValidationRow row;
  row.source_group = "source";
  const ValidationSummary all = summarize({row}).front();
  EXPECT_EQ(all.rows, 1);
  EXPECT_EQ(all.scored, 0);
  EXPECT_FALSE(all.mape.has_value());
  EXPECT_FALSE(all.null_mape.has_value());
}

TEST(Refusals, AreCountedByReasonMostFrequentFirst) {
  std::vector<ValidationRow> rows(3);
  rows[0].reason = "a rare one";
  rows[1].reason = rows[2].reason = "the usual one";
  const std::vector<RefusalCount> refusals = count_refusals(rows);
  ASSERT_EQ(refusals.size(), 2U);
  EXPECT_EQ(refusals[0].reason, "the usual one");
  EXPECT_EQ(refusals[0].rows, 2);
  EXPECT_EQ(refusals[1].rows, 1);
}

}  // namespace
}  // namespace orrery
