#pragma once

#include <optional>
#include <vector>

namespace orrery {

/// Quantile by linear interpolation between order statistics (Hyndman and Fan 1996, type 7). Nothing if
/// empty.
/// @param fraction 0 to 1
std::optional<double> quantile(std::vector<double> values, double fraction);

}  // namespace orrery
