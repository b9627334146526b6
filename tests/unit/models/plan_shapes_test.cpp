#include "models/plan_shapes.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace orrery {
namespace {

/// Nodes of 8 GPUs, each with a NIC of its own.
ClusterShape nodes_of_8(int nodes) {
  ClusterShape shape;
  shape.gpus = 8 * nodes;
  shape.gpus_per_node = 8;
  shape.gpus_per_domain = 8;
  shape.scale_up = ScaleUpKind::nvswitch;
  shape.scale_up_bandwidth = gigabytes_per_second(450);
  shape.nics_per_node = 8;
  shape.nic_bandwidth = gigabytes_per_second(50);
  shape.host_link = gigabytes_per_second(63);
  return shape;
}

ParallelPlan degrees(int tensor, int context, int data, int pipeline) {
  ParallelPlan plan;
  plan.tensor = tensor;
  plan.context = context;
  plan.data = data;
  plan.pipeline = pipeline;
  plan.shard_group = data * context;
  return plan;
}

TEST(PlanShapes, TakeTheGroupThatHasItWorst) {
  // 24 GPUs, tensor 6: GPUs 0-5 | 6,7,8-11 | 12-15,16,17 | 18-23. The second lies 2 + 4.
  const ClusterShape cluster = nodes_of_8(3);
  const ParallelPlan plan = degrees(6, 1, 4, 1);
  const RankMap map(plan);
  const GroupShape tensor = PlanShapes(cluster, plan, map).tensor();
  EXPECT_EQ(tensor.ranks, 6);
  EXPECT_EQ(tensor.domains, 2);
  EXPECT_EQ(tensor.ranks_per_domain, 4);
  EXPECT_EQ(tensor.narrowest_domain(), 2);
  EXPECT_TRUE(PlanShapes(cluster, plan, map).uneven());
}

TEST(PlanShapes, OfDataGroupsOfTwoStagesOnThreeNodes) {
  // 24 GPUs, pipeline 2: stage 0 is GPUs 0-7 and 8-11, stage 1 is 12-15 and 16-23: eight and four ranks.
  const ClusterShape cluster = nodes_of_8(3);
  const ParallelPlan plan = degrees(1, 1, 12, 2);
  const RankMap map(plan);
  const GroupShape data = PlanShapes(cluster, plan, map).data();
  EXPECT_EQ(data.domains, 2);
  EXPECT_EQ(data.ranks_per_domain, 8);
  EXPECT_EQ(data.narrowest_domain(), 4);
  EXPECT_TRUE(PlanShapes(cluster, plan, map).uneven());
}

TEST(PlanShapes, OfPlansThatFillNodesAreEven) {
  const ClusterShape cluster = nodes_of_8(16);
  for (const ParallelPlan& plan : {degrees(8, 1, 4, 4), degrees(4, 2, 8, 2), degrees(2, 1, 64, 1),
                                   degrees(1, 4, 8, 4), degrees(16, 1, 4, 2)}) {
    const RankMap map(plan);
    const PlanShapes shapes(cluster, plan, map);
    EXPECT_FALSE(shapes.uneven()) << plan.tensor << " " << plan.context;
    EXPECT_EQ(shapes.data().narrowest_domain(), shapes.data().ranks_per_domain);
  }
}

TEST(PlanShapes, OfStagesAreTheFarthestPair) {
  // 16 GPUs in two nodes, pipeline 4: stages of four GPUs. 0 to 1 stays in the node, 1 to 2 leaves it.
  const ClusterShape cluster = nodes_of_8(2);
  const ParallelPlan plan = degrees(4, 1, 1, 4);
  const RankMap map(plan);
  EXPECT_EQ(PlanShapes(cluster, plan, map).stages(0, 1).domains, 1);
  EXPECT_EQ(PlanShapes(cluster, plan, map).stages(1, 2).domains, 2);
  // Stages of six: of the pairs 0-6, 1-7 in the node and 2-8 ... 5-11 across, the latter count.
  const ParallelPlan sixes = degrees(6, 1, 1, 2);
  const RankMap of_sixes(sixes);
  EXPECT_EQ(PlanShapes(cluster, sixes, of_sixes).stages(0, 1).domains, 2);
}

TEST(PlanShapes, OfStagesThatMeetOnATorusShareTheCable) {
  // Four stages of four nodes on a ring of 16 with one cable between two routers: four pairs meet on it, be
  // it between neighbouring stages, in either direction, or the first and the last.
  ClusterShape cluster = nodes_of_8(16);
  cluster.gpus = 16;
  cluster.gpus_per_node = cluster.gpus_per_domain = cluster.nics_per_node = 1;
  cluster.torus = {16};
  cluster.torus_demand = 1.0;
  const ParallelPlan plan = degrees(1, 1, 4, 4);
  const RankMap map(plan);
  const PlanShapes shapes(cluster, plan, map);
  for (const auto& [from, to] : {std::pair(0, 1), {1, 0}, {1, 2}, {2, 1}, {3, 2}, {0, 3}})
    EXPECT_EQ(shapes.stages(from, to).scale_out_per_rank, gigabytes_per_second(12.5)) << from << " " << to;
}

TEST(PlanShapes, OfExpertsTakeTheGroupThatHasItWorst) {
  // 24 GPUs, four stages of six: the ranks that hold the same experts are {0, 2, 4} on stage 0, inside the
  // first node, and {6, 8, 10} on stage 1, with GPU 6 alone in it.
  const ClusterShape cluster = nodes_of_8(3);
  ParallelPlan plan = degrees(6, 1, 1, 4);
  plan.expert = 2;
  const RankMap map(plan);
  EXPECT_EQ(map.expert_data_group(0), (std::vector<int>{0, 2, 4}));
  const GroupShape same = PlanShapes(cluster, plan, map).of_experts(Members::expert_data);
  EXPECT_EQ(same.ranks, 3);
  EXPECT_EQ(same.domains, 2);
  EXPECT_EQ(same.narrowest_domain(), 1);
}

TEST(RankMapPlaces, AreThoseThatGroupsCanHaveInANode) {
  using Along = RankMap::Along;
  EXPECT_EQ(RankMap(degrees(8, 1, 16, 2)).places({Along::tensor}, 8), std::vector<int>{0});
  EXPECT_EQ(RankMap(degrees(4, 1, 16, 2)).places({Along::tensor}, 8), (std::vector<int>{0, 4}));
  EXPECT_EQ(RankMap(degrees(6, 1, 4, 1)).places({Along::tensor}, 8), (std::vector<int>{0, 6, 12, 18}));
  // The four tensor ranks of a data group's members are in one block of four of the node.
  EXPECT_EQ(RankMap(degrees(4, 1, 16, 2)).places({Along::data, Along::context}, 8), std::vector<int>{0});
}

TEST(GroupShapes, KnowTheDomainWithTheFewestRanks) {
  const ClusterShape cluster = nodes_of_8(3);
  const std::vector<int> uneven = {6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  EXPECT_EQ(group_shape(cluster, uneven).ranks_per_domain, 8);
  EXPECT_EQ(group_shape(cluster, uneven).narrowest_domain(), 2);
  const std::vector<int> even = {6, 7, 8, 9};
  EXPECT_EQ(group_shape(cluster, even).fewest_ranks_per_domain, 0);
  EXPECT_EQ(group_shape(cluster, even).narrowest_domain(), 2);
}

}  // namespace
}  // namespace orrery
