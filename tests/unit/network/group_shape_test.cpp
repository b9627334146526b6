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
  shape.pxn = true;
  shape.oversubscription_leaf = 2;
  shape.oversubscription = 6;
  return shape;
}

std::vector<int> strided(int first, int count, int stride) {
  std::vector<int> gpus;
  for (int i = 0; i < count; ++i) gpus.push_back(first + i * stride);
  return gpus;
}

TEST(GroupShape, OfNicsThatGpusDoNotDivideHasTheSmallestShare) {
  ClusterShape uneven = cluster();
  uneven.oversubscription = uneven.oversubscription_leaf = 1.0;
  const auto rate = [&](int nics, const std::vector<int>& gpus) {
    uneven.nics_per_node = nics;
    return group_shape(uneven, gpus);
  };
  // Six NICs: a group of one GPU a node may share one with another, rings through whole nodes use all six.
  const GroupShape data = rate(6, strided(0, 4, 8));
  EXPECT_EQ(data.scale_out_per_rank, gigabytes_per_second(25));
  const GroupShape whole = rate(6, strided(0, 16, 1));
  EXPECT_EQ(whole.scale_out_per_rank, gigabytes_per_second(37.5));
  EXPECT_EQ(whole.exchange_rate(), gigabytes_per_second(25));
  // Ten: six of the GPUs have one.
  EXPECT_EQ(rate(10, strided(0, 4, 8)).scale_out_per_rank, gigabytes_per_second(50));
  EXPECT_EQ(rate(4, strided(0, 4, 8)).scale_out_per_rank, gigabytes_per_second(25));
}

TEST(GroupShape, OfNicsThatGpusDoNotDivideHasItsShareOfAllTheirUplinks) {
  ClusterShape uneven = cluster();
  uneven.gpus_per_node = uneven.gpus_per_domain = 2;
  uneven.nics_per_node = 3;
  uneven.rail_optimized = false;
  uneven.nodes_per_leaf = 1;
  uneven.nodes_per_pod = 0;
  // A node's uplinks carry 3 x 50 / 4 GB/s, half of them for each GPU.
  uneven.oversubscription = uneven.oversubscription_leaf = 4.0;
  EXPECT_EQ(group_shape(uneven, strided(0, 4, 2)).scale_out_per_rank, gigabytes_per_second(18.75));
  // One NIC of its own is less than half of 3 x 50 / 1.2 GB/s.
  uneven.oversubscription = uneven.oversubscription_leaf = 1.2;
  EXPECT_EQ(group_shape(uneven, strided(0, 4, 2)).scale_out_per_rank, gigabytes_per_second(50));
}

