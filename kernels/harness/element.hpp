#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace orrery::kernels {

/// Number formats of the operands on the GPU.
enum class Element {
  fp32,
  fp16,
  bf16,
  e4m3,  ///< OCP 8-bit float, 4 exponent bits, no infinities (NaN: all ones)
  e2m1,  ///< OCP 4-bit float: 0 .5 1 1.5 2 3 4 6; two a byte, the even element in the low half
};

constexpr int bits_of(Element element) {
  switch (element) {
    case Element::fp32:
      return 32;
    case Element::fp16:
    case Element::bf16:
      return 16;
    case Element::e4m3:
      return 8;
    case Element::e2m1:
      return 4;
  }
  return 0;
}

/// Bytes of `count` elements in a row (4-bit ones are packed in pairs).
constexpr std::size_t bytes_of(Element element, std::size_t count) {
  return (count * static_cast<std::size_t>(bits_of(element)) + 7) / 8;
}

/// Value of a small float with the given fields, sign included; subnormals as IEEE has them.
inline double decode_fields(unsigned bits, int exponent_bits, int mantissa_bits, int bias) {
  const unsigned mantissa = bits & ((1U << mantissa_bits) - 1);
  const unsigned exponent = (bits >> mantissa_bits) & ((1U << exponent_bits) - 1);
  const bool negative = ((bits >> (mantissa_bits + exponent_bits)) & 1U) != 0;
  const double fraction = std::ldexp(static_cast<double>(mantissa), -mantissa_bits);
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias)
                                         : std::ldexp(1.0 + fraction, static_cast<int>(exponent) - bias);
  return negative ? -magnitude : magnitude;
}

inline double decode_e4m3(std::uint8_t bits) {
  if ((bits & 0x7fU) == 0x7fU) return std::numeric_limits<double>::quiet_NaN();
  return decode_fields(bits, 4, 3, 7);
}
inline double decode_e2m1(std::uint8_t bits) { return decode_fields(bits & 0xfU, 2, 1, 1); }
/// Block scale of mxfp8: a power of two, 2^(bits - 127).
inline double decode_ue8m0(std::uint8_t bits) {
  if (bits == 0xffU) return std::numeric_limits<double>::quiet_NaN();
  return std::ldexp(1.0, static_cast<int>(bits) - 127);
}

/// Element `index` of a host copy of a device array, as a double.
inline double decode_element(Element element, const void* data, std::size_t index) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  switch (element) {
    case Element::fp32: {
      float value = 0.0F;
      std::memcpy(&value, bytes + 4 * index, 4);
      return static_cast<double>(value);
    }
    case Element::fp16:
    case Element::bf16: {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes + 2 * index, 2);
      const bool half = element == Element::fp16;
      const bool special = half ? (bits & 0x7c00U) == 0x7c00U : (bits & 0x7f80U) == 0x7f80U;
      if (special) return std::numeric_limits<double>::quiet_NaN();  // infinities too: both fail every check
      return half ? decode_fields(bits, 5, 10, 15) : decode_fields(bits, 8, 7, 127);
    }
    case Element::e4m3:
      return decode_e4m3(bytes[index]);
    case Element::e2m1:
      return decode_e2m1(
          static_cast<std::uint8_t>(index % 2 == 0 ? bytes[index / 2] & 0xfU : bytes[index / 2] >> 4));
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace orrery::kernels
