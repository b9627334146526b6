#pragma once

#include <optional>
#include <vector>

namespace orrery {

/// Of the standard normal distribution.
inline constexpr double kNinetiethPercentile = 1.2815515655446004;

/// Quantile by linear interpolation between order statistics (Hyndman and Fan 1996, type 7). Nothing if
/// empty.
/// @param fraction 0 to 1
std::optional<double> quantile(std::vector<double> values, double fraction);

}  // namespace orrery
