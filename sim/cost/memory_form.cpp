#include "sim/cost/memory_form.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace orrery {

Seconds memory_time(const MemoryParameters& parameters, const DeviceSpec& device, const MemoryShape& shape) {
  if (shape.traffic < Bytes(0) || shape.launches < 1) {
    throw std::invalid_argument(
        fmt::format("memory-bound kernel of {} bytes in {} launches: expected bytes of at least "
                    "0 and at least 1 launch",
                    shape.traffic.base(), shape.launches));
  }
  const double share = shape.access == MemoryAccess::streaming ? parameters.streaming : parameters.scattered;
  return parameters.launch * static_cast<double>(shape.launches) +
         shape.traffic / (device.memory_bandwidth * share);
}

}  // namespace orrery
