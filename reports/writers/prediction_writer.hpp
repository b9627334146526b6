#pragma once

#include <string>

#include "reports/answers/prediction.hpp"

namespace orrery {

/// For people: what was assumed, then what came out (conventions: a report says what was assumed first).
std::string prediction_text(const Prediction& prediction);
/// Hash of each file an experiment was put together from.
Json inputs_json(const ResolvedExperiment& experiment);
/// orrery.prediction/1 (contract section 3.1).
Json prediction_json(const Prediction& prediction);
/// A header line and one line of values; the columns are the JSON result's keys, nested ones joined with a
/// dot.
std::string prediction_csv(const Prediction& prediction);

}  // namespace orrery
