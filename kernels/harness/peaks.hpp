#pragma once

#include <optional>
#include <string_view>

namespace orrery::kernels {

/// Dense FLOPs that one SM can do in a clock (a multiply-add counts two), or nothing where the part has no
/// such units or we know no figure.
///
/// @param major, minor  compute capability
/// @param precision     as in a measurement line: fp32 tf32 fp16 bf16 fp8 mxfp8 nvfp4
/// Source: throughput tables of the CUDA C++ programming guide (fp32) and NVIDIA's architecture whitepapers
/// (tensor cores: A100 1024, H100 2048, L40S 512 dense fp16 multiply-adds an SM and clock). B200's 4096 and
/// the nvfp4 rates follow from its datasheet's 2.25 PFLOP/s dense bf16 and 9 PFLOP/s dense fp4 at 148 SMs and
/// about 1.86 GHz; B300's 14 PFLOP/s dense fp4 in the same way.
constexpr std::optional<double> flops_per_sm_and_clock(int major, int minor, std::string_view precision) {
  const int capability = major * 10 + minor;
  double fp32 = 0.0, half = 0.0, fp8 = 0.0, fp4 = 0.0;
  if (capability == 80) {
    fp32 = 128, half = 2048;
  } else if (capability == 89) {
    fp32 = 256, half = 1024, fp8 = 2048;
  } else if (capability == 90) {
    fp32 = 256, half = 4096, fp8 = 8192;
  } else if (capability == 100) {
    fp32 = 256, half = 8192, fp8 = 16384, fp4 = 32768;
  } else if (capability == 103) {
    fp32 = 256, half = 8192, fp8 = 16384, fp4 = 49152;
  }
  double rate = 0.0;
  if (precision == "fp32") rate = fp32;
  if (precision == "tf32") rate = half / 2;
  if (precision == "fp16" || precision == "bf16") rate = half;
  if (precision == "fp8") rate = fp8;
  if (precision == "mxfp8") rate = capability >= 100 ? fp8 : 0.0;
  if (precision == "nvfp4") rate = fp4;
  if (rate > 0.0) return rate;
  return std::nullopt;
}

/// Bytes a second of device memory at double data rate: 2 * clock * bus width.
constexpr double memory_rate(double memory_clock_hz, int bus_bits) {
  return 2.0 * memory_clock_hz * bus_bits / 8.0;
}

}  // namespace orrery::kernels
