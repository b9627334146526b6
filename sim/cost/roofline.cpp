#include "sim/cost/roofline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <variant>

namespace orrery {

void check_device(const DeviceSpec& device) {
  const bool has_peak =
      std::any_of(device.peak.begin(), device.peak.end(), [](const auto& peak) { return peak.has_value(); });
  if (device.sms < 1 || device.memory_bandwidth <= BytesPerSecond(0) || !has_peak) {
    throw std::invalid_argument(fmt::format(
        "GPU \"{}\": needs at least one SM, a memory bandwidth above zero and a peak for some precision",
        device.name));
  }
}

Roofline::Roofline(DeviceSpec device, RooflineAssumptions assumptions)
    : device_(std::move(device)), assumptions_(std::move(assumptions)) {
  check_device(device_);
}

KernelPower Roofline::power(const Operator& /*op*/) const {
  return {device_.board_power, Evidence::datasheet};
}

KernelTime Roofline::time(const Operator& op) const {
  KernelTime result;
  result.relative_spread = assumptions_.relative_spread;
  result.evidence = Evidence::datasheet;
  if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) {
    result.time = gemm_pieces(assumptions_.gemm, device_, *gemm).total();
  } else if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) {
    result.time = attention_pieces(assumptions_.attention, device_, *attention).total();
  } else {
    result.time = memory_time(assumptions_.memory, device_, std::get<MemoryShape>(op.shape));
  }
  return result;
}

}  // namespace orrery
