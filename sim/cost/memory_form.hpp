#pragma once

#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What the time of a memory-bound kernel depends on. Ratios have no unit.
struct MemoryParameters {
  double streaming = 1.0;  ///< achieved share of the memory bandwidth, every element once in order
  double scattered = 1.0;  ///< the same for gathers and scatters
  Seconds launch;          ///< of each kernel: start, ramp-up and drain
};

/// Time of `launches` memory-bound kernels in a row: launches x launch + traffic / (bandwidth x share).
///
/// The fixed time is the ramp: a kernel reaches half of its rate at launch x bandwidth x share bytes. A copy
/// that stays in the L2 cache is not taken to be faster.
/// @throws std::invalid_argument if the traffic is negative or there is no launch
Seconds memory_time(const MemoryParameters& parameters, const DeviceSpec& device, const MemoryShape& shape);

}  // namespace orrery
