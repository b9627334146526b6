#include "reports/answers/scale_points.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

/// Tensor 2 on 32 nodes of 8 GPUs: data 128 with 8 sequences each, in micro-batches of 2.
Experiment base() {
  const Json document = Json::parse(R"({
    "name": "base",
    "cluster": {"preset": "dgx-a100-80gb", "nodes": 32},
    "model": "gpt3-1.7b",
    "training": {"seq_length": 2048, "global_batch": 1024, "micro_batch": 2},
    "parallel": {"tensor": 2, "data": 128}
  })");
  return read_experiment(document, "base.json");
}

TEST(ScalePoints, StrongScalingKeepsTheBatchAndGrowsTheDataDegree) {
  const ScaledExperiment scaled = experiment_at(base(), ScalingKind::strong, 64);
  ASSERT_TRUE(scaled.experiment) << scaled.reason;
  EXPECT_EQ(scaled.experiment->shape.gpus, 64);
  EXPECT_EQ(scaled.experiment->parallel.data, 32);
  EXPECT_EQ(scaled.experiment->parallel.tensor, 2);
  EXPECT_EQ(scaled.experiment->training.global_batch, 1024);
}

TEST(ScalePoints, WeakScalingKeepsTheSequencesOfADataRank) {
  const ScaledExperiment scaled = experiment_at(base(), ScalingKind::weak, 64);
  ASSERT_TRUE(scaled.experiment) << scaled.reason;
  EXPECT_EQ(scaled.experiment->parallel.data, 32);
  EXPECT_EQ(scaled.experiment->training.global_batch, 256);  // 1024 / 128 = 8 sequences a data rank
}

TEST(ScalePoints, AtTheGivenSizeIsTheExperimentAsGiven) {
  const ScaledExperiment scaled = experiment_at(base(), ScalingKind::weak, 256);
  ASSERT_TRUE(scaled.experiment) << scaled.reason;
  EXPECT_EQ(scaled.experiment->training.global_batch, 1024);
  EXPECT_EQ(scaled.experiment->parallel.data, 128);
}

TEST(ScalePoints, HalfANodeMoreIsRefusedWithTheWholeNodesBelowAndAbove) {
  const ScaledExperiment scaled = experiment_at(base(), ScalingKind::weak, 20);
  EXPECT_FALSE(scaled.experiment);
  EXPECT_EQ(scaled.reason, "/cluster/gpus: found 20, expected whole nodes of 8: 16 or 24");
  EXPECT_EQ(scaled.nearest, (std::vector<int>{16, 24}));
}

TEST(ScalePoints, ABatchThatDoesNotDivideIsRefusedWithTheDegreesThatDo) {
  // 96 GPUs: data 48, and 1024 is no multiple of 96. Data 32 (64 GPUs) and 64 (128 GPUs) divide 512
  // micro-batches.
  const ScaledExperiment scaled = experiment_at(base(), ScalingKind::strong, 96);
  EXPECT_FALSE(scaled.experiment);
  EXPECT_NE(scaled.reason.find("a multiple of 96 (micro_batch 2 x data 48)"), std::string::npos)
      << scaled.reason;
  EXPECT_EQ(scaled.nearest, (std::vector<int>{64, 128}));
}

TEST(ScalePoints, StrongScalingEndsWhereEveryDataRankHasOneMicroBatch) {
  // 512 micro-batches, so data 512 on 1024 GPUs is the last.
  EXPECT_TRUE(experiment_at(base(), ScalingKind::strong, 1024).experiment);
  const ScaledExperiment beyond = experiment_at(base(), ScalingKind::strong, 2048);
  EXPECT_FALSE(beyond.experiment);
  EXPECT_EQ(beyond.nearest, (std::vector<int>{1024}));
}

TEST(ScalePoints, GpusOfOneLeafHaveNoOversubscribedTier) {
  const Json document = Json::parse(R"({
    "cluster": {"preset": "dgx-h100", "nodes": 32, "fabric": {"kind": "leaf_spine", "oversubscription": [8]}},
    "model": "gpt3-1.7b",
    "training": {"seq_length": 2048, "global_batch": 1024, "micro_batch": 2},
    "parallel": {"tensor": 2, "data": 128}
  })");
  const Experiment of_leaves = read_experiment(document, "base.json");
  const ScaledExperiment leaf = experiment_at(of_leaves, ScalingKind::weak, 32);
  ASSERT_TRUE(leaf.experiment) << leaf.reason;
  EXPECT_TRUE(leaf.experiment->cluster.fabric.oversubscription.empty());
  const ScaledExperiment two_leaves = experiment_at(of_leaves, ScalingKind::weak, 64);
  ASSERT_TRUE(two_leaves.experiment) << two_leaves.reason;
  EXPECT_EQ(two_leaves.experiment->cluster.fabric.oversubscription, std::vector<double>{8.0});
}

TEST(ScalePoints, FewerGpusThanAReplicaAreRefused) {
  const ScaledExperiment scaled = experiment_at(base(), ScalingKind::weak, 1);
  EXPECT_FALSE(scaled.experiment);
  EXPECT_EQ(scaled.nearest, (std::vector<int>{2}));
}

}  // namespace
}  // namespace orrery
