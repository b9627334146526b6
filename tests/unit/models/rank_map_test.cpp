#include "models/rank_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace orrery {
namespace {

ParallelPlan plan_of(int tensor, int context, int data, int pipeline) {
  ParallelPlan plan;
  plan.tensor = tensor;
  plan.context = context;
  plan.data = data;
  plan.pipeline = pipeline;
  return plan;
}

TEST(RankMap, PlacesGroupsInnermostFirst) {
  // tensor 2, context 2, data 3, pipeline 2: rank = t + 2 c + 4 d + 12 p.
  const RankMap map(plan_of(2, 2, 3, 2));
  EXPECT_EQ(map.rank({.tensor = 1, .context = 1, .data = 2, .pipeline = 1}), 1 + 2 + 8 + 12);
  EXPECT_EQ(map.tensor_group(5), (std::vector<int>{4, 5}));
  EXPECT_EQ(map.context_group(5), (std::vector<int>{5, 7}));
  EXPECT_EQ(map.data_group(5), (std::vector<int>{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(map.on_stage(5, 1), 17);
}

TEST(RankMap, FollowsAPlacementOfItsOwn) {
  ParallelPlan plan = plan_of(2, 1, 2, 2);
  plan.placement = {"data", "tensor", "pipeline", "context"};  // rank = d + 2 t + 4 p
  const RankMap map(plan);
  EXPECT_EQ(map.tensor_group(0), (std::vector<int>{0, 2}));
  EXPECT_EQ(map.data_group(2), (std::vector<int>{2, 3}));
  EXPECT_EQ(map.on_stage(3, 1), 7);
}

TEST(RankMap, ShardGroupsCutTheDataGroupIntoSlices) {
  ParallelPlan plan = plan_of(2, 1, 4, 1);
  plan.shard_group = 2;
  const RankMap map(plan);
  EXPECT_EQ(map.data_group(5), (std::vector<int>{1, 3, 5, 7}));
  EXPECT_EQ(map.shard_group(5), (std::vector<int>{5, 7}));
  EXPECT_EQ(map.replica_group(5), (std::vector<int>{1, 5}));
}

TEST(RankMap, CoordinatesAndGroupsPartitionTheRanksInEveryPlacement) {
  std::vector<std::string> placement = {"context", "data", "pipeline", "tensor"};  // sorted: all 24 follow
  do {
    ParallelPlan plan = plan_of(2, 3, 4, 5);
    plan.shard_group = 6;
    plan.placement = placement;
    const RankMap map(plan);
    std::set<int> seen;
    for (int rank = 0; rank < 120; ++rank) {
      EXPECT_EQ(map.rank(map.coordinates(rank)), rank);
      const std::vector<int> group = map.data_group(rank);
      EXPECT_EQ(group.size(), 12U);
      EXPECT_EQ(map.data_group(group.back()), group);  // every member sees the same group
      const std::vector<int> shard = map.shard_group(rank);
      const std::vector<int> replicas = map.replica_group(rank);
      EXPECT_EQ(shard.size() * replicas.size(), group.size());
      EXPECT_NE(std::find(shard.begin(), shard.end(), rank), shard.end());
      EXPECT_NE(std::find(replicas.begin(), replicas.end(), rank), replicas.end());
      seen.insert(map.tensor_group(rank).front());
    }
    EXPECT_EQ(seen.size(), 60U);
  } while (std::next_permutation(placement.begin(), placement.end()));
}

TEST(RankMap, RefusesAPlacementThatIsNoPermutation) {
  ParallelPlan plan = plan_of(2, 1, 2, 1);
  plan.placement = {"tensor", "data", "pipeline"};
  EXPECT_THROW(RankMap{plan}, std::invalid_argument);
  plan.placement = {"tensor", "tensor", "data", "pipeline"};
  EXPECT_THROW(RankMap{plan}, std::invalid_argument);
}

TEST(RankMapExperts, DivideTheRanksOfAStageASecondTime) {
  // Megatron-core's parallel_state with order tp-cp-ep-dp-pp: tensor 2 x data 4 x pipeline 2; the eight ranks
  // of a stage are expert tensor 2 x expert 2 x expert data 2.
  ParallelPlan plan = plan_of(2, 1, 4, 2);
  plan.expert = 2;
  plan.expert_tensor = 2;
  const RankMap map(plan);
  EXPECT_EQ(plan.expert_data(), 2);
  EXPECT_EQ(map.expert_tensor_group(5), (std::vector<int>{4, 5}));
  EXPECT_EQ(map.expert_group(5), (std::vector<int>{5, 7}));
  EXPECT_EQ(map.tensor_and_expert_group(5), (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(map.expert_data_group(5), (std::vector<int>{1, 5}));
  EXPECT_EQ(map.expert_group(13), (std::vector<int>{13, 15}));  // the second stage
  // Experts whole on each rank: four ranks share them, whatever the tensor degree.
  plan.expert = 4;
  plan.expert_tensor = 1;
  EXPECT_EQ(RankMap(plan).expert_group(5), (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(RankMap(plan).expert_data_group(5), (std::vector<int>{1, 5}));
}

TEST(RankMapExperts, FollowThePlacement) {
  // tp-cp-dp-ep-pp: the ranks that share experts lie next to one another.
  ParallelPlan plan = plan_of(2, 1, 4, 2);
  plan.expert = 4;
  plan.placement = {"tensor", "context", "data", "expert", "pipeline"};
  EXPECT_EQ(RankMap(plan).expert_group(1), (std::vector<int>{1, 3, 5, 7}));
  EXPECT_EQ(RankMap(plan).expert_data_group(1), (std::vector<int>{0, 1}));
  // Without the name they lie just inside data.
  plan.placement = {"tensor", "context", "data", "pipeline"};
  EXPECT_EQ(RankMap(plan).expert_group(1), (std::vector<int>{0, 1, 2, 3}));
}

TEST(RankMapExperts, HybridShardsCutTheirGroupAsOftenAsTheDataGroup) {
  ParallelPlan plan = plan_of(1, 1, 16, 1);
  plan.expert = 2;
  plan.shard_group = 8;  // two shard groups, so two of the eight ranks that share experts
  const RankMap map(plan);
  EXPECT_EQ(map.expert_data_group(3), (std::vector<int>{1, 3, 5, 7, 9, 11, 13, 15}));
  EXPECT_EQ(map.expert_shard_group(3), (std::vector<int>{1, 3, 5, 7}));
  EXPECT_EQ(map.expert_replica_group(3), (std::vector<int>{3, 11}));
}

TEST(RankMapExperts, GroupsPartitionTheStageInEveryPlacement) {
  std::vector<std::string> placement = {"context", "data", "expert", "pipeline", "tensor"};
  do {
    ParallelPlan plan = plan_of(2, 3, 4, 2);
    plan.expert = 3;
    plan.expert_tensor = 2;
    plan.placement = placement;
    const RankMap map(plan);
    for (int rank = 0; rank < plan.gpus(); ++rank) {
      for (const auto& [members, size] :
           {std::pair(Members::expert, 3), std::pair(Members::expert_tensor, 2),
            std::pair(Members::tensor_and_expert, 6), std::pair(Members::expert_data, 4)}) {
        const std::vector<int> group = map.group(members, rank);
        ASSERT_EQ(group.size(), static_cast<size_t>(size));
        EXPECT_NE(std::find(group.begin(), group.end(), rank), group.end());
        EXPECT_EQ(map.group(members, group.back()), group);
        for (const int member : group) {
          EXPECT_EQ(map.coordinates(member).pipeline, map.coordinates(rank).pipeline);
        }
      }
      // An expert's holders and an exchange's partners have this rank alone in common.
      const std::vector<int> holders = map.expert_data_group(rank);
      int common = 0;
      for (const int member : map.tensor_and_expert_group(rank)) {
        common += std::find(holders.begin(), holders.end(), member) != holders.end() ? 1 : 0;
      }
      EXPECT_EQ(common, 1);
    }
  } while (std::next_permutation(placement.begin(), placement.end()));
}

}  // namespace
}  // namespace orrery
