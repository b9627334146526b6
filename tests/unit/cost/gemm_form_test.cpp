#include "sim/cost/gemm_form.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

#include "tests/unit/cost/test_device.hpp"

namespace orrery {
namespace {

using test::round_device;

GemmShape product(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t batch = 1) {
  GemmShape shape;
  shape.m = m;
  shape.n = n;
  shape.k = k;
  shape.batch = batch;
  return shape;
}

TEST(GemmForm, OneFullWaveRunsAtThePeak) {
  // 2560 x 1280 has 10 x 10 tiles of 256 x 128, one on each of the 100 SMs: 2 m n k / peak.
  const GemmPieces pieces = gemm_pieces({}, round_device(), product(2560, 1280, 8192));
  EXPECT_NEAR(pieces.compute.base(), 2.0 * 2560 * 1280 * 8192 / 100e12, 1e-12);
  // (2560 x 8192 + 8192 x 1280 + 2560 x 1280) x 2 bytes at 1 TB/s.
  EXPECT_NEAR(pieces.memory.base(), 2.0 * (2560.0 * 8192 + 8192.0 * 1280 + 2560.0 * 1280) / 1e12, 1e-15);
}

TEST(GemmForm, OneTileMoreThanTheSmsCostsAnotherWave) {
  // A byte takes as long to load as makes 384 of them a column of a 256 x 128 tile's own time (2 bytes each),
  // so smaller tiles wait for their loads: 2/3 of the time for half of the work. 101 tiles of 256 x 128 need
  // two waves, 202 of 128 x 128 three at 2/3 each.
  GemmParameters parameters;
  parameters.feed = 2.0 * 256 * 128 / 1e12 / (384 * 2);
  const DeviceSpec device = round_device();
  const double full = gemm_pieces(parameters, device, product(256, 128 * 100, 8192)).compute.base();
  const double more = gemm_pieces(parameters, device, product(256, 128 * 101, 8192)).compute.base();
  EXPECT_NEAR(more / full, 2.0, 1e-12);
  // Half of it with quantisation 0.5: 1.01 + 0.5 (2 - 1.01).
  parameters.quantisation = 0.5;
  EXPECT_NEAR(gemm_pieces(parameters, device, product(256, 128 * 101, 8192)).compute.base() / full, 1.505,
              1e-12);
}

TEST(GemmForm, SplitsALongInnerDimensionOverIdleSms) {
  // Eight tiles of 64 x 64, k = 4096: eight splits of 512 each, all on SMs of their own: 2 x 64 x 64 x 512
  // FLOP at 1 TFLOP/s, and 8 x 8 bytes an element.
  const GemmPieces pieces = gemm_pieces({}, round_device(), product(256, 128, 4096));
  EXPECT_NEAR(pieces.compute.base(), 2.0 * 64 * 64 * 512 / 1e12 + 8.0 * 8 * 256 * 128 / 1e12, 1e-12);
}

TEST(GemmForm, WhatEarlierProductsWorkedOutChangesNoByte) {
  GemmParameters parameters;
  parameters.feed = 2.0 * 256 * 128 / 1e12 / (384 * 2);
  parameters.contention = 0.4;
  parameters.misaligned = 0.5;
  parameters.misaligned_batched = 0.25;
  TileTimes known;
  for (const GemmShape& shape :
       {product(2560, 1280, 8192), product(64, 129, 4096), product(64, 129, 4096, 8), product(64, 100, 100),
        product(300, 136, 512), product(64, 129, 4096), product(4096, 4096, 4096)}) {
    const GemmPieces fresh = gemm_pieces(parameters, round_device(), shape);
    EXPECT_EQ(gemm_pieces(parameters, round_device(), shape, 1.0, &known).total().base(),
              fresh.total().base());
  }
  for (const auto& by_alignment : known.of_tile) {
    EXPECT_GT(*std::max_element(by_alignment.begin(), by_alignment.end()), 0.0);
  }
}

TEST(GemmForm, GroupsShareWaves) {
  // 4 products of 25 tiles fill the 100 SMs as one of 100 does; alone each leaves 75 idle.
  const DeviceSpec device = round_device();
  const auto together = gemm_pieces({}, device, product(256, 128 * 25, 512, 4)).compute;
  EXPECT_NEAR(together.base(), 2.0 * 256 * 128 * 512 / 1e12, 1e-15);
}

TEST(GemmForm, AGroupedProductIsAWaveOfAllGroups) {
  // 16 groups of 64 rows: 16 x 4 tiles of 64 x 64 on 100 SMs, 16 k n weights read once each.
  GemmShape shape = product(64, 256, 1024, 16);
  shape.grouped = true;
  const GemmPieces pieces = gemm_pieces({}, round_device(), shape);
  EXPECT_NEAR(pieces.compute.base(), 2.0 * 64 * 64 * 1024 / 1e12, 1e-15);
  EXPECT_NEAR(pieces.memory.base(), 16 * 2.0 * (64 * 1024 + 1024 * 256 + 64 * 256) / 1e12, 1e-15);
}

TEST(GemmForm, TilesWaitForTheirLoads) {
  // One wave of 256 x 128: 384 elements of 2 bytes a column of k, 0.1 ns a byte, longer than its 65.5 ns of
  // FLOPs.
  GemmParameters parameters;
  parameters.feed = 1e-10;
  const GemmPieces pieces = gemm_pieces(parameters, round_device(), product(2560, 1280, 8192));
  EXPECT_NEAR(pieces.compute.base(), 384 * 2 * 1e-10 * 8192, 1e-12);
}

TEST(GemmForm, OverlapRunsFromTheLongerToTheSum) {
  EXPECT_EQ(overlapped(Seconds(3), Seconds(4), 0.0), Seconds(4));
  EXPECT_NEAR(overlapped(Seconds(3), Seconds(4), 0.5).base(), 5.0, 1e-14);
  EXPECT_NEAR(overlapped(Seconds(3), Seconds(4), 1.0).base(), 7.0, 1e-14);
  EXPECT_EQ(overlapped(Seconds(0), Seconds(4), 0.5), Seconds(4));
}

TEST(GemmForm, OutputBytesRaiseTheMemoryFloor) {
  GemmShape shape = product(1024, 1024, 16);
  const double narrow = gemm_pieces({}, round_device(), shape).memory.base();
  shape.output_bytes = 8;  // fp32 gradient read and written
  EXPECT_NEAR(gemm_pieces({}, round_device(), shape).memory.base() - narrow, 6.0 * 1024 * 1024 / 1e12, 1e-15);
}

TEST(GemmForm, QuantiseIsSplitOut) {
  GemmShape shape = product(2560, 1280, 8192);
  shape.precision = Precision::fp8;
  GemmParameters parameters;
  parameters.quantize_memory = 0.5;
  parameters.quantize_launch = microseconds(4);
  const GemmPieces with = gemm_pieces(parameters, round_device(), shape);
  // 2 bytes read and 1 written an activation at 0.5 TB/s.
  EXPECT_NEAR(with.quantize.base(), 4e-6 + 3.0 * 2560 * 8192 / 0.5e12, 1e-12);
  shape.quantized_inputs = false;
  const GemmPieces without = gemm_pieces(parameters, round_device(), shape);
  EXPECT_EQ(without.quantize, Seconds(0));
  EXPECT_EQ(without.compute, with.compute);
}

TEST(GemmForm, MisalignedRowsAreSlow) {
  GemmParameters parameters;
  parameters.misaligned = 0.5;
  parameters.misaligned_batched = 0.125;
  EXPECT_TRUE(misaligned(product(1024, 1024, 108)));  // 216 bytes
  EXPECT_TRUE(misaligned(product(1024, 50257, 1024)));
  EXPECT_FALSE(misaligned(product(1023, 1024, 104)));  // rows of m do not matter
  const DeviceSpec device = round_device();
  const double single = gemm_pieces(parameters, device, product(2560, 1284, 8192)).compute.base();
  parameters.misaligned = 1.0;
  EXPECT_NEAR(single / gemm_pieces(parameters, device, product(2560, 1284, 8192)).compute.base(), 2.0, 1e-9);
}

TEST(GemmForm, RefusesWhatCannotBe) {
  EXPECT_THROW(gemm_pieces({}, round_device(), product(0, 1, 1)), std::invalid_argument);
  GemmShape shape = product(64, 64, 64);
  shape.precision = Precision::nvfp4;
  try {
    gemm_pieces({}, round_device(), shape);
    FAIL() << "a precision without a peak was accepted";
  } catch (const std::invalid_argument& problem) {
    EXPECT_STREQ(problem.what(), "round has no peak for matrix products in nvfp4, only in bf16, fp8");
  }
}

/// No dimension that grows makes a product faster; more bandwidth, or SMs with their peak, never make it
/// slower.
TEST(GemmForm, IsMonotone) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  const auto dimension = [&] { return 8 * static_cast<std::int64_t>(std::exp2(unit(random) * 11.0)); };
  for (int trial = 0; trial < 2000; ++trial) {
    GemmParameters parameters;
    parameters.efficiency = 0.5 + 0.5 * unit(random);
    parameters.feed = 1e-10 * unit(random);
    parameters.contention = unit(random);
    parameters.ramp = 500.0 * unit(random);
    parameters.quantisation = unit(random);
    parameters.split_launch = microseconds(3.0 * unit(random));
    parameters.square_tiles = unit(random) < 0.5;
    const DeviceSpec device = round_device();
    const GemmShape small = product(dimension(), dimension(), dimension(), 1 + trial % 3);
    GemmShape large = small;
    (trial % 4 == 0 ? large.m : trial % 4 == 1 ? large.n : trial % 4 == 2 ? large.k : large.batch) += 8;
    const double time = gemm_pieces(parameters, device, small).total().base();
    EXPECT_GE(gemm_pieces(parameters, device, large).total().base(), time * (1 - 1e-12));
    DeviceSpec better = device;
    better.memory_bandwidth = gigabytes_per_second(1300);
    EXPECT_LE(gemm_pieces(parameters, better, small).total().base(), time * (1 + 1e-12));
    better.sms = 113;
    better.peak[static_cast<size_t>(Precision::bf16)] = teraflops(113);
    EXPECT_LE(gemm_pieces(parameters, better, small).total().base(), time * (1 + 1e-12));
  }
}

}  // namespace
}  // namespace orrery
