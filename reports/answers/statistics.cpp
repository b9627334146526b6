#include "reports/answers/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&values](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    const double tied = (static_cast<double>(first) + static_cast<double>(last)) / 2.0;
    for (size_t i = first; i <= last; ++i) ranks[order[i]] = tied;
    first = last + 1;
  }
  return ranks;
}

}  // namespace

std::optional<double> median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

std::optional<double> mean(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::optional<double> rank_correlation(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size() || a.size() < 3) return std::nullopt;
  const std::vector<double> ranks_a = ranks_of(a);
  const std::vector<double> ranks_b = ranks_of(b);
  const double middle = (static_cast<double>(a.size()) - 1.0) / 2.0;
  double product = 0.0;
  double square_a = 0.0;
  double square_b = 0.0;
  for (size_t i = 0; i < ranks_a.size(); ++i) {
    product += (ranks_a[i] - middle) * (ranks_b[i] - middle);
    square_a += (ranks_a[i] - middle) * (ranks_a[i] - middle);
    square_b += (ranks_b[i] - middle) * (ranks_b[i] - middle);
  }
  if (square_a == 0.0 || square_b == 0.0) return std::nullopt;
  return product / std::sqrt(square_a * square_b);
}

}  // namespace orrery
