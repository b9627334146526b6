#pragma once

#include <string>

#include "reports/answers/prediction.hpp"

namespace orrery {

/// Members `input`, `checkpoint` and `synchronisation` of a prediction whose experiment gives them.
void add_loop_json(const Prediction& prediction, Json& json);
/// The same as lines of text.
std::string loop_lines(const Prediction& prediction);

}  // namespace orrery
