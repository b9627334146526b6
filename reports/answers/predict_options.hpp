#pragma once

#include <memory>
#include <optional>
#include <string>

#include "reports/answers/effects.hpp"
#include "reports/answers/prediction.hpp"
#include "sim/cost/factors.hpp"

namespace orrery {

/// What of the runs behind a stack's profile a scored run must not rest on, beside itself.
enum class LeaveOut { family, source };

/// A measured run that a prediction is to be held against.
struct ScoredRun {
  std::string id, source_group;
  std::string family;  ///< family_of
  LeaveOut leave_out = LeaveOut::family;
};

struct PredictOptions {
  EngineKind engine = EngineKind::simulate;
  bool full_scope = false;  ///< simulate every GPU instead of one a pipeline stage
  Tier tier = Tier::measured;
  std::string site = {};         ///< file of the site's profile, with tier site
  std::string calibration = {};  ///< name or file; empty: what the experiment says, else the one of its GPU
  Factors factors = {};          ///< on top of what the tier's profiles say
  std::optional<Effect> without = {};                 ///< an effect that is switched off (`validate`)
  std::shared_ptr<const ScoredRun> scored = nullptr;  ///< with `validate`
  bool echo = true;  ///< fill Prediction::experiment (validation leaves it out)
  /// A second job on the same fabric, whose step repeats for as long as this one's runs.
  std::shared_ptr<const Experiment> beside = nullptr;
  BesidePlacement beside_placement = BesidePlacement::after;
};

}  // namespace orrery
