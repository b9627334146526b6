#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "calibration/stacks/stack_profile.hpp"
#include "reports/answers/predict_options.hpp"
#include "sim/base/quantile.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

/// What the tier of an answer adds to measured kernels and collectives.
struct TierUse {
  Factors factors;
  /// Standard deviation of ln of each communication's factor, by the term of the breakdown that shows it.
  Breakdown communication_deviation{};
  /// Half-width of the central 80 % in standard deviations of the prediction's own spread.
  double interval_width = kNinetiethPercentile;
  bool from_residuals = false;              ///< the width is
  std::string software;                     ///< of the stack's profile; empty: none
  std::string stack_factors, site_factors;  ///< those that move the run (text_of)
  int runs = 0;                             ///< that the stack's profile was learned from, of any stack
  std::optional<double> stack_error;        ///< cross-validated MAPE of the profile
  bool knows_model = false;                 ///< some of them of this very model
  int site_runs = 0;
  std::optional<double> site_error;  ///< of the site's runs, each left out
  /// Nodes of the data groups and, fewer, those of the runs that taught what such groups take.
  std::optional<std::pair<int, int>> beyond;
  std::optional<std::pair<int, int>> beyond_site;  ///< nodes of the experiment and, fewer, of the site's runs
  std::string site_of;  ///< GPU and software that the site's runs had, where the experiment has others
  bool site_over_other_kernels = false;  ///< its factors were learned over another profile of this GPU
};

/// "dense", "moe", "encoder" or "lora".
std::string kind_of_model(const Experiment& experiment);
/// What the terms of profiles pick it by.
/// @param kernels_of  GPU whose kernel tables predict it (CostModel::profile_name)
RunTraits traits_of(const Experiment& experiment, const std::string& kernels_of);
/// A family's key: source group and set of model dimensions (contract section 4).
std::string family_of(const std::string& source_group, const Experiment& experiment);

/// The profiles of stacks and sites, read when first asked for and refitted without what is being scored. Not
/// thread-safe: CalibrationStore has the lock.
class TierProfiles {
 public:
  /// @param kernels_of   as in traits_of
  /// @param kernel_hash  of the kernel profile in use
  /// @throws InputError for a site profile that cannot be read
  TierUse use(const Experiment& experiment, const PredictOptions& options, const std::string& kernels_of,
              const std::string& kernel_hash);

 private:
  const std::vector<StackProfile>& stacks();
  /// What all stacks' profiles say of chips: for a stack without one.
  const FactorModel& of_chips();
  /// What ships for a stack, a fold that does, or a new fit to the runs that what is scored had no part in.
  /// @param profile  null: the stack has none
  /// @param scored   null: nothing is
  const FactorModel& model_for(const StackProfile* profile, const ScoredRun* scored);
  /// Whether a run of the family is behind some profile.
  bool is_known(const std::string& family);
  /// Runs that a stack's factors were learned from, those of other stacks included.
  int runs_behind(const StackProfile* profile);
  const SiteProfile& site(const std::string& file);

  bool loaded_ = false;
  std::vector<StackProfile> stacks_;
  FactorModel chips_;
  std::map<std::string, FactorModel> refits_;  // by what was left out
  std::map<std::string, int> behind_;          // by software
  std::map<std::string, SiteProfile> sites_;
};

}  // namespace orrery
