#include "reports/answers/validation.hpp"

#include <gtest/gtest.h>

#include "reports/answers/run_description.hpp"

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
  row.workload = row.plan = id;
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
  EXPECT_FALSE(all.plans.concordance.has_value());  // no two rows lay out the same step
}

TEST(Summary, JudgesTheChoiceAmongPlansOfOneWorkload) {
  // Measured 1 < 2 < 3, predicted 2.0, 1.5, 3.0: two of three pairs in order; the plan chosen is 2 instead
  // of 1.
  std::vector<ValidationRow> rows = {scored("a", 1.0, 2.0, 0.4), scored("b", 2.0, 1.5, 0.4),
                                     scored("c", 3.0, 3.0, 0.4)};
  for (ValidationRow& row : rows) row.workload = "the same";
  const PlanRanking all = summarize(rows).front().plans;
  EXPECT_EQ(all.groups, 1);
  EXPECT_EQ(all.pairs, 3);
  EXPECT_DOUBLE_EQ(*all.concordance, 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(*all.median_regret, 1.0);
}

TEST(PlanRanking, LeavesOutPairsThatDifferByLessThanTenPercent) {
  // 1.0 and 1.099 are too close, 1.0 and 1.1 are not (10 % or more), nor 1.099 and 1.3, 1.1 and 1.3, 1.0 and
  // 1.3; all predicted in the reverse order.
  std::vector<ValidationRow> rows = {scored("a", 1.0, 4.0, 0.4), scored("b", 1.099, 3.0, 0.4),
                                     scored("c", 1.1, 2.0, 0.4), scored("d", 1.3, 1.0, 0.4)};
  for (ValidationRow& row : rows) row.workload = "the same";
  const PlanRanking all = summarize(rows).front().plans;
  EXPECT_EQ(all.pairs, 4);  // a-c, a-d, b-d, c-d; a-b and b-c are too close
  EXPECT_DOUBLE_EQ(*all.concordance, 0.0);
  EXPECT_DOUBLE_EQ(*all.median_regret, 0.3 / 1.0);
}

TEST(PlanRanking, TakesRunsOfOnePlanAsOne) {
  // Plan "p" measured 1.0 and 3.0, on average as slow as plan "q": no pair that differs; chosen is p.
  std::vector<ValidationRow> rows = {scored("a", 1.0, 1.5, 0.4), scored("b", 3.0, 1.5, 0.4),
                                     scored("c", 2.0, 2.5, 0.4)};
  for (ValidationRow& row : rows) row.workload = "the same";
  rows[0].plan = rows[1].plan = "p";
  const PlanRanking all = summarize(rows).front().plans;
  EXPECT_EQ(all.groups, 1);
  EXPECT_EQ(all.pairs, 0);
  EXPECT_FALSE(all.concordance.has_value());
  EXPECT_DOUBLE_EQ(*all.median_regret, 0.0);
  EXPECT_DOUBLE_EQ(*all.worst_regret, 0.0);
}

TEST(PlanRanking, CountsEqualPredictionsAHalfAndTakesTheMedianOfTheRegrets) {
  // Three workloads of two plans each: regrets 0, 0.5 and 3; one pair undecided, two decided, one of them
  // right.
  std::vector<ValidationRow> rows = {scored("a", 1.0, 1.0, 0.4), scored("b", 2.0, 1.0, 0.4),
                                     scored("c", 1.0, 2.0, 0.4), scored("d", 1.5, 1.0, 0.4),
                                     scored("e", 4.0, 1.0, 0.4), scored("f", 1.0, 2.0, 0.4)};
  for (size_t i = 0; i < rows.size(); ++i) rows[i].workload = std::string(1, static_cast<char>('x' + i / 2));
  const PlanRanking all = summarize(rows).front().plans;
  EXPECT_EQ(all.groups, 3);
  EXPECT_EQ(all.pairs, 3);
  EXPECT_DOUBLE_EQ(*all.concordance, 0.5 / 3.0);
  EXPECT_DOUBLE_EQ(*all.median_regret, 0.5);
  EXPECT_DOUBLE_EQ(*all.mean_regret, 3.5 / 3.0);
  EXPECT_DOUBLE_EQ(*all.worst_regret, 3.0);
}

TEST(PlanRanking, NeverComparesRunsOfTwoSources) {
  std::vector<ValidationRow> rows = {scored("a", 1.0, 1.0, 0.4), scored("b", 2.0, 2.0, 0.4)};
  for (ValidationRow& row : rows) row.workload = "the same";
  rows[1].source_group = "another machine";
  EXPECT_EQ(summarize(rows).front().plans.groups, 0);
}

TEST(RunDescription, PutsWhatASearchChoosesIntoThePlanAndTheRestIntoTheWorkload) {
  const Json base = Json::parse(
      R"({"name": "a", "cluster": {"preset": "dgx-h100", "nodes": 1}, "model": "llama3-8b",
          "training": {"seq_length": 8192, "global_batch": 64, "micro_batch": 1, "recompute": "none"},
          "software": "nanotron", "parallel": {"tensor": 2, "data": 4}})");
  const auto with = [&base](const char* pointer, const Json& value) {
    Json changed = base;
    changed[Json::json_pointer(pointer)] = value;
    return changed;
  };
  for (const auto& [pointer, value] : std::vector<std::pair<const char*, Json>>{
           {"/parallel/tensor", 4}, {"/training/micro_batch", 2}, {"/training/recompute", "full"}}) {
    EXPECT_EQ(workload_key(with(pointer, value)), workload_key(base)) << pointer;
    EXPECT_NE(plan_key(with(pointer, value)), plan_key(base)) << pointer;
  }
  for (const auto& [pointer, value] :
       std::vector<std::pair<const char*, Json>>{{"/training/global_batch", 128},
                                                 {"/cluster/nodes", 2},
                                                 {"/software", "megatron-core"},
                                                 {"/training/optimizer", "sgd"}}) {
    EXPECT_NE(workload_key(with(pointer, value)), workload_key(base)) << pointer;
    EXPECT_EQ(plan_key(with(pointer, value)), plan_key(base)) << pointer;
  }
  EXPECT_EQ(workload_key(with("/name", "b")), workload_key(base));
  const Json plain = {{"preset", "nanotron"}},
             checked = {{"preset", "nanotron"}, {"checked_collectives", true}};
  EXPECT_EQ(workload_key(with("/software", checked)), workload_key(with("/software", plain)));
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
