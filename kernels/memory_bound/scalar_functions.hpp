#pragma once

#include <cmath>

namespace orrery::kernels {

/// References in double precision of what the kernels compute in fp32.

/// GELU in its tanh form, as Megatron-LM's fused bias-gelu has it:
/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Source: Hendrycks and Gimpel 2016, section 2.
inline double gelu_value(double x) {
  const double inner = std::sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + std::tanh(inner));
}
inline double gelu_slope(double x) {
  const double c = std::sqrt(2.0 / 3.14159265358979323846);
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x);
}

/// x sigmoid(x): the gate of SwiGLU. Source: Shazeer 2020, "GLU variants improve transformer".
inline double silu_value(double x) { return x / (1.0 + std::exp(-x)); }
inline double silu_slope(double x) {
  const double s = 1.0 / (1.0 + std::exp(-x));
  return s * (1.0 + x * (1.0 - s));
}

/// The power of two 2^(bits - 127) that mxfp8 scales a block by: the smallest with largest / scale <= 448,
/// the largest e4m3 number. Source: OCP Microscaling Formats v1.0 for the format; rounding up, as Transformer
/// Engine does, so that no element saturates.
inline int mxfp8_scale_bits(double largest) {
  if (!(largest > 0.0)) return 0;
  int exponent = 0;
  const double fraction = std::frexp(largest / 448.0, &exponent);  // in [0.5, 1)
  const int power = fraction == 0.5 ? exponent - 1 : exponent;
  const int bits = power + 127;
  return bits < 0 ? 0 : (bits > 254 ? 254 : bits);
}

}  // namespace orrery::kernels