TEST(GroupShape, UplinksAreShortOnlyOfWhatTheHostLinkLetsThrough) {
  // PCIe lets half of a NIC's rate through: uplinks at 2:1 carry all of that, at 6:1 a third.
  ClusterShape narrow = cluster();
  narrow.host_link = gigabytes_per_second(25);
  EXPECT_EQ(group_shape(narrow, strided(0, 2, 8 * 32)).scale_out_per_rank, gigabytes_per_second(25));
  EXPECT_NEAR(group_shape(narrow, strided(0, 2, 8 * 64)).scale_out_per_rank.base(), 50e9 / 6, 1);
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

TEST(GroupShape, TakesTheLatencyOfTheTierThatItsLongestHopCrosses) {
  EXPECT_EQ(group_shape(cluster(), strided(0, 64, 8)).network_latency, microseconds(3));
  EXPECT_EQ(group_shape(cluster(), strided(0, 128, 8)).network_latency, microseconds(4));
}

// 32 rings a GPU number run through the 32 nodes of a leaf and leave it once: 1/32 of what its NICs send, for
// which half (or of a pod's 64 nodes a sixth) of the uplinks is plenty.
TEST(GroupShape, OfARingThroughWholeLeavesIsNotOversubscribed) {
  EXPECT_EQ(group_shape(cluster(), strided(0, 64, 8)).scale_out_per_rank, gigabytes_per_second(50));
  EXPECT_EQ(group_shape(cluster(), strided(0, 128, 8)).scale_out_per_rank, gigabytes_per_second(50));
}

TEST(GroupShape, OfARingThatLeavesALeafAtEveryHopSharesItsUplinks) {
  // Nodes 0 and 32 of one pod: both hops go over spines, which have half of what the NICs send.
  EXPECT_EQ(group_shape(cluster(), strided(0, 2, 256)).scale_out_per_rank, gigabytes_per_second(25));
  // Nodes 0, 32, 64, 96: every second hop leaves its pod, whose cores have a sixth.
  EXPECT_NEAR(group_shape(cluster(), strided(0, 4, 256)).scale_out_per_rank.base(), 50e9 / 3, 1);
  // Nodes 0 and 64: both do.
  EXPECT_NEAR(group_shape(cluster(), strided(0, 2, 512)).scale_out_per_rank.base(), 50e9 / 6, 1);
}

// By counting bytes: each of n ranks sends 1/n to each other one. Of the n - 8 parts that leave its node,
// those to ranks under other leaves go over uplinks that carry half of it.
TEST(GroupShape, OfAnExchangeSharesUplinksWithWhatLeavesTheLeaf) {
  const GroupShape leaf = group_shape(cluster(), strided(0, 256, 1));
  EXPECT_EQ(leaf.exchange_rate(), gigabytes_per_second(50));
  // 512 ranks: 256 of the 504 parts leave the leaf.
  const GroupShape pod = group_shape(cluster(), strided(0, 512, 1));
  EXPECT_NEAR(pod.exchange_rate().base(), 25e9 * 504 / 256, 1);
  // 1024 ranks: 512 of the 1016 parts leave the pod, of which a sixth has room.
  const GroupShape far = group_shape(cluster(), strided(0, 1024, 1));
  EXPECT_NEAR(far.exchange_rate().base(), 50e9 / 6 * 1016 / 512, 1);
  EXPECT_EQ(far.scale_out_per_rank, gigabytes_per_second(50));  // its ring is not held up
}

TEST(GroupShape, OfAnExchangeUsesTheUplinksOfNodesThatAreMissing) {
  ClusterShape small = cluster();
  small.gpus = 40 * 8;  // the second leaf holds 8 nodes, and has the uplinks of 32
  small.oversubscription = 2;
  // Of 312 parts 64 leave the first leaf, 256 the second one's quarter: under half of what there is.
  EXPECT_EQ(group_shape(small, strided(0, 320, 1)).exchange_rate(), gigabytes_per_second(50));
}

TEST(GroupShape, OfAnExchangeWithoutPxnPassesASpineToReachAnotherRail) {
  // 32 nodes of one leaf: only the 32 ranks of the own rail are reached below the spines.
  ClusterShape no_pxn = cluster();
  no_pxn.pxn = false;
  EXPECT_NEAR(group_shape(no_pxn, strided(0, 256, 1)).exchange_rate().base(), 25e9 * 248 / 224, 1);
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

TEST(GroupShape, SharesTheHostLinkOfANicThatGpusShare) {
  ClusterShape old = cluster();
  old.nics_per_node = 4;
  old.host_link = gigabytes_per_second(31.5);  // PCIe 4: less than the NIC's 50 GB/s
  EXPECT_EQ(group_shape(old, strided(0, 4, 8)).scale_out_per_rank, gigabytes_per_second(31.5 / 2));
}

TEST(GroupShape, OfGpusWithLinksOfTheirOwnToAWideNicUsesEachOfThem) {
  ClusterShape wide = cluster();
  wide.oversubscription = wide.oversubscription_leaf = 1.0;
  wide.nics_per_node = 2;
  wide.nic_bandwidth = wide.nic_slot = gigabytes_per_second(100);
  wide.host_link = gigabytes_per_second(25);
  EXPECT_EQ(group_shape(wide, strided(0, 4, 8)).scale_out_per_rank, gigabytes_per_second(25));
  wide.nic_slot = gigabytes_per_second(50);
  EXPECT_EQ(group_shape(wide, strided(0, 4, 8)).scale_out_per_rank, gigabytes_per_second(12.5));
}

TEST(GroupShape, OfUnequalDomainsUsesTheUplinksOfTheLargerWhole) {
  // Six nodes of four NICs of 25 GB/s: a domain of four nodes and one of two, a leaf each. 4:1 leaves the
  // first leaf 100 GB/s and the second, half full, as much: rings run at 100 GB/s, 8 x 12.5 of the smaller
  // domain.
  ClusterShape rack = cluster();
  rack.gpus = 24;
  rack.gpus_per_node = 4;
  rack.gpus_per_domain = 16;
  rack.nics_per_node = 4;
  rack.nic_bandwidth = gigabytes_per_second(25);
  rack.nodes_per_leaf = 4;
  rack.nodes_per_pod = 0;
  rack.oversubscription = rack.oversubscription_leaf = 4;
  const GroupShape all = group_shape(rack, strided(0, 24, 1));
  EXPECT_EQ(all.narrowest_domain(), 8);
  EXPECT_NEAR(all.scale_out_per_rank.base(), 12.5e9, 1);
}

/// 32 nodes of one GPU and NIC of 50 GB/s; cables of 50 GB/s.
ClusterShape direct() {
  ClusterShape shape = cluster();
  shape.gpus = 32;
  shape.gpus_per_node = shape.gpus_per_domain = shape.nics_per_node = 1;
  shape.scale_up = ScaleUpKind::none;
  shape.rail_optimized = shape.pxn = false;
  shape.nodes_per_leaf = 1;
  shape.nodes_per_pod = 0;
  shape.oversubscription = shape.oversubscription_leaf = 1;
  return shape;
}

TEST(GroupShape, OfRingsThatMeetOnATorusSharesTheCable) {
  ClusterShape torus = direct();
  torus.torus = {8, 4};
  torus.torus_demand = 1.0;
  EXPECT_EQ(group_shape(torus, strided(0, 8, 1)).scale_out_per_rank, gigabytes_per_second(50));
  EXPECT_EQ(group_shape(torus, strided(0, 4, 2)).scale_out_per_rank, gigabytes_per_second(25));
  EXPECT_EQ(group_shape(torus, strided(3, 4, 8)).scale_out_per_rank, gigabytes_per_second(50));
  torus.torus_demand = 0.25;  // cables of four times a NIC's rate
  EXPECT_EQ(group_shape(torus, strided(0, 4, 2)).scale_out_per_rank, gigabytes_per_second(50));
}

TEST(GroupShape, OnADragonflySharesTheCablesToOneOtherGroup) {
  // Groups of eight nodes, four nodes a switch: two cables to each other group, one between two switches.
  ClusterShape dragonfly = direct();
  dragonfly.nodes_per_leaf = 4;
  dragonfly.nodes_per_pod = 8;
  dragonfly.pair_oversubscription_leaf = 4;
  dragonfly.pair_oversubscription = 4;
  // Rings of every fourth node: half of the hops go to the other switch of the group, half to the next group.
  EXPECT_EQ(group_shape(dragonfly, strided(0, 8, 4)).scale_out_per_rank, gigabytes_per_second(50 / 4.0));
  // Through whole switches, one hop in eight leaves a group and one in four a switch: 4 x 1/8, 4 x 1/4.
  EXPECT_EQ(group_shape(dragonfly, strided(0, 32, 1)).scale_out_per_rank, gigabytes_per_second(50));
  // An exchange of all: 8 of the 31 others are in each other group, 4 at the other switch.
  EXPECT_NEAR(group_shape(dragonfly, strided(0, 32, 1)).exchange_per_rank.base(), 50e9 / (4 * 8 / 31.0), 1);
}

TEST(GroupShape, OnADragonflyDetoursAreForWhatGoesToFewOthers) {
  // Eight switches of four nodes; a switch's nodes ask 16 times what the cable to one other carries.
  ClusterShape dragonfly = direct();
  dragonfly.nodes_per_leaf = 4;
  dragonfly.pair_oversubscription_leaf = 16;
  dragonfly.detour_leaves = 8;
  // All four to one other: 2/8 of it stays. An exchange of all goes to all seven others: nothing is gained.
  EXPECT_NEAR(group_shape(dragonfly, strided(0, 8, 4)).scale_out_per_rank.base(), 50e9 / (16 * 2 / 8.0), 1);
  EXPECT_NEAR(group_shape(dragonfly, strided(0, 32, 1)).exchange_per_rank.base(), 50e9 / (16 * 4 / 31.0), 1);
  // Of three switches, two others each: 2 x 2 / (7 + 2).
  EXPECT_NEAR(group_shape(dragonfly, strided(0, 12, 1)).exchange_per_rank.base(),
              50e9 / (16 * 4 / 11.0 * 4 / 9), 1);
}

TEST(GroupShape, OnADragonflyWithRailsEachRailsLeafHasACableOfItsOwn) {
  // Two chassis of four nodes with four GPUs and NICs: of a rank's 28 others off its node 16 are in the other
  // chassis, four behind each of its leaves: 4 x 4/28 of a cable.
  ClusterShape dragonfly = direct();
  dragonfly.gpus_per_node = dragonfly.gpus_per_domain = dragonfly.nics_per_node = 4;
  dragonfly.scale_up = ScaleUpKind::nvswitch;
  dragonfly.rail_optimized = true;
  dragonfly.nodes_per_leaf = 4;
  dragonfly.pair_oversubscription_leaf = 4;
  EXPECT_EQ(group_shape(dragonfly, strided(0, 32, 1)).exchange_per_rank, gigabytes_per_second(50));
  dragonfly.pair_oversubscription_leaf = 14;
  EXPECT_NEAR(group_shape(dragonfly, strided(0, 32, 1)).exchange_per_rank.base(), 25e9, 1);
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
