#pragma once

#include <optional>
#include <string>

#include "tests/validation/accuracy_tables.hpp"

namespace orrery {

/// The shipped runs at tier stack, each predicted by what the step times of others taught.
struct LeftOut {
  Validation families;  ///< others: of all models but its own
  Validation sources;   ///< of all sources but its own, as a new user's runs are predicted
};
LeftOut validate_left_out(const std::vector<RunRecord>& runs);

/// Mean over the sources of an error of each, ValidationSummary::mape or null_mape.
double mean_over_sources(const Validation& validation, std::optional<double> ValidationSummary::*error);

/// Markdown: the error that a user is to expect, first of runs whose source taught nothing; in all, by
/// source, kind of model and GPU, with those of tier measured and of the null model, and how many runs are
/// inside their intervals.
std::string expected_error_tables(const BothEngines& both, const LeftOut& left_out);

}  // namespace orrery
