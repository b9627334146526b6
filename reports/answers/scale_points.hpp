#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reports/experiment/experiment.hpp"

namespace orrery {

/// What grows with the GPUs: nothing (the same global batch on more GPUs), or the global batch with the data
/// degree.
enum class ScalingKind { strong, weak };
std::string_view name_of(ScalingKind kind);

/// The experiment at another number of GPUs, or why there is none.
struct ScaledExperiment {
  std::optional<Experiment> experiment;
  std::string reason;        ///< of a refusal, as the reader says it
  std::vector<int> nearest;  ///< of a refusal: the legal numbers of GPUs next below and above
};

/// `base` with its cluster and its data degree resized to `gpus`: tensor, pipeline and context degrees stay,
/// the fabric is built for the new size, and under weak scaling every data rank keeps its share of the global
/// batch. What the experiment gives as `measured` belongs to its own size and is left out.
ScaledExperiment experiment_at(const Experiment& base, ScalingKind kind, int gpus);

}  // namespace orrery
