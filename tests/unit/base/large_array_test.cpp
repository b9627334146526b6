#include "sim/base/large_array.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <utility>

namespace orrery {
namespace {

struct alignas(64) Line {
  double value = 0.0;
};

// From the heap to pages of its own and back again, as a vector does it.
TEST(LargeArray, KeepsItsElementsAcrossTheSizeFromWhichItAsksForPages) {
  constexpr std::size_t kMany = 3'000'000;  // 12 MB
  LargeArray<std::int32_t> array;
  for (std::size_t i = 0; i < kMany; ++i) array.push_back(static_cast<std::int32_t>(i));
  EXPECT_EQ(std::accumulate(array.begin(), array.end(), std::int64_t{0}),
            static_cast<std::int64_t>(kMany) * (static_cast<std::int64_t>(kMany) - 1) / 2);
  const LargeArray<std::int32_t> copy = array;
  const LargeArray<std::int32_t> moved = std::move(array);
  EXPECT_EQ(copy, moved);
  LargeArray<std::int32_t> small(moved.begin(), moved.begin() + 3);
  small = copy;
  EXPECT_EQ(small.size(), kMany);
  small.resize(2);
  small.shrink_to_fit();
  EXPECT_EQ(small, (LargeArray<std::int32_t>{0, 1}));
}

TEST(LargeArray, AlignsWhatAsksForIt) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{100'000}}) {
    const LargeArray<Line> lines(count);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(lines.data()) % alignof(Line), 0U) << count;
  }
  EXPECT_TRUE(LargeArray<Line>(0).empty());
}

}  // namespace
}  // namespace orrery
