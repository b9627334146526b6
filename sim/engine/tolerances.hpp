#pragma once

#include <limits>

namespace orrery {

/// Seconds until what does not come.
inline constexpr double kNever = std::numeric_limits<double>::infinity();
/// Events this close, relative to the clock, are one: the clock's own rounding is 2e-16.
inline constexpr double kSameTime = 1e-12;
/// Demand above capacity by less than this share is rounding of sums of up to a million shares.
inline constexpr double kRounding = 1e-9;
/// A rate that moves by less has not moved: else the last bit of a division would restart every flow's clock.
inline constexpr double kSameRate = 1e-13;

}  // namespace orrery
