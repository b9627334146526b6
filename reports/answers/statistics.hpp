#pragma once

#include <optional>
#include <span>
#include <vector>

namespace orrery {

/// Nothing if empty.
std::optional<double> median(std::vector<double> values);
std::optional<double> mean(std::span<const double> values);

/// Spearman's rank correlation: Pearson's correlation of the ranks, ties by their mean rank. Nothing below
/// three pairs or where one side is constant.
std::optional<double> rank_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace orrery
