#pragma once

#include <string>

#include "tests/validation/accuracy_tables.hpp"

namespace orrery {

/// Markdown: MAPE and bias of the estimate by each dimension of an experiment, values in ranges.
std::string error_budget(const BothEngines& both);

/// Markdown, a document of its own: the rows with the largest errors of the estimate, what their step
/// consists of, and how far off the other rows of the same source and model are: alone among them, the row or
/// its plan is suspect; with them, the model, its stack or its machine.
std::string worst_rows_document(const BothEngines& both);
inline constexpr int kWorstRows = 50;

}  // namespace orrery
