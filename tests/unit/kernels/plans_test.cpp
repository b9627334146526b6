#include <gtest/gtest.h>

#include <set>

#include "kernels/collectives/columns.hpp"
#include "kernels/overlap/hold_plan.hpp"
#include "kernels/products/block_scales.hpp"

namespace orrery::kernels {
namespace {

constexpr std::size_t kKiB = 1024;

TEST(HoldPlan, OneBlockFillsAnSm) {
  // H100: 132 SMs of 228 KiB, of which a block may have 227.
  const HoldPlan plan = hold_plan(24, 132, 227 * kKiB, 228 * kKiB, 4 << 20);
  EXPECT_EQ(plan.blocks, 24);
  EXPECT_LE(plan.shared_bytes + kStaticSharedBytes, 227 * kKiB);
  EXPECT_GT(2 * plan.shared_bytes, 228 * kKiB);  // a second one does not fit
  EXPECT_EQ(plan.buffer_bytes(), 24U * (4 << 20));
  // Parts follow one another without gap or overlap and end with the buffer.
  for (int block = 0; block + 1 < plan.blocks; ++block) {
    EXPECT_EQ(plan.first_vector(block) + plan.vectors_a_block, plan.first_vector(block + 1));
  }
  EXPECT_EQ((plan.first_vector(23) + plan.vectors_a_block) * 16, plan.buffer_bytes());
}

TEST(HoldPlan, RefusesWhatCannotHold) {
  EXPECT_NO_THROW(hold_plan(131, 132, 227 * kKiB, 228 * kKiB, 1 << 20));
  EXPECT_THROW(hold_plan(132, 132, 227 * kKiB, 228 * kKiB, 1 << 20), std::invalid_argument);
  EXPECT_THROW(hold_plan(0, 132, 227 * kKiB, 228 * kKiB, 1 << 20), std::invalid_argument);
  EXPECT_THROW(hold_plan(8, 132, 114 * kKiB, 228 * kKiB, 1 << 20), std::invalid_argument);
}

TEST(CollectiveColumns, AreThoseOfNcclTests) {
  // nccl-tests doc/PERFORMANCE.md: factors for n ranks.
  EXPECT_DOUBLE_EQ(bus_factor("all_reduce", 8), 2 * 7.0 / 8);
  EXPECT_DOUBLE_EQ(bus_factor("all_gather", 8), 7.0 / 8);
  EXPECT_DOUBLE_EQ(bus_factor("reduce_scatter", 4), 3.0 / 4);
  EXPECT_DOUBLE_EQ(bus_factor("all_to_all", 4), 3.0 / 4);
  EXPECT_DOUBLE_EQ(bus_factor("broadcast", 8), 1);
  EXPECT_DOUBLE_EQ(bus_factor("send_recv", 2), 1);
  EXPECT_DOUBLE_EQ(bus_factor("all_reduce", 1), 0);
}

TEST(CollectiveColumns, SizesCountTheWholeBuffer) {
  EXPECT_EQ(call_elements("all_reduce", 1024, 8, 4), 256U);
  EXPECT_EQ(call_elements("all_gather", 1024, 8, 4), 32U);
  EXPECT_EQ(line_bytes("all_gather", 32, 8, 4), 1024U);
  EXPECT_EQ(call_elements("reduce_scatter", 8, 8, 4), 0U);  // two numbers for eight ranks
  // What does not divide is rounded down, and the line says what was really moved.
  EXPECT_EQ(line_bytes("all_to_all", call_elements("all_to_all", 1024, 3, 4), 3, 4), 1020U);
  EXPECT_EQ(line_bytes("broadcast", call_elements("broadcast", 1026, 3, 4), 3, 4), 1024U);
}

TEST(BlockScales, LieWhereCuBlasDocumentsThem) {
  // Published with nvmath's get_block_scale_offset: a 128 x 128 operand with 16 elements a factor.
  const BlockScales nvfp4(128, 128, 16);
  EXPECT_EQ(nvfp4.offset(5, 2), 82U);
  EXPECT_EQ(nvfp4.offset(5, 5), 593U);
  EXPECT_EQ(nvfp4.bytes(), 1024U);
  // By hand: row 33 lies 4 bytes after row 1, which lies 16 after row 0; row 128 begins the next row of
  // tiles.
  const BlockScales mxfp8(256, 256, 32);
  EXPECT_EQ(mxfp8.offset(1, 0), 16U);
  EXPECT_EQ(mxfp8.offset(33, 0), 20U);
  EXPECT_EQ(mxfp8.offset(0, 4), 512U);
  EXPECT_EQ(mxfp8.offset(128, 0), 1024U);
}

TEST(BlockScales, GiveEveryFactorAPlaceOfItsOwn) {
  for (const std::size_t rows : {1U, 127U, 160U, 288U}) {
    for (const std::size_t inner : {32U, 96U, 512U, 520U}) {
      const BlockScales scales(rows, inner, 32);
      std::set<std::size_t> places;
      const std::size_t blocks = (inner + 31) / 32;
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t block = 0; block < blocks; ++block) places.insert(scales.offset(row, block));
      EXPECT_EQ(places.size(), rows * blocks);
      EXPECT_LT(*places.rbegin(), scales.bytes());
    }
  }
}

}  // namespace
}  // namespace orrery::kernels
