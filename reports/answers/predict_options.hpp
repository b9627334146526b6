#pragma once

#include <memory>
#include <optional>
#include <string>

#include "reports/answers/effects.hpp"
#include "reports/answers/prediction.hpp"
#include "sim/cost/factors.hpp"

namespace orrery {

struct PredictOptions {
  EngineKind engine = EngineKind::simulate;
  bool full_scope = false;  ///< simulate every GPU instead of one a pipeline stage
  Tier tier = Tier::measured;
  std::string calibration = {};  ///< name or file; empty: what the experiment says, else the one of its GPU
  Factors factors = {};          ///< on top of what the tier's profiles say
  std::optional<Effect> without = {};  ///< an effect that is switched off (`validate`)
  bool echo = true;                    ///< fill Prediction::experiment (validation leaves it out)
  /// A second job on the same fabric, whose step repeats for as long as this one's runs.
  std::shared_ptr<const Experiment> beside = nullptr;
  BesidePlacement beside_placement = BesidePlacement::after;
};

}  // namespace orrery
