#pragma once

#include <array>
#include <optional>
#include <string>

#include "sim/base/precision.hpp"
#include "sim/base/quantity.hpp"

namespace orrery {

/// What a kernel time needs to know of a GPU. Filled by topologies from the GPU presets.
struct DeviceSpec {
  std::string name;          ///< "a100-sxm4-80gb"
  std::string architecture;  ///< "volta", "ampere", "ada", "hopper", "blackwell", "cdna3"
  int sms = 0;               ///< streaming multiprocessors (compute units)
  BytesPerSecond memory_bandwidth;
  Bytes memory_capacity;  ///< what the driver reports as total
  Bytes l2_cache;
  Watts board_power;
  /// Dense peak of matrix products by Precision; fp8_current and fp8_block share fp8's. Absent: no such
  /// unit.
  std::array<std::optional<FlopsPerSecond>, 9> peak;
  /// Exponentials of the special function units, one an operation; zero: not known, nothing waits for them.
  FlopsPerSecond exponentials;
  BytesPerSecond shared_memory_bandwidth;  ///< of all SMs together; zero: not known, nothing waits for it
  /// Its library's products start one block an SM that works through several tiles: what holds an SM while
  /// they start keeps a block waiting.
  bool persistent_products = false;

  std::optional<FlopsPerSecond> peak_for(Precision precision) const {
    return peak[static_cast<size_t>(precision)];
  }
};

}  // namespace orrery
