#include "sim/base/evidence.hpp"

#include <gtest/gtest.h>

namespace orrery {
namespace {

TEST(Evidence, NamesGoFromStrongestToWeakest) {
  const char* const contract[] = {"measured", "interpolated", "extrapolated", "datasheet", "assumed"};
  ASSERT_EQ(evidence_names().size(), std::size(contract));
  for (size_t i = 0; i < std::size(contract); ++i) {
    EXPECT_EQ(name_of(static_cast<Evidence>(i)), contract[i]);
    EXPECT_EQ(evidence_named(contract[i]), static_cast<Evidence>(i));
  }
  EXPECT_FALSE(evidence_named("guessed"));
}

TEST(Evidence, TheWeakerOfTwoWins) {
  EXPECT_EQ(weaker(Evidence::measured, Evidence::assumed), Evidence::assumed);
  EXPECT_EQ(weaker(Evidence::datasheet, Evidence::extrapolated), Evidence::datasheet);
  EXPECT_EQ(weaker(Evidence::measured, Evidence::measured), Evidence::measured);
}

TEST(Evidence, ASourceSaysThatItIsAssumed) {
  EXPECT_TRUE(Source{"assumed: no vendor figure"}.assumed());
  EXPECT_FALSE(Source{"NVIDIA H100 datasheet (clock assumed)"}.assumed());
  EXPECT_FALSE(Source{}.assumed());
}

}  // namespace
}  // namespace orrery
