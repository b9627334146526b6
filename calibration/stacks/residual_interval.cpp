#include "calibration/stacks/residual_interval.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include "sim/base/quantile.hpp"

namespace orrery {
namespace {

constexpr double kWiderSet = 4.0;
constexpr double kThinEvidence = 0.5;
constexpr double kLeastSpread = 0.01;
constexpr double kCentral = 0.8;

struct Evidenced {
  double width = 0;
  double families = 0;
};

/// The wider set's width moved towards the percentile of a narrower one.
Evidenced narrowed(const Evidenced& wider, std::vector<double> sizes, double families) {
  if (sizes.empty()) return {wider.width, 0.0};
  const double own = *quantile(std::move(sizes), kCentral);
  return {(families * own + kWiderSet * wider.width) / (families + kWiderSet), families};
}

double widened(const Evidenced& evidenced) {
  return evidenced.width * (1.0 + kThinEvidence / (1.0 + evidenced.families));
}

}  // namespace

double counted_spread(double spread) { return std::max(spread, kLeastSpread); }

double interval_width(std::span<const StackProfile> profiles, const IntervalQuery& query) {
  const bool known = std::any_of(profiles.begin(), profiles.end(), [&query](const StackProfile& profile) {
    return profile.software == query.software;
  });
  const bool stack = query.stack && known;
  const auto collect = [&](const std::function<bool(const StackProfile&, const LearnedRun&)>& selects,
                           double& families) {
    std::vector<double> sizes;
    std::set<std::string> names;
    for (const StackProfile& profile : profiles) {
      for (const LearnedRun& run : profile.runs) {
        if (run.row.family == query.without_family || run.row.source_group == query.without_source) continue;
        if (!selects(profile, run)) continue;
        sizes.push_back(std::abs(stack ? run.residual : run.measured_residual) / counted_spread(run.spread));
        names.insert(run.row.family);
      }
    }
    families = static_cast<double>(names.size());
    return sizes;
  };
  double families = 0;
  const std::vector<double> all =
      collect([](const StackProfile&, const LearnedRun&) { return true; }, families);
  if (all.empty()) return kNinetiethPercentile;
  Evidenced width{*quantile(all, kCentral), families};
  const auto same_software = [&query](const StackProfile& profile, const LearnedRun&) {
    return profile.software == query.software;
  };
  std::vector<double> sizes = collect(same_software, families);
  width = narrowed(width, std::move(sizes), families);
  sizes = collect(
      [&](const StackProfile& profile, const LearnedRun& run) {
        return same_software(profile, run) && run.row.traits.gpu == query.gpu && run.row.kind == query.kind;
      },
      families);
  return widened(narrowed(width, std::move(sizes), families));
}

double site_interval_width(const SiteProfile& site, double stack_width, const std::string& without_run) {
  const SiteRun* const scored = site.run(without_run);
  std::vector<double> sizes;
  std::set<std::string> configurations;
  for (const SiteRun& run : site.runs) {
    if (scored != nullptr && run.configuration == scored->configuration) continue;
    sizes.push_back(std::abs(run.residual) / counted_spread(run.spread));
    configurations.insert(run.configuration);
  }
  const auto evidence = static_cast<double>(configurations.size());
  return widened(narrowed({stack_width, 0.0}, std::move(sizes), evidence));
}

}  // namespace orrery
