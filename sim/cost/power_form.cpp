#include "sim/cost/power_form.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "sim/cost/gemm_form.hpp"
#include "sim/cost/kernel_sequence.hpp"

namespace orrery {

Utilisation utilisation_of(const DeviceSpec& device, const Operator& op, Seconds time) {
  if (!(time > Seconds(0))) {
    throw std::invalid_argument(
        fmt::format("power of a kernel that takes {} s: expected a time above zero", time.base()));
  }
  const OperatorWork work = kernel_work(op);
  Utilisation use;
  if (work.precision) use.compute = work.flops / (require_peak(device, *work.precision) * time);
  use.memory = work.traffic / (device.memory_bandwidth * time);
  return use;
}

Watts kernel_power(const PowerParameters& parameters, Watts limit, const Utilisation& use) {
  const Watts drawn = parameters.idle + parameters.compute * use.compute + parameters.memory * use.memory;
  return limit > Watts(0) ? min(drawn, limit) : drawn;
}

}  // namespace orrery
