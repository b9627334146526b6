#include "models/bucket_offsets.hpp"

#include <algorithm>
#include <cstddef>

namespace orrery {

std::vector<double> offsets_of_parameter_shares(const std::vector<TimedParameters>& units, int n) {
  double total = 0;
  double duration = 0;
  for (const TimedParameters& unit : units) {
    total += unit.parameters;
    duration += unit.seconds;
  }
  std::vector<double> offsets;
  offsets.reserve(static_cast<size_t>(n));
  double parameters = 0;
  double seconds = 0;
  size_t next = 0;
  for (int k = 1; k < n; ++k) {
    const double wanted = total * k / n;
    while (next < units.size() && parameters + units[next].parameters < wanted) {
      parameters += units[next].parameters;
      seconds += units[next].seconds;
      ++next;
    }
    const double inside = next < units.size() && units[next].parameters > 0
                              ? (wanted - parameters) / units[next].parameters
                              : 0.0;
    const double offset = seconds + (next < units.size() ? inside * units[next].seconds : 0.0);
    offsets.push_back(std::min(offset, duration));
  }
  offsets.push_back(duration);
  return offsets;
}

}  // namespace orrery
