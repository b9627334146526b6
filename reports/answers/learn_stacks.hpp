#pragma once

#include <functional>
#include <string>
#include <vector>

#include "calibration/stacks/stack_profile.hpp"
#include "reports/answers/validate.hpp"

namespace orrery {

struct LearnStacksOptions {
  int threads = 1;
  std::function<void(const std::string& what)> progress;  ///< may be empty
};

/// Learns the profile of every software stack that measured runs are of, with the closed form at tier
/// measured as it stands:
/// - factors are chosen and fitted (learn_factors) to the runs of all stacks along slopes at one, and again
///   along slopes at what that gave;
/// - for each family factors are chosen and fitted without it, along the same slopes, and its runs are
///   predicted (not along slopes) with what comes out: the cross-validated errors;
/// - a stack gets what moves its runs, or nothing if that does not lower its errors by a tenth of a point.
/// Runs that are refused are left out; rows keep the order of the input.
std::vector<StackProfile> learn_stacks(const std::vector<RunRecord>& runs, const LearnStacksOptions& options);

struct LearnSiteOptions {
  PredictOptions predict;  ///< tier stack, and what is left out of it
  std::string gpu;         ///< runs of this GPU alone; empty: all, which must be of one
  int threads = 1;
};

struct LearnedSite {
  SiteProfile profile;
  std::vector<std::string> warnings;  ///< runs that took no part, and why
};

/// Learns a site's factors on top of its stack's from a few of its own runs: all factors, held near one by
/// priors, no choice among them; each run predicted without those of its configuration beside.
/// @throws InputError for fewer than three runs of the GPU that can be predicted, runs of several GPUs
LearnedSite learn_site(const std::vector<RunRecord>& runs, const LearnSiteOptions& options);

}  // namespace orrery
