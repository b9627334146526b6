#pragma once

#include <string>

#include "reports/answers/compare.hpp"

namespace orrery {

/// For people: what differs, both sides, the terms, and what they mean in words.
std::string comparison_text(const Comparison& comparison);
/// orrery.comparison/1 (contract section 3.2).
Json comparison_json(const Comparison& comparison);
/// One line a term: term, a_s, b_s, delta_s, reason; the step itself first, as the term "step".
std::string comparison_csv(const Comparison& comparison);

/// The links of one prediction by class, the busiest first: [{class, mean_use, busiest, busy_s, held_s,
/// binds}].
Json link_classes_json(const std::vector<LinkClassUse>& links);

}  // namespace orrery
