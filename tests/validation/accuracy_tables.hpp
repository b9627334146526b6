#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reports/answers/validate.hpp"

namespace orrery {

/// The shipped runs, predicted by both engines.
struct BothEngines {
  std::vector<RunRecord> runs;
  Validation estimate, simulate;
};
BothEngines validate_shipped_runs();

/// Mean of |error| over the scored rows that a condition selects.
struct MeanError {
  int rows = 0;
  double mape = 0;
  double bias = 0;
  double null_mape = 0;  ///< over the rows that have a null model
};
MeanError mean_error(const Validation& validation, const std::function<bool(const ValidationRow&)>& selects);

/// The dense rows that the first goals are about: a source, or one GPU and precision of it.
struct Goal {
  std::string name;
  double most = 0;  ///< MAPE
  std::function<bool(const ValidationRow&)> selects;
};
std::vector<Goal> first_goals();

/// The generated part of docs/accuracy.md, between its two marks.
std::string accuracy_tables(const BothEngines& both);

}  // namespace orrery
