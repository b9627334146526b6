#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "reports/answers/predict_options.hpp"
#include "reports/answers/tier_profiles.hpp"
#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/expert_exchange.hpp"
#include "sim/cost/cost_model.hpp"

namespace orrery {

/// Kernel and collective times for one experiment.
struct CalibratedModels {
  std::shared_ptr<const CostModel> kernels;
  std::shared_ptr<const CollectiveModel> collectives;
  /// Of the stack's dispatcher of tokens, where it has kernels of its own.
  std::shared_ptr<const ExpertExchangeConstants> exchange;
  TierUse tier = {};             ///< what the stack and the site add
  std::string kernel_hash = {};  ///< of the kernel profile; empty: none is used
};

/// Hash of the profile behind a model of kernels; empty where there is none.
std::string hash_of_profile(const CostModel& kernels);

/// Refuses the name of a calibration that does not ship; empty names and files pass.
/// @throws InputError at `file` and `pointer`, with the nearest name first
void check_calibration_name(const std::string& name, const std::string& file, const std::string& pointer);

/// Makes models and keeps them, so that many predictions read each profile once. Thread-safe.
class CalibrationStore {
 public:
  /// The models that a tier allows: measured profiles (of this GPU, else of its architecture), or the
  /// datasheet's peaks with assumed shares. Collectives come from the same profiles in both: the library's
  /// own constants stand behind them.
  /// `options.calibration` is the name or file of a kernel profile; empty: what the experiment says, else the
  /// one of its GPU.
  /// @throws InputError for an unknown calibration, or a GPU that no model can be made for
  CalibratedModels models(const Experiment& experiment, const PredictOptions& options);

 private:
  std::shared_ptr<const CostModel> kernels(const Experiment& experiment, const PredictOptions& options,
                                           const std::string& calibration);
  std::shared_ptr<const CollectiveModel> collectives(const Experiment& experiment,
                                                     const std::string& calibration);
  std::shared_ptr<const ExpertExchangeConstants> exchange(const Experiment& experiment);

  std::mutex mutex_;
  TierProfiles tiers_;
  std::map<std::string, std::shared_ptr<const CostModel>> kernels_;
  std::map<std::string, std::shared_ptr<const CollectiveModel>> collectives_;
  std::map<NicProtocol, std::shared_ptr<const ExpertExchangeConstants>> exchanges_;
};

}  // namespace orrery
