#include "sim/cost/roofline.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/unit/cost/test_device.hpp"

namespace orrery {
namespace {

using test::round_device;

RooflineAssumptions assumptions() {
  RooflineAssumptions result;
  result.gemm.efficiency = 0.8;
  result.gemm.launch = microseconds(3);
  result.memory.set_shares(0.8, 0.5);
  result.memory.launch = microseconds(2);
  result.relative_spread = 0.25;
  result.source.text = "assumed: for this test";
  return result;
}

TEST(Roofline, HandComputedTimes) {
  const Roofline model(round_device(), assumptions());
  GemmShape gemm;
  gemm.m = 2560;
  gemm.n = 1280;
  gemm.k = 8192;
  // 100 tiles on 100 SMs at 0.8 of 100 TFLOP/s, and 3 us.
  const KernelTime product = model.time({"product", gemm});
  EXPECT_NEAR(product.time.base(), 3e-6 + 2.0 * 2560 * 1280 * 8192 / 80e12, 1e-12);
  EXPECT_EQ(product.evidence, Evidence::datasheet);
  EXPECT_EQ(product.relative_spread, 0.25);
  // 8 GB at 0.8 TB/s and two launches of 2 us; scattered at 0.5.
  EXPECT_NEAR(model.time({"norm", MemoryShape{bytes(8e9), 2, MemoryKind::streaming}}).time.base(),
              4e-6 + 0.01, 1e-12);
  EXPECT_NEAR(model.time({"permute", MemoryShape{bytes(8e9), 1, MemoryKind::gather}}).time.base(),
              2e-6 + 0.016, 1e-12);
}

TEST(Roofline, SaysWhatItRestsOn) {
  const Roofline model(round_device(), assumptions());
  EXPECT_EQ(model.profile_name(), "roofline");
  EXPECT_EQ(model.profile_source(), "assumed: for this test");
  EXPECT_EQ(model.device().name, "round");
}

TEST(Roofline, RefusesADeviceWithoutNumbers) {
  DeviceSpec device = round_device();
  device.sms = 0;
  EXPECT_THROW(Roofline(device, assumptions()), std::invalid_argument);
  device = round_device();
  device.peak = {};
  EXPECT_THROW(Roofline(device, assumptions()), std::invalid_argument);
  const Roofline model(round_device(), assumptions());
  EXPECT_THROW(model.time({"norm", MemoryShape{bytes(8), 0, MemoryKind::streaming}}), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
