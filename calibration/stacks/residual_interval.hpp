#pragma once

#include <span>
#include <string>

#include "calibration/stacks/stack_profile.hpp"

namespace orrery {

/// The prediction whose interval is asked for. What it must not rest on is left out.
struct IntervalQuery {
  std::string software, gpu, kind;
  std::string without_family, without_source;
  bool stack = true;  ///< tier stack; false: tier measured
};

/// Half-width of the central 80 % of ln(measured / predicted), in standard deviations of the prediction's own
/// spread: of kernel and collective times. At tier stack what the factors of communication leave open comes
/// on top of that (FactorModel::communication_deviation), so that an interval is a little wider there than
/// these residuals ask for: on their runs by nothing in the median, by a fifth at most.
///
/// h is the 80th percentile of |residual| / spread: over all runs; over those of the same software; over
/// those that share GPU and kind of model too. Each narrower set of n families counts as n against 4 of the
/// wider one, and the last is widened by 1 + 0.5 / (1 + n): where nothing like it was measured, by a half.
/// Residuals are those of the tier, each under a profile without its family; of a software without runs they
/// are those of tier measured, which is all that it has. The two constants were chosen by the coverage of the
/// shipped runs. kNinetiethPercentile without any run.
double interval_width(std::span<const StackProfile> profiles, const IntervalQuery& query);

/// The same where a site's runs are known: their left-out residuals, counted by configurations, against 4 of
/// `stack_width`; of a run of the site without those of its configuration.
double site_interval_width(const SiteProfile& site, double stack_width, const std::string& without_run);

/// Spreads below one percent count as that: no kernel table is better.
double counted_spread(double spread);

}  // namespace orrery
