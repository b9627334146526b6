#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace orrery::kernels {

/// What a figure needs to know of the GPU that it was measured on.
struct DeviceInfo {
  int index = 0;
  std::string name;
  std::string pci_bus_id;
  int major = 0, minor = 0;  ///< compute capability
  int sms = 0;
  std::size_t l2_bytes = 0;
  std::size_t memory_bytes = 0;
  std::size_t shared_bytes_per_block = 0;  ///< the most that a block may ask for (opt-in)
  double sm_clock_hz = 0;                  ///< highest, as the device reports it
  double memory_clock_hz = 0;
  int memory_bus_bits = 0;
  std::string driver;  ///< "580.95.05" where NVML is, else "CUDA 13.0 driver"
  std::string cuda;    ///< runtime version, "13.0"
};

/// GPUs that can be used; 0 too where no driver is.
int device_count();

/// @throws DeviceError for an index that does not exist
DeviceInfo device_info(int index);

/// Dense FLOP/s at the highest SM clock; nothing where the architecture has no such units or is not known.
std::optional<double> peak_flops(const DeviceInfo& device, std::string_view precision);

/// Bytes/s of device memory at its clock; nothing where the driver reports no clock or width.
std::optional<double> peak_memory_rate(const DeviceInfo& device);

}  // namespace orrery::kernels
