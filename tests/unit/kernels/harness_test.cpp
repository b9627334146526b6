#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>

#include "kernels/harness/board.hpp"
#include "kernels/harness/element.hpp"
#include "kernels/harness/peaks.hpp"
#include "kernels/harness/random.hpp"
#include "kernels/harness/record.hpp"
#include "kernels/harness/reference.hpp"
#include "kernels/harness/statistics.hpp"
#include "kernels/harness/throttle.hpp"

namespace orrery::kernels {
namespace {

TEST(Record, WritesKeysInOrderAndEveryKindOfValue) {
  Record inner;
  inner.set("op", "copy").set("blocks", 8);
  Record record;
  record.set("gpu", "h100").set("m", std::int64_t{4096}).set("ok", true).set("time_s", 1.5e-3);
  record.set("samples_s", std::vector<double>{0.1, 2})
      .set("beside", inner)
      .set("none", std::vector<double>{});
  EXPECT_EQ(record.json(),
            "{\"gpu\": \"h100\", \"m\": 4096, \"ok\": true, \"time_s\": 0.0015, \"samples_s\": [0.1, 2], "
            "\"beside\": {\"op\": \"copy\", \"blocks\": 8}, \"none\": []}");
  record.set("m", 1);  // replaced where it stands
  EXPECT_TRUE(record.json().starts_with("{\"gpu\": \"h100\", \"m\": 1, \"ok\""));
  EXPECT_TRUE(record.has("beside"));
  EXPECT_FALSE(record.has("op"));
}

TEST(Record, EscapesWhatJsonWants) {
  EXPECT_EQ(quoted_text("a\"b\\c\nd\te\x01"
                        "f"),
            "\"a\\\"b\\\\c\\nd\\te\\u0001f\"");
  EXPECT_EQ(quoted_text("NVIDIA \xc3\xa9"), "\"NVIDIA \xc3\xa9\"");  // UTF-8 passes as it is
}

TEST(Record, NumbersReadBackAsTheSameDouble) {
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 7.202e-06, 123456789.0}) {
    EXPECT_EQ(std::strtod(number_text(value).c_str(), nullptr), value) << number_text(value);
  }
  EXPECT_EQ(number_text(0.1), "0.1");  // the shortest of the texts that do
  EXPECT_THROW(number_text(std::nan("")), std::invalid_argument);
  EXPECT_THROW(number_text(std::numeric_limits<double>::infinity()), std::invalid_argument);
}

TEST(Record, MergeTakesOverEveryKey) {
  Record first, second;
  first.set("a", 1).set("b", 2);
  second.set("b", 3).set("c", 4);
  EXPECT_EQ(first.merge(second).json(), "{\"a\": 1, \"b\": 3, \"c\": 4}");
}

