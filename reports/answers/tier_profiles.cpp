#include "reports/answers/tier_profiles.hpp"

#include <algorithm>

#include "calibration/stacks/residual_interval.hpp"
#include "reports/experiment/spec_json.hpp"
#include "sim/base/hash.hpp"

namespace orrery {
namespace {

std::string dimensions_of(const Experiment& experiment) {
  return content_hash(model_json(experiment.model, experiment.model.vocab).dump());
}

/// Whether runs of this model, wherever they were published, are behind the profile's factors.
bool learned_from(const StackProfile& profile, const Experiment& experiment) {
  const std::string dimensions = " " + dimensions_of(experiment);
  return std::any_of(profile.folds.begin(), profile.folds.end(),
                     [&dimensions](const FamilyFold& fold) { return fold.family.ends_with(dimensions); });
}

}  // namespace

std::string kind_of_model(const Experiment& experiment) {
  if (experiment.training.lora) return "lora";
  if (experiment.model.moe) return "moe";
  return experiment.model.objective == Objective::masked_lm ? "encoder" : "dense";
}

RunTraits traits_of(const Experiment& experiment, const std::string& kernels_of) {
  return {experiment.software.name, experiment.device.name, kernels_of,
          std::string(name_of(experiment.training.precision)), experiment.software.date.year};
}

std::string family_of(const std::string& source_group, const Experiment& experiment) {
  return source_group + " " + dimensions_of(experiment);
}

bool TierProfiles::is_known(const std::string& family) {
  return std::any_of(stacks().begin(), stacks().end(), [&family](const StackProfile& profile) {
    return std::any_of(profile.runs.begin(), profile.runs.end(),
                       [&family](const LearnedRun& run) { return run.row.family == family; });
  });
}

int TierProfiles::runs_behind(const StackProfile& profile) {
  const auto known = behind_.find(profile.software);
  if (known != behind_.end()) return known->second;
  auto count = static_cast<int>(profile.runs.size());
  for (const StackProfile& other : stacks()) {
    if (other.software == profile.software) continue;
    for (const LearnedRun& run : other.runs) {
      const bool taught =
          std::any_of(profile.model.entries.begin(), profile.model.entries.end(),
                      [&run](const FactorEntry& entry) { return entry.term.matches(run.row.traits); });
      if (taught) ++count;
    }
  }
  return behind_.emplace(profile.software, count).first->second;
}

const std::vector<StackProfile>& TierProfiles::stacks() {
  if (!loaded_) stacks_ = load_stack_profiles();
  loaded_ = true;
  return stacks_;
}

const SiteProfile& TierProfiles::site(const std::string& file) {
  const auto known = sites_.find(file);
  if (known != sites_.end()) return known->second;
  return sites_.emplace(file, parse_site_profile(read_text_file(file), file)).first->second;
}

/// A fold that ships, or a new fit to the other runs that profiles were learned from.
const FactorModel& TierProfiles::without(const StackProfile& profile, const ScoredRun& scored) {
  std::string left_out = scored.source_group;
  std::string FactorRow::*group = &FactorRow::source_group;
  if (scored.leave_out == LeaveOut::family) {
    const LearnedRun* run = nullptr;
    for (const StackProfile& any : stacks()) run = run != nullptr ? run : any.run(scored.id);
    left_out = run != nullptr ? run->row.family : scored.family;
    group = &FactorRow::family;
    const FamilyFold* const fold = profile.fold(left_out);
    if (fold != nullptr) return fold->model;
    // A family that only other stacks' runs are of may have taught this one its kernels.
    if (!is_known(left_out)) return profile.model;
  }
  // The cross-validation by which a stack ships no factor is not made again without a source, unless that
  // source alone decided it.
  const bool own = std::any_of(profile.runs.begin(), profile.runs.end(), [&](const LearnedRun& run) {
    return scored.leave_out == LeaveOut::family || run.row.source_group != left_out;
  });
  if (profile.model.entries.empty() && own) return profile.model;
  const std::string& key = left_out;
  const auto known = refits_.find(key);
  if (known != refits_.end()) return known->second;
  std::vector<const FactorRow*> others;
  for (const StackProfile& any : stacks()) {
    for (const LearnedRun& other : any.runs) {
      if (other.row.*group != left_out) others.push_back(&other.row);
    }
  }
  return refits_.emplace(key, learn_factors(others)).first->second;
}

TierUse TierProfiles::use(const Experiment& experiment, const PredictOptions& options,
                          const std::string& kernels_of) {
  TierUse use;
  use.factors = options.factors;
  if (options.tier == Tier::datasheet) return use;
  const RunTraits traits = traits_of(experiment, kernels_of);
  const std::vector<StackProfile>& profiles = stacks();
  IntervalQuery query{traits.stack, traits.gpu, kind_of_model(experiment),
                      "",           "",         options.tier != Tier::measured};
  if (options.scored) {
    query.without_family = options.scored->family;
    if (options.scored->leave_out == LeaveOut::source) query.without_source = options.scored->source_group;
  }
  use.from_residuals = !profiles.empty();
  use.interval_width = interval_width(profiles, query);
  if (options.tier == Tier::measured) return use;

  const auto profile = std::find_if(profiles.begin(), profiles.end(), [&](const StackProfile& p) {
    return p.software == experiment.software.name;
  });
  if (profile != profiles.end()) {
    const FactorModel& model = options.scored ? without(*profile, *options.scored) : profile->model;
    use.factors = use.factors * model.factors_for(traits);
    use.software = profile->software;
    use.stack_factors = text_of(model, traits);
    use.runs = runs_behind(*profile);
    use.knows_model = !options.scored && learned_from(*profile, experiment);
    use.stack_error = profile->cross_validated.mape;
  }
  if (options.tier != Tier::site) return use;
  const SiteProfile& own = site(options.site);
  const SiteRun* const run = options.scored ? own.run(options.scored->id) : nullptr;
  const FactorModel& model = run != nullptr ? run->others : own.model;
  use.factors = use.factors * model.factors_for(traits);
  use.site_factors = text_of(model, traits);
  use.site_runs = static_cast<int>(own.runs.size());
  use.site_error = own.left_out.mape;
  if (own.gpu != traits.gpu || own.software.find(traits.stack) == std::string::npos)
    use.site_of = own.gpu + " under " + own.software;
  use.interval_width = site_interval_width(own, use.interval_width, run != nullptr ? run->id : "");
  return use;
}

}  // namespace orrery
