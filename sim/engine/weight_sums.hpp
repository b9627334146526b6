#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace orrery {

/// Weights added up by number (of links, of trunks), of which few are touched between two calls of take().
class WeightSums {
 public:
  /// @param weight  positive
  void add(std::int32_t number, double weight) {
    const auto index = static_cast<std::size_t>(number);
    if (index >= sums_.size()) sums_.resize(index + 1, 0.0);
    double& sum = sums_[index];
    if (sum == 0.0) touched_.push_back(number);
    sum += weight;
  }

  /// The sums by rising number; all are zero again. @tparam Load  made of a number and a weight
  template <typename Load>
  std::vector<Load> take() {
    std::sort(touched_.begin(), touched_.end());
    std::vector<Load> loads;
    loads.reserve(touched_.size());
    for (const std::int32_t number : touched_) {
      double& sum = sums_[static_cast<std::size_t>(number)];
      loads.push_back({number, sum});
      sum = 0.0;
    }
    touched_.clear();
    return loads;
  }

 private:
  std::vector<double> sums_;
  std::vector<std::int32_t> touched_;
};

}  // namespace orrery
