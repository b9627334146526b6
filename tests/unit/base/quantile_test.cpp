#include "sim/base/quantile.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

TEST(Quantile, InterpolatesBetweenOrderStatistics) {
  // Type 7 of Hyndman and Fan: place (n - 1) q = 3 * 0.9 = 2.7 between 30 and 40.
  EXPECT_DOUBLE_EQ(*quantile({40, 10, 30, 20}, 0.9), 37.0);
  EXPECT_DOUBLE_EQ(*quantile({40, 10, 30, 20}, 0.0), 10.0);
  EXPECT_DOUBLE_EQ(*quantile({40, 10, 30, 20}, 1.0), 40.0);
  EXPECT_FALSE(quantile({}, 0.5).has_value());
}

}  // namespace
}  // namespace orrery
