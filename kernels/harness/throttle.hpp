#pragma once

#include <cstdint>
#include <string>

namespace orrery::kernels {

/// NVML's reasons why the SM clock is below the highest, as bits of
/// nvmlDeviceGetCurrentClocksEventReasons. Source: NVML API reference, NvmlClocksEventReasons.
enum ClockReason : std::uint64_t {
  kGpuIdle = 0x1,
  kApplicationClocks = 0x2,
  kPowerCap = 0x4,
  kHardwareSlowdown = 0x8,
  kSyncBoost = 0x10,
  kSoftwareThermal = 0x20,
  kHardwareThermal = 0x40,
  kPowerBrake = 0x80,
  kDisplayClocks = 0x100,
};

/// Reasons under which a sample says nothing about the GPU: heat, power brake, hardware slowdown. The power
/// cap is no such reason (training runs under it), nor are clocks that the owner set.
inline constexpr std::uint64_t kDiscardReasons =
    kHardwareSlowdown | kSoftwareThermal | kHardwareThermal | kPowerBrake;

constexpr bool discards_samples(std::uint64_t reasons) { return (reasons & kDiscardReasons) != 0; }

/// "hardware thermal, power brake": those of the discarding reasons that are set.
inline std::string discard_reason_text(std::uint64_t reasons) {
  std::string out;
  const auto add = [&](std::uint64_t bit, const char* name) {
    if ((reasons & bit) != 0) out += (out.empty() ? "" : ", ") + std::string(name);
  };
  add(kHardwareSlowdown, "hardware slowdown");
  add(kSoftwareThermal, "software thermal");
  add(kHardwareThermal, "hardware thermal");
  add(kPowerBrake, "power brake");
  return out;
}

}  // namespace orrery::kernels
