#include "models/rank_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>

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

}  // namespace
}  // namespace orrery
