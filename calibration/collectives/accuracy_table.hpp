#pragma once

#include <functional>
#include <string>
#include <vector>

#include "calibration/collectives/fit_profiles.hpp"

namespace orrery {

/// A goal: rows pooled over all_reduce, all_gather, reduce_scatter and all_to_all.
struct CollectiveGoal {
  std::string name;
  double most = 0;          ///< geometric-mean error
  double guard = 0;         ///< what is reached, rounded up: a test fails beyond it
  double guard_stated = 0;  ///< the same of the set-up as far as its source states it
  double guard_known = 0;   ///< the same with the row's own tool or set-up
  std::function<bool(const ScoredRow&)> selects;
};
std::vector<CollectiveGoal> collective_goals();

/// Errors of predictions of rows whose group was left out: as users get them ...
FitErrors left_out_errors(const CollectiveFits& fits, const std::function<bool(const ScoredRow&)>& selects);
/// ... as far as the sources state their set-ups ...
FitErrors stated_left_out_errors(const CollectiveFits& fits,
                                 const std::function<bool(const ScoredRow&)>& selects);
/// ... and times what the row's tool or set-up adds on other rows.
FitErrors known_left_out_errors(const CollectiveFits& fits,
                                const std::function<bool(const ScoredRow&)>& selects);

/// Markdown: errors by place and operation, the goals, and what is not scored, why and how many. Part of
/// docs/accuracy.md. @throws std::logic_error for a scored row whose place has no line
std::string collective_accuracy_table(const CollectiveFits& fits);

}  // namespace orrery
