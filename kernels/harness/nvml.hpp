#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/harness/board.hpp"

namespace orrery::kernels {

/// The few calls of NVIDIA's management library that a measurement needs. The library comes with the driver
/// and not with the toolkit, so it is loaded when the program runs; its C interface is declared in nvml.cpp.
/// Loaded once a process and never unloaded.
class Nvml {
 public:
  /// Null where the library or one of the calls is missing or refuses to start; `why` then says what is.
  static const Nvml* get(std::string* why = nullptr);

  std::optional<std::string> driver_version() const;
  /// The GPU with this PCI bus id; null if NVML does not know it.
  void* device(const std::string& pci_bus_id) const;
  /// What the board says now; at_s is left at 0.
  BoardReading read(void* device) const;

 private:
  Nvml() = default;
  std::string load();
  std::optional<double> power_w(void* device) const;

  struct FieldValue;
  using Status = int;
  Status (*initialise_)() = nullptr;
  Status (*driver_version_)(char*, unsigned) = nullptr;
  Status (*device_by_bus_id_)(const char*, void**) = nullptr;
  Status (*clock_)(void*, int, unsigned*) = nullptr;
  Status (*temperature_)(void*, int, unsigned*) = nullptr;
  Status (*power_usage_)(void*, unsigned*) = nullptr;
  Status (*clock_reasons_)(void*, unsigned long long*) = nullptr;
  Status (*field_values_)(void*, int, FieldValue*) = nullptr;  ///< absent in drivers older than 2017
};

}  // namespace orrery::kernels
