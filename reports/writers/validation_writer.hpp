#pragma once

#include <string>

#include "reports/answers/validation.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// Rows, refusals and summary as tables.
std::string validation_text(const Validation& validation);
/// orrery.validation/1 (contract section 3.2); statistics without rows are null.
Json validation_json(const Validation& validation);
/// The rows, one a line.
std::string validation_csv(const Validation& validation);

}  // namespace orrery
