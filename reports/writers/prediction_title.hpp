#pragma once

#include <string>

#include "reports/answers/prediction.hpp"

namespace orrery {

/// "NAME on 64 x h100-sxm-80gb"; the name of an experiment that has none says that already.
std::string titled(const Prediction& prediction);

}  // namespace orrery