TEST(Statistics, QuantilesLieBetweenNeighbours) {
  const std::vector<double> samples = {4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(median(samples), 2.5);
  EXPECT_DOUBLE_EQ(quantile(samples, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(samples, 1), 4);
  EXPECT_DOUBLE_EQ(quantile(samples, 0.25), 1.75);  // position 0.75 of 1 2 3 4
  EXPECT_DOUBLE_EQ(quantile({7}, 0.3), 7);
  EXPECT_DOUBLE_EQ(mean(samples), 2.5);
  EXPECT_THROW(median({}), std::invalid_argument);
  EXPECT_THROW(mean({}), std::invalid_argument);
  EXPECT_THROW(quantile(samples, 1.01), std::invalid_argument);
}

TEST(Element, DecodesThePublishedValues) {
  // OCP 8-bit float specification: largest e4m3 448, least subnormal 2^-9. OCP microscaling: e2m1 up to 6.
  EXPECT_EQ(decode_e4m3(0x7e), 448);
  EXPECT_EQ(decode_e4m3(0x01), std::ldexp(1, -9));
  EXPECT_EQ(decode_e4m3(0x38), 1);
  EXPECT_EQ(decode_e4m3(0xb8), -1);
  EXPECT_TRUE(std::isnan(decode_e4m3(0x7f)));
  const double e2m1[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (std::uint8_t bits = 0; bits < 8; ++bits) {
    EXPECT_EQ(decode_e2m1(bits), e2m1[bits]);
    EXPECT_EQ(decode_e2m1(bits | 8), -e2m1[bits]);
  }
  EXPECT_EQ(decode_ue8m0(127), 1);
  EXPECT_EQ(decode_ue8m0(0), std::ldexp(1, -127));
  EXPECT_TRUE(std::isnan(decode_ue8m0(255)));
}

TEST(Element, ReadsArraysAsTheGpuStoresThem) {
  const std::uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001};  // 1, -2, 65504, 2^-24
  EXPECT_EQ(decode_element(Element::fp16, halves, 0), 1);
  EXPECT_EQ(decode_element(Element::fp16, halves, 1), -2);
  EXPECT_EQ(decode_element(Element::fp16, halves, 2), 65504);
  EXPECT_EQ(decode_element(Element::fp16, halves, 3), std::ldexp(1, -24));
  const std::uint16_t brains[] = {0x3f80, 0x4049, 0x7f80};  // 1, 3.140625, infinity
  EXPECT_EQ(decode_element(Element::bf16, brains, 0), 1);
  EXPECT_EQ(decode_element(Element::bf16, brains, 1), 3.140625);
  EXPECT_TRUE(std::isnan(decode_element(Element::bf16, brains, 2)));  // fails every check
  const unsigned char packed[] = {0x71};                              // low half 1: 0.5, high half 7: 6
  EXPECT_EQ(decode_element(Element::e2m1, packed, 0), 0.5);
  EXPECT_EQ(decode_element(Element::e2m1, packed, 1), 6);
  EXPECT_EQ(bytes_of(Element::e2m1, 3), 2U);
  EXPECT_EQ(bytes_of(Element::bf16, 3), 6U);
}

TEST(Random, IsNormalAndDependsOnPlaceAndSeedAlone) {
  constexpr int kCount = 200'000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < kCount; ++i) {
    const double value = static_cast<double>(normal_at(3, static_cast<std::uint64_t>(i)));
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
    fourth += value * value * value * value;
  }
  // Five standard errors: 1, sqrt(2) and sqrt(96) over sqrt(count).
  const double error = 5 / std::sqrt(kCount);
  EXPECT_NEAR(sum / kCount, 0, error);
  EXPECT_NEAR(squares / kCount, 1, error * std::sqrt(2));
  EXPECT_NEAR(fourth / kCount, 3, error * std::sqrt(96));
  EXPECT_EQ(normal_at(3, 77), normal_at(3, 77));
  EXPECT_NE(normal_at(3, 77), normal_at(4, 77));
  EXPECT_NE(normal_at(3, 77), normal_at(3, 78));
}

TEST(Random, IntegersCoverTheirRange) {
  std::set<std::uint32_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::uint32_t value = integer_at(1, i, 7);
    ASSERT_LT(value, 7U);
    seen.insert(value);
    const float uniform = uniform_at(1, i);
    ASSERT_GT(uniform, 0.0F);
    ASSERT_LT(uniform, 1.0F);
  }
  EXPECT_EQ(seen.size(), 7U);
}

TEST(Reference, NamesTheWorstElement) {
  EXPECT_NO_THROW(require_close("sum", {1, 2.01}, {1, 2}, {0.0, 0.006}));
  try {
    require_close("sum", {1, 2.5, 9}, {1, 2, 3}, {0.1, 0});
    FAIL() << "accepted a wrong result";
  } catch (const CheckFailed& error) {
    EXPECT_STREQ(error.what(), "sum: 2 of 3 elements differ; element 2 is 9, expected 3 within 0.1");
  }
  EXPECT_THROW(require_close("sum", {std::nan("")}, {0}, {1e9, 1e9}), CheckFailed);
  EXPECT_THROW(require_close("sum", {1}, {1, 2}, {1, 1}), CheckFailed);
}

TEST(Reference, ProductToleranceGrowsWithTheInnerDimensionAndTheFormat) {
  const Tolerance narrow = product_tolerance(Element::bf16, 512, 0x1p-22);
  EXPECT_DOUBLE_EQ(narrow.relative, 0x1p-7);         // twice bf16's round-off of 2^-8
  EXPECT_DOUBLE_EQ(narrow.absolute, 512 * 0x1p-21);  // twice 2^-22 for each addition
  EXPECT_LT(product_tolerance(Element::fp32, 512, 0x1p-24).absolute, narrow.absolute);
}

