#pragma once

#include <string>
#include <vector>

#include "reports/answers/validate.hpp"

namespace orrery {

/// Tier site on trial: what ten runs of a source and GPU do for its others, with all that the source's runs
/// taught the stacks left out.
struct SiteTrial {
  std::string source, gpu;
  int runs = 0;  ///< of that source and GPU
  /// Of the runs of other configurations than those learned from, means over five random draws of their
  /// median and mean error, at tier measured, at tier stack without the source and at tier site.
  struct Error {
    double median = 0, mape = 0;
  };
  Error measured, stack, site;
};

/// Of every source and GPU with at least 20 runs that are scored.
std::vector<SiteTrial> try_sites(const std::vector<RunRecord>& runs);

/// Markdown, a line a trial.
std::string site_trial_table(const std::vector<SiteTrial>& trials);

}  // namespace orrery
