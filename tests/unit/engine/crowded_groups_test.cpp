#include "sim/engine/crowded_groups.hpp"

#include <gtest/gtest.h>

#include "tests/analytic/engine/small_fabric.hpp"

namespace orrery {
namespace {

using testing::SmallFabric;

TEST(CrowdedGroups, DivideANicThatTheyShare) {
  // Two nodes of two GPUs, one NIC of 50 GB/s each: both groups cross it with every byte.
  const CrowdedGroups links(SmallFabric{.nodes = 2, .gpus = 2, .nics = 1}.build());
  EXPECT_DOUBLE_EQ(links.shared_rate({{0, 2}}, WirePattern::ring).base(), 50e9);
  EXPECT_DOUBLE_EQ(links.shared_rate({{0, 2}, {1, 3}}, WirePattern::ring).base(), 25e9);
  EXPECT_DOUBLE_EQ(links.shared_rate({{0, 2}, {1, 3}}, WirePattern::pair).base(), 25e9);
}

TEST(CrowdedGroups, AreAsFastAsTheMemberThatIsAlone) {
  // Two members on one node, one on the other, whose NIC carries all bytes of the ring, and of a two-level
  // algorithm (m - 1) / m x n / (n - 1) = 3/4 of them.
  const CrowdedGroups links(SmallFabric{.nodes = 2, .gpus = 2, .nics = 2}.build());
  EXPECT_DOUBLE_EQ(links.shared_rate({{0, 1, 2}}, WirePattern::ring).base(), 50e9);
  EXPECT_DOUBLE_EQ(links.shared_rate({{0, 1, 2}}, WirePattern::two_level).base(), 50e9 / 0.75);
  // In an all-to-all it sends half of its bytes to either, all of them out of its node.
  EXPECT_DOUBLE_EQ(links.shared_rate({{0, 1, 2}}, WirePattern::all_to_all).base(), 50e9);
}

}  // namespace
}  // namespace orrery
