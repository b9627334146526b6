#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace orrery::kernels {

/// Quantile of the samples, linear between the neighbours of position fraction * (n - 1) of the sorted list.
/// @param fraction in [0, 1]; 0.5 is the median
/// @throws std::invalid_argument for no samples or a fraction outside [0, 1]
inline double quantile(std::vector<double> samples, double fraction) {
  if (samples.empty()) throw std::invalid_argument("no samples to take a quantile of");
  if (!(fraction >= 0.0 && fraction <= 1.0)) throw std::invalid_argument("a quantile lies in [0, 1]");
  std::sort(samples.begin(), samples.end());
  const double position = fraction * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, samples.size() - 1);
  return samples[below] + (position - static_cast<double>(below)) * (samples[above] - samples[below]);
}

inline double median(const std::vector<double>& samples) { return quantile(samples, 0.5); }

/// @throws std::invalid_argument for no samples
inline double mean(const std::vector<double>& samples) {
  if (samples.empty()) throw std::invalid_argument("no samples to take a mean of");
  double sum = 0.0;
  for (const double sample : samples) sum += sample;
  return sum / static_cast<double>(samples.size());
}

}  // namespace orrery::kernels
