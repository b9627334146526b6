#pragma once

#include "sim/cost/device_spec.hpp"

namespace orrery::test {

/// 100 SMs, 100 TFLOP/s in bf16 (1 TFLOP/s an SM), 1 TB/s: times come out in round numbers.
inline DeviceSpec round_device() {
  DeviceSpec device;
  device.name = "round";
  device.architecture = "ampere";
  device.sms = 100;
  device.memory_bandwidth = gigabytes_per_second(1000);
  device.peak[static_cast<size_t>(Precision::bf16)] = teraflops(100);
  device.peak[static_cast<size_t>(Precision::fp8)] = teraflops(200);
  return device;
}

}  // namespace orrery::test
