#pragma once

#include <optional>
#include <vector>

namespace orrery {

/// Of the standard normal distribution.
inline constexpr double kNinetiethPercentile = 1.2815515655446004;
inline constexpr double kMedianDeviation = 0.6744897501960817;  ///< median of the deviation's size

/// Quantile by linear interpolation between order statistics (Hyndman and Fan 1996, type 7). Nothing if
/// empty.
/// @param fraction 0 to 1
std::optional<double> quantile(std::vector<double> values, double fraction);

}  // namespace orrery
