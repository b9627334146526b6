#include "sim/network/torus_load.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/network/topology.hpp"
#include "tests/unit/network/fabrics.hpp"

namespace orrery {
namespace {

TEST(TorusLoad, IsOneAlongARing) {
  EXPECT_DOUBLE_EQ(fullest_cable({8}, std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}, false), 1.0);
  EXPECT_DOUBLE_EQ(fullest_cable({4, 2}, std::vector<int>{4, 5, 6, 7}, true), 1.0);
}

TEST(TorusLoad, OfEverySecondNodeIsTwoRings) {
  // 0 2 4 6 and 1 3 5 7: each cable carries one hop of both.
  EXPECT_DOUBLE_EQ(fullest_cable({8}, std::vector<int>{0, 2, 4, 6}, false), 2.0);
}

TEST(TorusLoad, OfPairsIsThatOfAllThatMeet) {
  // 0-3, 1-4, 2-5 on a ring of 12: all three pass the cable from 2 to 3.
  EXPECT_DOUBLE_EQ(fullest_cable({12}, std::vector<int>{0, 3}, true), 3.0);
}

TEST(TorusLoad, OfPairsIsTheSameFromEitherEndAndFromAnyStage) {
  // Four stages of four nodes on a ring of 16: four pairs pass the cable between two stages.
  for (const std::vector<int>& pair : {std::vector<int>{0, 4}, {4, 0}, {4, 8}, {8, 4}, {9, 13}, {12, 8}})
    EXPECT_DOUBLE_EQ(fullest_cable({16}, pair, true), 4.0) << pair[0] << " " << pair[1];
}

TEST(TorusLoad, OfPairsStagesApartIsThatOfTheNodesOfAStage) {
  // First and last of four stages of four nodes, the short way around; with the stride's twelve nodes as
  // siblings there would be none that ends on the ring.
  EXPECT_DOUBLE_EQ(fullest_cable({16}, std::vector<int>{1, 13}, true, 4), 4.0);
  EXPECT_EQ(sibling_shifts(std::vector<int>{1, 13}, 16, 4), (std::vector<int>{-1, 0, 1, 2}));
  EXPECT_EQ(sibling_shifts(std::vector<int>{13, 1}, 16, 4), (std::vector<int>{-1, 0, 1, 2}));
}

TEST(TorusLoad, OfColumnsIsOne) {
  // Rings along the second dimension of 4 x 4, one a column.
  EXPECT_DOUBLE_EQ(fullest_cable({4, 4}, std::vector<int>{1, 5, 9, 13}, false), 1.0);
}

TEST(TorusLoad, GoesBothWaysWhereTwoAreAsShort) {
  // Pairs two apart on a ring of four, from both ends: the way forwards and the one back carry half each of
  // two pairs in each direction.
  EXPECT_DOUBLE_EQ(fullest_cable({4}, std::vector<int>{0, 2}, false), 1.0);
  EXPECT_DOUBLE_EQ(fullest_cable({4}, std::vector<int>{0, 2}, true), 2.0);
}

TEST(TorusLoad, IsWhatTheRoutesOfATorusAddUpTo) {
  // Lowest dimension first, rings of odd size, so that there is one shortest path each.
  const std::vector<int> sizes = {5, 3};
  Topology topology = test::torus(sizes);
  topology.set_routing(Routing::fixed);
  const int stride = 3;
  std::vector<double> loads(topology.links().size(), 0.0);
  for (int first = 0; first < stride; ++first) {
    for (int i = 0; i < 5; ++i) {
      for (const LinkId link : topology.route(first + i * stride, first + (i + 1) % 5 * stride))
        loads[static_cast<size_t>(link)] += 1.0;
    }
  }
  EXPECT_DOUBLE_EQ(fullest_cable(sizes, std::vector<int>{1, 4, 7, 10, 13}, true),
                   *std::max_element(loads.begin(), loads.end()));
}

}  // namespace
}  // namespace orrery
