#include "kernels/harness/board.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

#include "kernels/harness/nvml.hpp"
#include "kernels/harness/statistics.hpp"

namespace orrery::kernels {
namespace {

/// Median or mean of one column over the readings that have it.
template <typename Summary>
std::optional<double> summary_of(const std::vector<BoardReading>& readings,
                                 std::optional<double> BoardReading::*column, Summary summary) {
  std::vector<double> values;
  for (const BoardReading& reading : readings)
    if (reading.*column) values.push_back(*(reading.*column));
  if (values.empty()) return std::nullopt;
  return summary(values);
}

}  // namespace

void BoardConditions::write(Record* record) const {
  if (clock_mhz) record->set("clock_mhz", *clock_mhz);
  if (memory_clock_mhz) record->set("memory_clock_mhz", *memory_clock_mhz);
  if (power_w) record->set("power_w", *power_w);
  if (temperature_c) record->set("temperature_c", *temperature_c);
}

std::vector<BoardReading> readings_between(const std::vector<BoardReading>& readings, double begin,
                                           double end) {
  const auto first = std::lower_bound(readings.begin(), readings.end(), begin,
                                      [](const BoardReading& r, double t) { return r.at_s < t; });
  const auto last = std::upper_bound(first, readings.end(), end,
                                     [](double t, const BoardReading& r) { return t < r.at_s; });
  if (first != last) return {first, last};
  if (first != readings.begin()) return {*std::prev(first)};
  return {};
}

BoardConditions conditions_of(const std::vector<BoardReading>& readings) {
  BoardConditions conditions;
  conditions.clock_mhz = summary_of(readings, &BoardReading::sm_clock_mhz, median);
  conditions.memory_clock_mhz = summary_of(readings, &BoardReading::memory_clock_mhz, median);
  conditions.power_w = summary_of(readings, &BoardReading::power_w, mean);
  conditions.temperature_c = summary_of(readings, &BoardReading::temperature_c, median);
  for (const BoardReading& reading : readings) conditions.reasons |= reading.reasons;
  return conditions;
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::optional<std::string> nvml_driver_version() {
  const Nvml* nvml = Nvml::get();
  return nvml == nullptr ? std::nullopt : nvml->driver_version();
}

struct BoardSampler::State {
  const Nvml* nvml = nullptr;
  void* device = nullptr;
  mutable std::mutex mutex;
  std::vector<BoardReading> readings;
  std::atomic<bool> stop{false};
  std::thread thread;

  void sample_until_stopped() {
    using namespace std::chrono_literals;
    while (!stop) {
      BoardReading reading = nvml->read(device);
      reading.at_s = steady_seconds();
      {
        const std::lock_guard<std::mutex> lock(mutex);
        readings.push_back(reading);
      }
      std::this_thread::sleep_for(10ms);
    }
  }
};

BoardSampler::BoardSampler(const std::string& pci_bus_id) : state_(std::make_unique<State>()) {
  std::string why;
  state_->nvml = Nvml::get(&why);
  if (state_->nvml != nullptr) {
    state_->device = state_->nvml->device(pci_bus_id);
    if (state_->device == nullptr) why = "NVML knows no GPU at " + pci_bus_id;
  }
  if (state_->device == nullptr) {
    std::fprintf(stderr, "no clocks, power, temperature in the lines: %s\n", why.c_str());
    return;
  }
  state_->thread = std::thread([this] { state_->sample_until_stopped(); });
}

BoardSampler::~BoardSampler() {
  state_->stop = true;
  if (state_->thread.joinable()) state_->thread.join();
}

std::vector<BoardReading> BoardSampler::readings(double begin, double end) const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return readings_between(state_->readings, begin, end);
}

BoardConditions BoardSampler::between(double begin, double end) const {
  return conditions_of(readings(begin, end));
}

std::uint64_t BoardSampler::reasons_between(double begin, double end) const {
  return between(begin, end).reasons;
}

}  // namespace orrery::kernels
