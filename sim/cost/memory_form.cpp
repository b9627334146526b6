#include "sim/cost/memory_form.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace orrery {

void MemoryParameters::set_shares(double in_order, double by_index) {
  share.fill(in_order);
  for (const MemoryKind kind : {MemoryKind::gather, MemoryKind::scatter, MemoryKind::permute}) {
    share[static_cast<size_t>(kind)] = by_index;
  }
}

MemoryPieces memory_pieces(const MemoryParameters& parameters, const DeviceSpec& device,
                           const MemoryShape& shape) {
  if (shape.traffic < Bytes(0) || shape.launches < 1) {
    throw std::invalid_argument(
        fmt::format("memory-bound kernel of {} bytes in {} launches: expected bytes of at least "
                    "0 and at least 1 launch",
                    shape.traffic.base(), shape.launches));
  }
  if (shape.sm_time < Seconds(0)) {
    throw std::invalid_argument(
        fmt::format("kernel of {} s of one SM: expected at least 0", shape.sm_time.base()));
  }
  const Seconds bytes = shape.traffic / (device.memory_bandwidth * parameters.share_of(shape.kind));
  const Seconds instructions = shape.sm_time / static_cast<double>(std::max(1, device.sms));
  return {parameters.launch * static_cast<double>(shape.launches), max(bytes, instructions)};
}

}  // namespace orrery
