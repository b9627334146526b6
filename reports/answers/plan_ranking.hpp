#pragma once

#include <optional>
#include <vector>

namespace orrery {

struct ValidationRow;

/// Measured step times of two plans that differ by less than this say nothing certain about their order.
inline constexpr double kPlansDiffer = 0.10;

/// How well predictions choose among plans: over the groups of runs that differ only in their plan. Runs of
/// one plan count as one, with the mean of their measured times.
struct PlanRanking {
  int groups = 0;  ///< with at least two plans
  int pairs = 0;   ///< of plans of one group whose measured times differ by kPlansDiffer or more
  /// Of these pairs: the share that is predicted in the measured order; equal predictions count a half.
  std::optional<double> concordance;
  /// Over the groups, what the plan predicted fastest took over the fastest measured, minus 1.
  std::optional<double> median_regret, mean_regret, worst_regret;
};

/// @param scored rows with a measured and a predicted time
PlanRanking rank_plans(const std::vector<const ValidationRow*>& scored);

}  // namespace orrery
