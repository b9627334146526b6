#include "sim/cost/roofline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <variant>

#include "sim/cost/kernel_sequence.hpp"
#include "sim/cost/unfused_attention.hpp"

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

KernelPower Roofline::power(const Operator& op) const {
  time(op);  // refuses what it refuses
  return {device_.board_power, Evidence::datasheet};
}

KernelTime Roofline::time(const Operator& op) const {
  KernelTime result;
  result.relative_spread = assumptions_.relative_spread;
  result.evidence = Evidence::datasheet;
  if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) {
    const GemmPieces pieces = gemm_pieces(assumptions_.gemm, device_, *gemm);
    result.time = pieces.total();
    result.bound = bound_of(pieces.compute, pieces.memory + pieces.quantize, pieces.launch);
  } else if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) {
    if (attention->kernel == AttentionKernel::unfused) {
      result = time_in_sequence(*this, unfused_attention(*attention));
      result.evidence = Evidence::datasheet;
      return result;
    }
    const AttentionPieces pieces = attention_pieces(assumptions_.attention, device_, *attention);
    result.time = pieces.total();
    result.bound = bound_of(pieces.compute, pieces.memory, pieces.launch);
  } else {
    const MemoryPieces pieces = memory_pieces(assumptions_.memory, device_, std::get<MemoryShape>(op.shape));
    result.time = pieces.total();
    result.bound = bound_of(Seconds(0), pieces.memory, pieces.launch);
  }
  return result;
}

}  // namespace orrery
