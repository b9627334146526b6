#pragma once

#include <string>

#include "reports/answers/variants.hpp"

namespace orrery {

/// For people: a table with a line a variant, then in words what each changes.
std::string variants_text(const VariantsComparison& comparison);
/// orrery.variant_comparison/1.
Json variants_json(const VariantsComparison& comparison);
/// One line a variant: name, of, step_time_s, samples_per_s, delta_s, and each term's seconds.
std::string variants_csv(const VariantsComparison& comparison);

}  // namespace orrery