TEST(Throttle, ThePowerCapIsNoReasonToDrop) {
  EXPECT_FALSE(discards_samples(0));
  EXPECT_FALSE(discards_samples(kPowerCap | kGpuIdle | kApplicationClocks | kSyncBoost));
  EXPECT_TRUE(discards_samples(kPowerCap | kSoftwareThermal));
  EXPECT_TRUE(discards_samples(kPowerBrake));
  EXPECT_EQ(discard_reason_text(kPowerCap | kHardwareThermal | kPowerBrake), "hardware thermal, power brake");
}

TEST(Board, SummarisesTheReadingsOfAWindow) {
  std::vector<BoardReading> readings(5);
  for (std::size_t i = 0; i < readings.size(); ++i) {
    readings[i].at_s = static_cast<double>(i);
    readings[i].sm_clock_mhz = 1000 + 100.0 * static_cast<double>(i);
    readings[i].power_w = 100.0 * static_cast<double>(i * i);
  }
  readings[2].reasons = kPowerCap;
  readings[3].power_w.reset();  // NVML may refuse single values
  const auto window = readings_between(readings, 1.5, 4.0);
  ASSERT_EQ(window.size(), 3U);  // at 2, 3 and 4: both ends belong to it
  const BoardConditions conditions = conditions_of(window);
  EXPECT_DOUBLE_EQ(*conditions.clock_mhz, 1300);
  EXPECT_DOUBLE_EQ(*conditions.power_w, (400.0 + 1600.0) / 2);
  EXPECT_FALSE(conditions.temperature_c);
  EXPECT_EQ(conditions.reasons, kPowerCap);
  Record record;
  conditions.write(&record);
  EXPECT_EQ(record.json(), "{\"clock_mhz\": 1300, \"power_w\": 1000}");
}

TEST(Board, AWindowShorterThanTheSamplingTakesTheReadingBeforeIt) {
  std::vector<BoardReading> readings(2);
  readings[1].at_s = 1;
  EXPECT_EQ(readings_between(readings, 0.2, 0.3).front().at_s, 0);
  EXPECT_EQ(readings_between(readings, 5, 6).front().at_s, 1);
  EXPECT_TRUE(readings_between(readings, -2, -1).empty());
}

TEST(Peaks, AreTheDatasheets) {
  // A100 SXM: 108 SMs at 1,410 MHz, 312 TFLOP/s dense bf16, 156 tf32, 19.5 fp32, 2,039 GB/s at 1,593 MHz x
  // 5,120 bit.
  EXPECT_NEAR(*flops_per_sm_and_clock(8, 0, "bf16") * 108 * 1.41e9, 312e12, 0.5e12);
  EXPECT_NEAR(*flops_per_sm_and_clock(8, 0, "tf32") * 108 * 1.41e9, 156e12, 0.5e12);
  EXPECT_NEAR(*flops_per_sm_and_clock(8, 0, "fp32") * 108 * 1.41e9, 19.5e12, 0.1e12);
  EXPECT_NEAR(memory_rate(1593e6, 5120), 2039e9, 1e9);
  // H100 SXM: 132 SMs; 989 TFLOP/s dense bf16 and 1,979 fp8 are stated at 1,830 MHz.
  EXPECT_NEAR(*flops_per_sm_and_clock(9, 0, "bf16") * 132 * 1.83e9, 989e12, 2e12);
  EXPECT_NEAR(*flops_per_sm_and_clock(9, 0, "fp8") * 132 * 1.83e9, 1979e12, 3e12);
  EXPECT_FALSE(flops_per_sm_and_clock(8, 0, "fp8"));
  EXPECT_FALSE(flops_per_sm_and_clock(9, 0, "mxfp8"));
  EXPECT_TRUE(flops_per_sm_and_clock(10, 0, "nvfp4"));
  EXPECT_FALSE(flops_per_sm_and_clock(7, 0, "fp16"));
}

}  // namespace
}  // namespace orrery::kernels
