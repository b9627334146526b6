#pragma once

#include <array>

#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What the time of a memory-bound kernel depends on. Ratios have no unit.
struct MemoryParameters {
  std::array<double, kMemoryKinds> share{1, 1, 1, 1,
                                         1, 1, 1, 1};  ///< achieved of the memory bandwidth, by kind
  Seconds launch;                                      ///< of each kernel: start, ramp-up and drain

  double share_of(MemoryKind kind) const { return share[static_cast<size_t>(kind)]; }
  /// One share for what moves every element in order, one for gather, scatter and permute.
  void set_shares(double in_order, double by_index);
};

/// Pieces of a memory-bound kernel's time; they add up.
struct MemoryPieces {
  Seconds launch, memory;
  Seconds total() const { return launch + memory; }
};

/// Time of `launches` memory-bound kernels in a row:
///
///   launches x launch + max(traffic / (bandwidth x share), SM time / SMs)
///
/// The fixed time is the ramp: a kernel reaches half of its rate at launch x bandwidth x share bytes. A copy
/// that stays in the L2 cache is not taken to be faster.
/// @throws std::invalid_argument if the traffic or the SM time is negative or there is no launch
MemoryPieces memory_pieces(const MemoryParameters& parameters, const DeviceSpec& device,
                           const MemoryShape& shape);
/// Their sum.
inline Seconds memory_time(const MemoryParameters& parameters, const DeviceSpec& device,
                           const MemoryShape& shape) {
  return memory_pieces(parameters, device, shape).total();
}

}  // namespace orrery
