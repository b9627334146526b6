#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sim/cost/cost_model.hpp"

namespace orrery {

/// Reads "2023-11": four digits, a hyphen, a month of two digits from 01 to 12; nothing else may stand in the
/// text.
std::optional<YearMonth> parse_year_month(std::string_view text);

/// "2023-11"; parse_year_month reads it back for years 0 to 9999.
std::string to_text(YearMonth date);

}  // namespace orrery
