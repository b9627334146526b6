#include "kernels/harness/device.hpp"

#include <cuda_runtime.h>

#include "kernels/harness/board.hpp"
#include "kernels/harness/cuda.hpp"
#include "kernels/harness/peaks.hpp"

namespace orrery::kernels {
namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  cuda_check(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

/// CUDA writes 13.0 as 13000.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // no driver, or one too old: not an error of a later call
  return 0;
}

DeviceInfo device_info(int index) {
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, index));
  DeviceInfo info;
  info.index = index;
  info.name = properties.name;
  char bus_id[32] = {};
  cuda_check(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, index));
  info.pci_bus_id = bus_id;
  info.major = properties.major;
  info.minor = properties.minor;
  info.sms = properties.multiProcessorCount;
  info.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
  info.memory_bytes = properties.totalGlobalMem;
  info.shared_bytes_per_block = properties.sharedMemPerBlockOptin;
  info.sm_clock_hz = 1e3 * attribute(cudaDevAttrClockRate, index);  // reported in kHz
  info.memory_clock_hz = 1e3 * attribute(cudaDevAttrMemoryClockRate, index);
  info.memory_bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth, index);
  int driver = 0, runtime = 0;
  cuda_check(cudaDriverGetVersion(&driver));
  cuda_check(cudaRuntimeGetVersion(&runtime));
  info.driver = nvml_driver_version().value_or("CUDA " + version_text(driver) + " driver");
  info.cuda = version_text(runtime);
  return info;
}

std::optional<double> peak_flops(const DeviceInfo& device, std::string_view precision) {
  const auto rate = flops_per_sm_and_clock(device.major, device.minor, precision);
  if (!rate || device.sm_clock_hz <= 0) return std::nullopt;
  return *rate * device.sms * device.sm_clock_hz;
}

std::optional<double> peak_memory_rate(const DeviceInfo& device) {
  const double rate = memory_rate(device.memory_clock_hz, device.memory_bus_bits);
  if (rate <= 0) return std::nullopt;
  return rate;
}

}  // namespace orrery::kernels
