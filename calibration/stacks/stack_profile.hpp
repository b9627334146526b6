#pragma once

#include <optional>
#include <string>
#include <vector>

#include "calibration/stacks/factor_fit.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// Errors of step times over a set of runs: predicted / measured - 1.
struct ErrorSummary {
  int rows = 0;
  double mape = 0, median = 0, bias = 0;
};
/// @param residuals ln(measured / predicted)
ErrorSummary summary_of_residuals(const std::vector<double>& residuals);

/// A run that a profile was learned from, and how far it was off.
struct LearnedRun {
  FactorRow row;
  double spread = 0;             ///< sd of ln(predicted) that the times of kernels and collectives leave
  double measured_residual = 0;  ///< ln(measured / predicted) at tier measured
  double residual = 0;           ///< the same under factors that its family took no part in
};

/// What is learned with one family left out.
struct FamilyFold {
  std::string family, source_group;
  FactorModel model;
};

/// What published runs taught about one software stack (design section 5, tier stack).
struct StackProfile {
  std::string software;  ///< preset of models/software
  std::string source;
  FactorModel model;
  std::vector<FamilyFold> folds;  ///< empty where no factor pays: nothing is corrected then
  std::vector<LearnedRun> runs;
  ErrorSummary measured, cross_validated;

  const LearnedRun* run(const std::string& id) const;
  const FamilyFold* fold(const std::string& family) const;
};

/// What a user's own runs taught about his machines, on top of the stack's factors (tier site).
struct SiteRun {
  std::string id;
  std::string configuration;  ///< equal for runs of one experiment: repeats of it test nothing of each other
  double spread = 0;
  double stack_residual = 0;  ///< ln(measured / predicted) at tier stack
  double residual = 0;        ///< the same under factors learned from runs of other configurations
  FactorModel others;         ///< learned from these; none: all factors one
};
struct SiteProfile {
  std::string gpu, software;
  /// Hashes of the kernel profiles that predicted the runs: over another the factors count twice what both
  /// measured. Empty: not known.
  std::vector<std::string> kernel_profiles;
  int most_nodes = 1;  ///< of its runs
  FactorModel model;
  std::vector<SiteRun> runs;
  ErrorSummary stack, left_out;

  const SiteRun* run(const std::string& id) const;
};

std::string stack_profile_text(const StackProfile& profile);
std::string site_profile_text(const SiteProfile& profile);
Json site_profile_json(const SiteProfile& profile);
/// @throws InputError naming file and place
StackProfile parse_stack_profile(const std::string& text, const std::string& file);
SiteProfile parse_site_profile(const std::string& text, const std::string& file);

/// All that ship (calibration/profiles/stacks), in alphabetical order; none if the folder is not there.
std::vector<StackProfile> load_stack_profiles();

/// The factors that are not one, "attention: 1.21, products (b200-sxm-180gb): 1.08"; empty if all are.
std::string text_of(const FactorModel& model);
/// The same of those alone that move this run.
std::string text_of(const FactorModel& model, const RunTraits& run);

}  // namespace orrery
