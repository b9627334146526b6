#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "kernels/memory_bound/grid.hpp"
#include "kernels/memory_bound/scalar_functions.hpp"
#include "kernels/memory_bound/traffic.hpp"
#include "sim/workload/memory_operators.hpp"

namespace orrery {
namespace {

using kernels::family_shapes;
using kernels::kOperatorTraffic;
using kernels::memory_grid;
using kernels::operator_bytes;
using kernels::operator_traffic;
using kernels::OperatorShape;
using kernels::OperatorTraffic;

// Operators that the benchmark has beyond the table of sim/workload.
const std::set<std::string_view> kOnlyMeasured = {"gradient_accumulate", "quantize_mxfp8", "quantize_nvfp4"};

TEST(MemoryOperatorsBytes, OfARmsNormAreItsArraysOnce) {
  // x read and y written: 2 x 2 bytes; 1/deviation of each row in fp32; the gain once.
  EXPECT_EQ(operator_bytes(operator_traffic("rmsnorm", false), {4096, 8192}),
            2.0 * 2 * 4096 * 8192 + 4.0 * 4096 + 2.0 * 8192);
}

TEST(MemoryOperatorsBytes, OfTheWeightedCombinesGradientCountEveryCopy) {
  // Token's gradient once; of each of 8 copies: values read, gradient written, place and weight read, dweight
  // written.
  EXPECT_EQ(operator_bytes(operator_traffic("unpermute", true), {100, 512, 8}),
            2.0 * 100 * 512 + 100.0 * 8 * (2 * 2 * 512 + 4 + 4 + 4));
}

TEST(MemoryOperatorsBytes, OfBlockFormatsCountTheirScales) {
  // mxfp8: 2 in, 1 out, a byte for 32. nvfp4: 2 in, a half out, a byte for 16.
  EXPECT_EQ(operator_bytes(operator_traffic("quantize_mxfp8", false), {64, 1024}), 64 * (2048 + 1024 + 32));
  EXPECT_EQ(operator_bytes(operator_traffic("quantize_nvfp4", false), {64, 1024}), 64 * (2048 + 512 + 64));
}

TEST(MemoryOperatorsBytes, OfAdamAreThirtyAParameter) {
  // Gradient 4; master, first and second moment 8 each; bf16 weight 2. Lamb's update is written and read (8),
  // its weight read once more (4).
  EXPECT_EQ(operator_bytes(operator_traffic("adam", false), {3, 1000}), 3000 * (4 + 3 * 8 + 2));
  EXPECT_EQ(operator_bytes(operator_traffic("lamb", false), {3, 1000}), 3000 * (4 + 3 * 8 + 2 + 8 + 4));
}

TEST(MemoryOperatorsBytes, AreThoseThatThePredictionCounts) {
  for (const OperatorTraffic& traffic : kOperatorTraffic) {
    if (kOnlyMeasured.count(traffic.name) != 0) continue;
    const MemoryOperator* counted = memory_operator_named(traffic.name);
    ASSERT_NE(counted, nullptr) << traffic.name;
    const auto pass = traffic.backward ? AttentionPass::backward : AttentionPass::forward;
    for (const auto& [rows, columns, copies] : {OperatorShape{1024, 4096, 1}, OperatorShape{77, 512, 8}}) {
      const std::int64_t used = counted->copies ? copies : 1;
      const MemoryShape shape = memory_operator_shape(*counted, pass, rows, columns, 2.0, used);
      EXPECT_NEAR(operator_bytes(traffic, {rows, columns, used}), shape.traffic.base(),
                  1e-9 * shape.traffic.base())  // the order of the sums differs
          << traffic.name << (traffic.backward ? " backward" : " forward");
      EXPECT_EQ(traffic.kind, name_of(shape.kind)) << traffic.name;
    }
  }
}

TEST(MemoryOperatorsBytes, MeasureEveryOperatorThatThePredictionKnows) {
  std::set<std::string_view> measured;
  for (const OperatorTraffic& traffic : kOperatorTraffic) measured.insert(traffic.name);
  for (const MemoryOperator& counted : memory_operators()) {
    EXPECT_EQ(measured.count(counted.name), 1U) << counted.name << " is predicted and not measured";
  }
}

TEST(MemoryOperatorsBytes, RefuseAnOperatorWithoutThatPass) {
  EXPECT_THROW(operator_traffic("embedding", true), std::invalid_argument);
  EXPECT_THROW(operator_traffic("rmsnrom", false), std::invalid_argument);
}

TEST(MemoryGrid, ShowsTheRampAndThePlateauOfEveryOperator) {
  for (const OperatorTraffic& traffic : kOperatorTraffic) {
    double least = 1e30, most = 0;
    for (const auto& c : memory_grid({std::string(traffic.name)}, 100)) {
      if (c.traffic != &traffic) continue;
      least = std::min(least, c.bytes());
      most = std::max(most, c.bytes());
    }
    EXPECT_LT(least, 8e6) << traffic.name;
    EXPECT_GT(most, 2.4e8) << traffic.name;
    EXPECT_LE(most, kernels::kMostBytes) << traffic.name;
  }
}

TEST(MemoryGrid, HoldsOnlyShapesThatTheKernelsCanTake) {
  for (const OperatorTraffic& traffic : kOperatorTraffic) {
    auto shapes = family_shapes(traffic);
    const auto checks = kernels::check_shapes(traffic);
    shapes.insert(shapes.end(), checks.begin(), checks.end());
    for (const OperatorShape& shape : shapes) {
      EXPECT_EQ(shape.columns % 8, 0) << traffic.name;  // 16-byte accesses of bf16
      if (traffic.name == "rope") {
        EXPECT_EQ(shape.columns % 128, 0);  // whole heads
      } else if (traffic.name == "quantize_fp8_transpose") {
        EXPECT_EQ(shape.columns % 64 + shape.rows % 64, 0);  // whole tiles
      } else if (traffic.kind == "quantize") {
        EXPECT_EQ(shape.columns % 32, 0);  // whole blocks
      } else if (traffic.kind == "norm" || traffic.kind == "permute") {
        EXPECT_LE(shape.columns, 16384);  // a row in a block's registers
      } else if (traffic.kind == "loss") {
        EXPECT_LE(shape.rows, 65535);  // a row is a block in the grid's second dimension
      }
    }
  }
}

TEST(MemoryGrid, StartsWithOneShapeOfEveryOperator) {
  const auto cases = memory_grid(kernels::operator_names(), 1);
  std::set<const OperatorTraffic*> seen;
  for (const auto& c : cases) seen.insert(c.traffic);
  EXPECT_EQ(seen.size(), kOperatorTraffic.size());
  EXPECT_EQ(cases.size(), kOperatorTraffic.size());
}

TEST(ScalarFunctions, SlopesAreThoseOfTheirFunctions) {
  const double step = 1e-5;
  for (const double x : {-6.0, -1.0, -0.1, 0.0, 0.3, 2.0, 6.0}) {
    // Central difference: its error is step^2 times the third derivative (below 3) plus round-off / step.
    EXPECT_NEAR(kernels::gelu_slope(x),
                (kernels::gelu_value(x + step) - kernels::gelu_value(x - step)) / (2 * step), 1e-9);
    EXPECT_NEAR(kernels::silu_slope(x),
                (kernels::silu_value(x + step) - kernels::silu_value(x - step)) / (2 * step), 1e-9);
  }
  EXPECT_NEAR(kernels::gelu_value(10.0), 10.0, 1e-12);
  EXPECT_NEAR(kernels::silu_value(-40.0), 0.0, 1e-12);
}

TEST(ScalarFunctions, ScaleOfMxfp8IsTheSmallestPowerThatDoesNotSaturate) {
  EXPECT_EQ(kernels::mxfp8_scale_bits(448.0), 127);  // 448 / 2^0 is the largest e4m3 number
  EXPECT_EQ(kernels::mxfp8_scale_bits(std::nextafter(448.0, 1e9)),
            128);                                   // one step more needs the next power
  EXPECT_EQ(kernels::mxfp8_scale_bits(1.75), 119);  // 448 / 2^8
  EXPECT_EQ(kernels::mxfp8_scale_bits(0.0), 0);
}

}  // namespace
}  // namespace orrery
