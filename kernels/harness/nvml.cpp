#include "kernels/harness/nvml.hpp"

#include <dlfcn.h>

#include <cstring>

namespace orrery::kernels {

// Numbers and layout of NVML's C interface. Source: NVML API reference guide (return codes, nvmlClockType_t,
// nvmlTemperatureSensors_t, field value enums, nvmlFieldValue_t).
namespace {
constexpr int kSuccess = 0;
constexpr int kClockSm = 1;
constexpr int kClockMemory = 2;
constexpr int kTemperatureGpu = 0;
// The instantaneous draw in mW. nvmlDeviceGetPowerUsage averages over a second on Hopper and later.
constexpr unsigned kFieldPowerInstant = 186;
}  // namespace

struct Nvml::FieldValue {
  unsigned field = 0;
  unsigned scope = 0;
  long long timestamp = 0;
  long long latency_us = 0;
  int value_type = 0;
  int status = 0;
  union {
    double as_double;
    unsigned as_unsigned;
    unsigned long long as_unsigned_long_long;
  } value = {};
};

std::string Nvml::load() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return "libnvidia-ml.so.1 is not installed";
  std::string missing;
  const auto find = [&](const char* symbol, auto* function) {
    void* address = dlsym(library, symbol);
    std::memcpy(function, &address, sizeof address);
    return address != nullptr;
  };
  const auto need = [&](const char* symbol, auto* function) {
    if (!find(symbol, function)) missing = symbol;
  };
  need("nvmlInit_v2", &initialise_);
  need("nvmlSystemGetDriverVersion", &driver_version_);
  need("nvmlDeviceGetHandleByPciBusId_v2", &device_by_bus_id_);
  need("nvmlDeviceGetClockInfo", &clock_);
  need("nvmlDeviceGetTemperature", &temperature_);
  need("nvmlDeviceGetPowerUsage", &power_usage_);
  // "Throttle" became "event" in the 535 drivers; both names stayed.
  if (!find("nvmlDeviceGetCurrentClocksEventReasons", &clock_reasons_)) {
    need("nvmlDeviceGetCurrentClocksThrottleReasons", &clock_reasons_);
  }
  find("nvmlDeviceGetFieldValues", &field_values_);
  if (!missing.empty()) return "libnvidia-ml.so.1 has no " + missing;
  const Status status = initialise_();
  return status == kSuccess ? "" : "nvmlInit_v2 answers " + std::to_string(status);
}

const Nvml* Nvml::get(std::string* why) {
  static Nvml library;
  static const std::string problem = library.load();
  if (why != nullptr) *why = problem;
  return problem.empty() ? &library : nullptr;
}

std::optional<std::string> Nvml::driver_version() const {
  char text[96] = {};
  if (driver_version_(text, sizeof text) != kSuccess) return std::nullopt;
  return text;
}

void* Nvml::device(const std::string& pci_bus_id) const {
  void* handle = nullptr;
  return device_by_bus_id_(pci_bus_id.c_str(), &handle) == kSuccess ? handle : nullptr;
}

std::optional<double> Nvml::power_w(void* device) const {
  if (field_values_ != nullptr) {
    FieldValue field;
    field.field = kFieldPowerInstant;
    if (field_values_(device, 1, &field) == kSuccess && field.status == kSuccess &&
        field.value.as_unsigned > 0) {
      return field.value.as_unsigned * 1e-3;
    }
  }
  unsigned milliwatts = 0;
  if (power_usage_(device, &milliwatts) != kSuccess) return std::nullopt;
  return milliwatts * 1e-3;
}

BoardReading Nvml::read(void* device) const {
  BoardReading reading;
  unsigned value = 0;
  if (clock_(device, kClockSm, &value) == kSuccess) reading.sm_clock_mhz = value;
  if (clock_(device, kClockMemory, &value) == kSuccess) reading.memory_clock_mhz = value;
  if (temperature_(device, kTemperatureGpu, &value) == kSuccess) reading.temperature_c = value;
  reading.power_w = power_w(device);
  unsigned long long reasons = 0;
  if (clock_reasons_(device, &reasons) == kSuccess) reading.reasons = reasons;
  return reading;
}

}  // namespace orrery::kernels
