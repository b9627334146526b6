#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "calibration/kernels/fit_gemm.hpp"
#include "calibration/kernels/log_error_fit.hpp"
#include "calibration/kernels/measurements.hpp"

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
  truth.feed = 1.4e-11;
  truth.contention = 0.3;
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
  const auto gemm = read_gemm_measurements(kRoot + "/calibration/data/gemm.jsonl");
  size_t a100 = 0;
  for (const GemmMeasurement& row : gemm) {
    a100 += row.gpu == "a100-sxm4-80gb" && row.campaign == Campaign::burst ? 1 : 0;
    EXPECT_FALSE(row.source.empty());
  }
  EXPECT_EQ(a100, 83u);  // as many as the file has with a CUDA graph method
  // 4 b h s^2 d / 2 of the first A100 row, 1 x 512 x 4 x 128: its 9.1 TFLOP/s are 29.53 us.
  const auto attention = read_attention_measurements(kRoot + "/calibration/data/attention.jsonl");
  EXPECT_EQ(attention.front().time, Seconds(2.953e-05));
  EXPECT_TRUE(attention.front().module_overhead);
}

TEST(KernelFit, CovarianceOfALineIsTheTextbooks) {
  // Residuals v0 and v0 + v1 with unit noise and hardly any prior: J^T J = [[2, 1], [1, 1]], whose inverse is
  // [[1, -1], [-1, 2]].
  const std::vector<FreeParameter> free = {{-10, 10, 0, 1e4}, {-10, 10, 0, 1e4}};
  const LogError error = [](std::span<const double> v, size_t row) { return v[0] + (row == 1 ? v[1] : 0.0); };
  const std::vector<double> optimum = {0.0, 0.0};
  const auto covariance = log_error_covariance(free, 2, error, 1.0, optimum);
  EXPECT_NEAR(covariance[0][0], 1.0, 1e-5);
  EXPECT_NEAR(covariance[0][1], -1.0, 1e-5);
  EXPECT_NEAR(covariance[1][1], 2.0, 1e-5);
  EXPECT_EQ(covariance[0][1], covariance[1][0]);
  // In microseconds and elements of a hundred: the entries take both scales.
  const std::vector<double> scales = {1e-6, 100.0};
  const auto scaled = log_error_covariance(free, 2, error, 1.0, optimum, scales);
  EXPECT_NEAR(scaled[0][1], -1e-4, 1e-9);
  EXPECT_NEAR(scaled[1][1], 2e4, 1.0);
}

TEST(KernelFit, CovarianceKnowsPriorsAndOddRows) {
  // Four rows of noise 0.1 and a prior of 0.5: 4 / 0.01 + 1 / 0.25 = 404. A row three deviations off counts
  // half (1.5 / 3): 1 + 0.5 + 1e-8.
  const LogError exact = [](std::span<const double> v, size_t /*row*/) { return v[0] - 1.0; };
  const std::vector<FreeParameter> tight = {{0, 2, 1, 0.5}};
  const std::vector<double> one = {1.0}, zero = {0.0};
  EXPECT_NEAR(log_error_covariance(tight, 4, exact, 0.1, one)[0][0], 1.0 / 404.0, 1e-8);
  const LogError odd = [](std::span<const double> v, size_t row) { return v[0] + (row == 1 ? 3.0 : 0.0); };
  const std::vector<FreeParameter> loose = {{-10, 10, 0, 1e4}};
  EXPECT_NEAR(log_error_covariance(loose, 2, odd, 1.0, zero)[0][0], 1.0 / 1.5, 1e-5);
}

}  // namespace
}  // namespace orrery
