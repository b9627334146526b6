#pragma once

#include <string>

#include "reports/answers/scale.hpp"

namespace orrery {

/// For people: the curve as a table with bars, where the losses come from, and what was refused.
std::string scaling_text(const Scaling& scaling);
/// orrery.scaling/1 (contract section 3.2).
Json scaling_json(const Scaling& scaling);
/// One line a point; the breakdown and the losses as a column a term, empty for refused points.
std::string scaling_csv(const Scaling& scaling);

}  // namespace orrery
