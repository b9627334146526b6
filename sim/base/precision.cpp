#include "sim/base/precision.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 9> kPrecisionNames = {
    "fp32", "tf32", "fp16", "bf16", "fp8", "fp8_current", "fp8_block", "mxfp8", "nvfp4"};
static_assert(kPrecisionNames.size() == static_cast<size_t>(Precision::nvfp4) + 1);

}  // namespace

std::string_view name_of(Precision precision) { return kPrecisionNames.at(static_cast<size_t>(precision)); }

std::optional<Precision> precision_named(std::string_view name) {
  const auto* const found = std::find(kPrecisionNames.begin(), kPrecisionNames.end(), name);
  if (found == kPrecisionNames.end()) return std::nullopt;
  return static_cast<Precision>(std::distance(kPrecisionNames.begin(), found));
}

std::span<const std::string_view> precision_names() { return kPrecisionNames; }

double operand_bytes(Precision precision) {
  switch (precision) {
    case Precision::fp32:
    case Precision::tf32:
      return 4.0;
    case Precision::fp16:
    case Precision::bf16:
      return 2.0;
    case Precision::fp8:
    case Precision::fp8_current:
    case Precision::fp8_block:
    case Precision::mxfp8:
      return 1.0;
    case Precision::nvfp4:
      return 0.5;
  }
  return 4.0;
}

double stored_operand_bytes(Precision precision) {
  switch (precision) {
    case Precision::fp8_block:
      return 1.0 + 4.0 / 128.0;
    case Precision::mxfp8:
      return 1.0 + 1.0 / 32.0;
    case Precision::nvfp4:
      return 0.5 + 1.0 / 16.0;
    default:
      return operand_bytes(precision);
  }
}

double activation_bytes(Precision precision) { return std::max(2.0, operand_bytes(precision)); }

bool is_quantized(Precision precision) { return operand_bytes(precision) < 2.0; }

}  // namespace orrery
