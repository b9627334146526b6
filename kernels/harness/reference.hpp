#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/harness/element.hpp"
#include "kernels/harness/record.hpp"

namespace orrery::kernels {

/// A kernel's result is not its reference's: exit code 1, no line is written.
struct CheckFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// |actual - expected| <= absolute + relative * |expected|
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

/// Unit round-off of a format: half the distance from 1 to the next number.
constexpr double round_off(Element element) {
  switch (element) {
    case Element::fp32:
      return 0x1p-24;
    case Element::fp16:
      return 0x1p-11;
    case Element::bf16:
      return 0x1p-8;
    case Element::e4m3:
      return 0x1p-4;
    case Element::e2m1:
      return 0x1p-2;
  }
  return 0.0;
}

/// What a product of standard normal numbers may differ by from one that multiplies the very same inputs
/// exactly: the rounding of the stored result (twice, because epilogues may round an intermediate), and the
/// accumulation: sums of size sqrt(inner), of which each of `inner` additions errs by its round-off, worst
/// case all one way: inner^(1/2) * inner^(1/2), times 2 for the partial sums of split products.
/// @param accumulator_round_off  2^-24 for fp32 units; tensor cores keep fewer bits, each program's check
/// says
inline Tolerance product_tolerance(Element output, std::size_t inner, double accumulator_round_off) {
  return {2.0 * accumulator_round_off * static_cast<double>(inner), 2.0 * round_off(output)};
}

/// Compares every element. NaN on either side is a failure.
/// @throws CheckFailed that names the worst element, both values and what was allowed
inline void require_close(const std::string& what, const std::vector<double>& actual,
                          const std::vector<double>& expected, Tolerance tolerance) {
  if (actual.size() != expected.size()) {
    throw CheckFailed(what + ": found " + std::to_string(actual.size()) + " elements, expected " +
                      std::to_string(expected.size()));
  }
  double worst = 0.0;
  std::size_t place = 0, outside = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double allowed = tolerance.absolute + tolerance.relative * std::abs(expected[i]);
    const double difference = std::abs(actual[i] - expected[i]);
    if (difference <= allowed) continue;
    ++outside;
    const double excess = std::isfinite(difference) ? difference - allowed : 1e300;
    if (outside == 1 || excess > worst) {
      worst = excess;
      place = i;
    }
  }
  if (outside == 0) return;
  const auto text = [](double value) { return std::isfinite(value) ? number_text(value) : "no number"; };
  throw CheckFailed(what + ": " + std::to_string(outside) + " of " + std::to_string(actual.size()) +
                    " elements differ; element " + std::to_string(place) + " is " + text(actual[place]) +
                    ", expected " + text(expected[place]) + " within " +
                    text(tolerance.absolute + tolerance.relative * std::abs(expected[place])));
}

}  // namespace orrery::kernels
