#pragma once

#include <vector>

namespace orrery {

/// A part of a virtual stage: its parameters and its time in one pass.
struct TimedParameters {
  double parameters;
  double seconds;
};

/// Offsets at which the first k/n of the parameters are behind, for k = 1..n; the last is the pass's end.
std::vector<double> offsets_of_parameter_shares(const std::vector<TimedParameters>& units, int n);

}  // namespace orrery
