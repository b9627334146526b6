#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/harness/record.hpp"

namespace orrery::kernels {

/// One look at the board. What NVML does not give is absent.
struct BoardReading {
  double at_s = 0.0;  ///< seconds of steady_seconds()
  std::optional<double> sm_clock_mhz, memory_clock_mhz, power_w, temperature_c;
  std::uint64_t reasons = 0;  ///< ClockReason bits
};

/// The board while samples were taken: median clocks and temperature, mean power.
struct BoardConditions {
  std::optional<double> clock_mhz, memory_clock_mhz, power_w, temperature_c;
  std::uint64_t reasons = 0;  ///< all bits that any reading had

  /// Sets clock_mhz, memory_clock_mhz, power_w, temperature_c where they are known.
  void write(Record* record) const;
};

/// Of readings in time order, those in [begin, end]; with none, the last one before `begin`, if any.
std::vector<BoardReading> readings_between(const std::vector<BoardReading>& readings, double begin,
                                           double end);
BoardConditions conditions_of(const std::vector<BoardReading>& readings);

/// Seconds of the machine's monotonic clock.
double steady_seconds();

/// Reads the board of one GPU every 10 ms from a thread of its own, for as long as it lives. NVML is loaded
/// when the program runs (libnvidia-ml.so.1 comes with the driver); without it there are no readings, and the
/// constructor says so on stderr.
class BoardSampler {
 public:
  explicit BoardSampler(const std::string& pci_bus_id);
  ~BoardSampler();
  BoardSampler(const BoardSampler&) = delete;
  BoardSampler& operator=(const BoardSampler&) = delete;

  BoardConditions between(double begin, double end) const;
  /// All bits of ClockReason seen in that time.
  std::uint64_t reasons_between(double begin, double end) const;
  std::vector<BoardReading> readings(double begin, double end) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Version of the installed driver, "580.95.05"; nothing without NVML.
std::optional<std::string> nvml_driver_version();

}  // namespace orrery::kernels
