#pragma once

#include <string>
#include <vector>

#include "reports/experiment/resolved.hpp"

namespace orrery {

/// A value that differs between two experiments written out in full.
struct InputDifference {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string path;       ///< as --set names it: "cluster.fabric.oversubscription"
  Json a, b;              ///< null where a side has no such value
};

/// All of them, in the order of A's document, what only B has behind. Lists are compared whole. The
/// experiment's name and measurement are labels, not inputs: they never move a prediction.
std::vector<InputDifference> input_differences(const ResolvedExperiment& a, const ResolvedExperiment& b);

}  // namespace orrery
