#include "sim/network/group_shape.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace orrery {
namespace {

/// 128 nodes of 8 GPUs and 8 NICs of 50 GB/s; leaves of 32 nodes, pods of 64.
ClusterShape cluster() {
  ClusterShape shape;
  shape.gpus = 1024;
  shape.gpus_per_node = 8;
  shape.gpus_per_domain = 8;
  shape.scale_up = ScaleUpKind::nvswitch;
  shape.scale_up_bandwidth = gigabytes_per_second(450);
  shape.scale_up_latency = microseconds(0.6);
  shape.in_network_reduction = true;
  shape.nics_per_node = 8;
  shape.nic_bandwidth = gigabytes_per_second(50);
  shape.host_link = gigabytes_per_second(63);
  shape.network_latency = microseconds(2);
  shape.network_latency_pod = microseconds(3);
  shape.network_latency_far = microseconds(4);
  shape.nodes_per_leaf = 32;
  shape.nodes_per_pod = 64;
  shape.rail_optimized = true;
  shape.oversubscription_leaf = 2;
  shape.oversubscription = 6;
  return shape;
}

std::vector<int> strided(int first, int count, int stride) {
  std::vector<int> gpus;
  for (int i = 0; i < count; ++i) gpus.push_back(first + i * stride);
  return gpus;
}

TEST(GroupShape, OfTensorParallelStaysInTheNode) {
  const GroupShape shape = group_shape(cluster(), strided(16, 8, 1));
  EXPECT_EQ(shape.ranks, 8);
  EXPECT_EQ(shape.domains, 1);
  EXPECT_EQ(shape.nodes, 1);
  EXPECT_EQ(shape.ranks_per_domain, 8);
  EXPECT_FALSE(shape.crosses_domains());
  EXPECT_EQ(shape.scale_up_bandwidth, gigabytes_per_second(450));
  EXPECT_TRUE(shape.in_network_reduction);
}

TEST(GroupShape, OfDataParallelAcrossNodesOfALeafIsNotOversubscribed) {
  const GroupShape shape = group_shape(cluster(), strided(3, 32, 8));
  EXPECT_EQ(shape.domains, 32);
  EXPECT_EQ(shape.nodes, 32);
  EXPECT_EQ(shape.ranks_per_domain, 1);
  EXPECT_EQ(shape.scale_out_per_rank, gigabytes_per_second(50));
  EXPECT_EQ(shape.network_latency, microseconds(2));
}

TEST(GroupShape, TakesTheTierThatItsLongestHopCrosses) {
  const GroupShape pod = group_shape(cluster(), strided(0, 64, 8));
  EXPECT_EQ(pod.network_latency, microseconds(3));
  EXPECT_EQ(pod.scale_out_per_rank, gigabytes_per_second(25));  // over 2
  const GroupShape far = group_shape(cluster(), strided(0, 128, 8));
  EXPECT_EQ(far.network_latency, microseconds(4));
  EXPECT_NEAR(far.scale_out_per_rank.base(), 50e9 / 6, 1);
}

TEST(GroupShape, OfTwoRailsCrossesASpine) {
  const std::vector<int> same_rail = {0, 8};
  const std::vector<int> other_rail = {0, 9};
  EXPECT_EQ(group_shape(cluster(), same_rail).network_latency, microseconds(2));
  EXPECT_EQ(group_shape(cluster(), other_rail).network_latency, microseconds(3));
  ClusterShape plain = cluster();
  plain.rail_optimized = false;
  EXPECT_EQ(group_shape(plain, other_rail).network_latency, microseconds(2));
}

TEST(GroupShape, OfSeveralRanksANodeKeepsToTheRails) {
  const GroupShape shape = group_shape(cluster(), strided(0, 16, 1));
  EXPECT_EQ(shape.domains, 2);
  EXPECT_EQ(shape.ranks_per_domain, 8);
  EXPECT_EQ(shape.network_latency, microseconds(2));
}

TEST(GroupShape, SharesFewNicsAmongTheGpusOfANode) {
  ClusterShape few = cluster();
  few.nics_per_node = 4;
  few.nic_bandwidth = gigabytes_per_second(25);
  few.payload_efficiency = 0.9;
  // 4 x 25 GB/s over 8 GPUs, 90 % of it payload.
  EXPECT_NEAR(group_shape(few, strided(0, 4, 8)).scale_out_per_rank.base(), 11.25e9, 1);
}

TEST(GroupShape, IsCappedByTheHostLink) {
  ClusterShape wide = cluster();
  wide.nic_bandwidth = gigabytes_per_second(100);
  EXPECT_EQ(group_shape(wide, strided(0, 4, 8)).scale_out_per_rank, gigabytes_per_second(63));
}

TEST(GroupShape, CountsDomainsAndNodesApartOnARack) {
  ClusterShape rack = cluster();
  rack.gpus = 144;
  rack.gpus_per_node = 4;
  rack.gpus_per_domain = 72;
  rack.nics_per_node = 4;
  const GroupShape inside = group_shape(rack, strided(0, 72, 1));
  EXPECT_EQ(inside.domains, 1);
  EXPECT_EQ(inside.nodes, 18);
  const GroupShape across = group_shape(rack, strided(0, 36, 4));
  EXPECT_EQ(across.domains, 2);
  EXPECT_EQ(across.ranks_per_domain, 18);
  EXPECT_EQ(across.nodes, 36);
}

TEST(GroupShape, OfAPairOnAMeshSeesOneOfItsLinks) {
  ClusterShape mesh = cluster();
  mesh.scale_up = ScaleUpKind::nvlink_mesh;
  mesh.scale_up_bandwidth = gigabytes_per_second(448);
  EXPECT_NEAR(group_shape(mesh, strided(0, 2, 1)).scale_up_bandwidth.base(), 64e9, 1);
  EXPECT_NEAR(group_shape(mesh, strided(0, 8, 1)).scale_up_bandwidth.base(), 448e9, 1);
}

TEST(GroupShape, OfOneRankCrossesNothing) {
  const GroupShape shape = group_shape(cluster(), std::vector<int>{1023});
  EXPECT_EQ(shape.ranks, 1);
  EXPECT_EQ(shape.domains, 1);
  EXPECT_EQ(shape.nodes, 1);
}

TEST(GroupShape, RefusesGpusThatAreNotThere) {
  EXPECT_THROW(group_shape(cluster(), std::vector<int>{}), std::invalid_argument);
  EXPECT_THROW(group_shape(cluster(), std::vector<int>{1024}), std::invalid_argument);
  EXPECT_THROW(group_shape(cluster(), std::vector<int>{0, -1}), std::invalid_argument);
}

TEST(NicOfGpu, DealsNicsInRuns) {
  EXPECT_EQ(nic_of_gpu(7, 8, 8), 7);
  EXPECT_EQ(nic_of_gpu(3, 8, 4), 1);
  EXPECT_EQ(nic_of_gpu(7, 8, 32), 28);
}

}  // namespace
}  // namespace orrery
