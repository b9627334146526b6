#pragma once

#include <string>
#include <vector>

#include "reports/experiment/experiment.hpp"

namespace orrery {

/// An input and the hash of its bytes.
struct InputHash {
  std::string name;
  std::string hash;
};

/// An experiment written out in full: what `predict` echoes, so that nothing about an answer is implicit.
struct ResolvedExperiment {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  Json values;               ///< an experiment again: reading it gives the same prediction
  Json origins;              ///< JSON pointer of each leaf of `values` -> "given", "preset NAME" or "default"
  std::vector<InputHash> inputs;  ///< the document, then every preset it uses
  std::vector<std::string>
      assumptions;  ///< numbers in use whose source says "assumed: ...": "pointer: assumed: why"
};

/// Walks the given document, the presets it names and the values that the readers completed.
ResolvedExperiment resolve(const Experiment& experiment);

}  // namespace orrery
