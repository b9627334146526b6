#pragma once

#include "sim/base/quantity.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// What a board draws beside its limit, which is DeviceSpec::board_power.
struct PowerParameters {
  Watts idle;     ///< clocked up with no kernel running
  Watts compute;  ///< more at the full peak of matrix products
  Watts memory;   ///< more at the full memory bandwidth
};

/// Shares of the datasheet's rates that a kernel uses on average over its time.
struct Utilisation {
  double compute = 0.0;  ///< FLOPs / (peak of its precision x time)
  double memory = 0.0;   ///< bytes / (memory bandwidth x time)
};

/// @throws std::invalid_argument if the time is not above zero or the device has no peak for the precision
Utilisation utilisation_of(const DeviceSpec& device, const Operator& op, Seconds time);

/// Mean draw of the board while a kernel of this utilisation is repeated:
///
///   P = min(limit, idle + compute u_c + memory u_m)
///
/// Energy is a constant power times the time plus a price for each operation and each byte; divided by the
/// time, with the prices taken at the full rates, that is the sum above. One `compute` serves all precisions:
/// a product of half the width does twice the operations in the same multipliers. At the limit the clock
/// gives way, which the sustained time holds already. Source: Choi, Bedard, Fowler, Vuduc, "A roofline model
/// of energy" (IPDPS 2013, doi 10.1109/IPDPS.2013.77); power caps in section 5.2 of its technical report
/// (GT-CSE-2012-01).
///
/// @param limit  board_power of the device; zero: none is known, nothing is cut
Watts kernel_power(const PowerParameters& parameters, Watts limit, const Utilisation& use);

}  // namespace orrery
