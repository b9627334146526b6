#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/fit_profiles.hpp"
#include "calibration/kernels/log_error_fit.hpp"
#include "calibration/kernels/measurements.hpp"
#include "calibration/kernels/profile_json.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

const std::string kRoot = ORRERY_SOURCE_DIR;

TEST(KernelFit, FindsALineThroughExactPoints) {
  // ln(a x + b) of rows made with a = 2, b = 3: priors far wider than the noise leave them alone.
  const std::vector<FreeParameter> free = {{0.0, 10.0, 1.0, 10.0}, {0.0, 10.0, 1.0, 10.0}};
  const LogError error = [](std::span<const double> values, size_t row) {
    const double x = 1.0 + static_cast<double>(row);
    return std::log((values[0] * x + values[1]) / (2.0 * x + 3.0));
  };
  const std::vector<double> found = fit_log_errors(free, 20, error, 0.01);
  EXPECT_NEAR(found[0], 2.0, 1e-3);
  EXPECT_NEAR(found[1], 3.0, 1e-3);
}

TEST(KernelFit, RecoversTheParametersThatMadeATable) {
  DeviceSpec device;
  device.name = "made";
  device.architecture = "ampere";
  device.sms = 108;
  device.memory_bandwidth = gigabytes_per_second(2000);
  device.peak[static_cast<size_t>(Precision::bf16)] = teraflops(312);
  GemmParameters truth;
  truth.efficiency = 0.88;
  truth.halving = 0.92;
  truth.ramp = 60;
  truth.quantisation = 0.5;
  truth.memory = 0.72;
  truth.launch = microseconds(3);
  truth.split_launch = microseconds(1);
  std::vector<MeasuredGemm> rows;
  for (const std::int64_t m : {64, 256, 512, 1024, 2048, 4096, 8192}) {
    for (const std::int64_t n : {512, 1536, 4096, 7168, 12288}) {
      for (const std::int64_t k : {1024, 4096, 8192}) {
        GemmShape shape;
        shape.m = m;
        shape.n = n;
        shape.k = k;
        rows.push_back({shape, gemm_pieces(truth, device, shape).total()});
      }
    }
  }
  const GemmParameters found = fit_gemm_parameters(device, rows);
  EXPECT_NEAR(found.efficiency, truth.efficiency, 0.01);
  EXPECT_NEAR(found.memory, truth.memory, 0.02);
  EXPECT_NEAR(found.quantisation, truth.quantisation, 0.05);
  EXPECT_NEAR(found.launch.base(), truth.launch.base(), 0.3e-6);
}

TEST(KernelFit, ReadsTheTables) {
  const FitInputs inputs = shipped_inputs(kRoot);
  const auto gemm = read_gemm_measurements(inputs.gemm);
  size_t a100 = 0;
  for (const GemmMeasurement& row : gemm) {
    a100 += row.gpu == "a100-sxm4-80gb" && row.campaign == Campaign::burst ? 1 : 0;
    EXPECT_FALSE(row.source.empty());
  }
  EXPECT_EQ(a100, 83u);  // as many as the file has with a CUDA graph method
  // 4 b h s^2 d / 2 of the first A100 row, 1 x 512 x 4 x 128: its 9.1 TFLOP/s are 29.53 us.
  const auto attention = read_attention_measurements(inputs.attention);
  EXPECT_EQ(attention.front().time, Seconds(2.953e-05));
  EXPECT_TRUE(attention.front().module_overhead);
}

TEST(KernelFit, RegeneratesTheShippedProfilesByteForByte) {
  const std::vector<KernelProfile> profiles = fit_profiles(shipped_inputs(kRoot));
  EXPECT_EQ(profiles.size(), 10u);
  for (const KernelProfile& profile : profiles) {
    const std::string path = kRoot + "/calibration/profiles/" + profile.gpu + ".json";
    EXPECT_TRUE(profile_text(profile) == read_text_file(path))
        << path << " differs from what its measurements give: run orrery_fit_kernels calibration/profiles";
  }
}

}  // namespace
}  // namespace orrery
