#include "reports/answers/tier_profiles.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "calibration/stacks/residual_interval.hpp"
#include "models/plan_shapes.hpp"
#include "reports/experiment/spec_json.hpp"
#include "sim/base/hash.hpp"

namespace orrery {
namespace {

std::string dimensions_of(const Experiment& experiment) {
  return content_hash(model_json(experiment.model, experiment.model.vocab).dump());
}

/// What a profile leaves open of how long communication takes, beside what is in `use`.
void add_deviations(const FactorModel& model, const RunTraits& traits, TierUse& use) {
  constexpr std::array<std::pair<GroupKind, Factor>, 5> kKinds = {
      {{GroupKind::tensor, Factor::tensor_communication},
       {GroupKind::context, Factor::tensor_communication},
       {GroupKind::expert, Factor::expert_communication},
       {GroupKind::data, Factor::data_communication},
       {GroupKind::pipeline, Factor::pipeline_communication}}};
  for (const auto& [group, factor] : kKinds) {
    double& known = use.communication_deviation[static_cast<size_t>(exposed_term(group))];
    known = std::hypot(known, model.communication_deviation(traits, factor));
  }
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
  const RankMap map(experiment.parallel);
  return {experiment.software.name,
          experiment.device.name,
          kernels_of,
          std::string(name_of(experiment.training.precision)),
          experiment.software.date.year,
          PlanShapes(experiment.shape, experiment.parallel, map).data().nodes};
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

int TierProfiles::runs_behind(const StackProfile* profile) {
  const std::string software = profile != nullptr ? profile->software : "";
  const auto known = behind_.find(software);
  if (known != behind_.end()) return known->second;
  const FactorModel& model = profile != nullptr ? profile->model : of_chips();
  int count = 0;
  for (const StackProfile& any : stacks()) {
    for (const LearnedRun& run : any.runs) {
      const bool taught = any.software == software || std::any_of(model.entries.begin(), model.entries.end(),
                                                                  [&run](const FactorEntry& entry) {
                                                                    return entry.term.matches(run.row.traits);
                                                                  });
      if (taught) ++count;
    }
  }
  return behind_.emplace(software, count).first->second;
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

const FactorModel& TierProfiles::of_chips() {
  if (!chips_.entries.empty()) return chips_;
  for (const StackProfile& profile : stacks()) {
    for (const FactorEntry& entry : profile.model.entries) {
      const bool known =
          std::find(chips_.entries.begin(), chips_.entries.end(), entry) != chips_.entries.end();
      if (entry.term.stack.empty() && !known) chips_.entries.push_back(entry);
    }
  }
  return chips_;
}

const FactorModel& TierProfiles::model_for(const StackProfile* profile, const ScoredRun* scored) {
  const FactorModel& shipped = profile != nullptr ? profile->model : of_chips();
  if (scored == nullptr) return shipped;
  std::string left_out = scored->source_group;
  std::string FactorRow::*group = &FactorRow::source_group;
  if (scored->leave_out == LeaveOut::family) {
    const LearnedRun* run = nullptr;
    for (const StackProfile& any : stacks()) run = run != nullptr ? run : any.run(scored->id);
    left_out = run != nullptr ? run->row.family : scored->family;
    group = &FactorRow::family;
    const FamilyFold* const fold = profile != nullptr ? profile->fold(left_out) : nullptr;
    if (fold != nullptr) return fold->model;
    // A family that only other stacks' runs are of may have taught this one what is its chip's.
    if (!is_known(left_out)) return shipped;
  }
  // The cross-validation by which a stack ships no factor is not made again without a source, unless that
  // source alone decided it: then it is a stack without a profile.
  const bool decided = profile != nullptr && profile->model.entries.empty() &&
                       std::any_of(profile->runs.begin(), profile->runs.end(), [&](const LearnedRun& run) {
                         return scored->leave_out == LeaveOut::family || run.row.source_group != left_out;
                       });
  if (decided) return shipped;
  const auto known = refits_.find(left_out);
  if (known != refits_.end()) return known->second;
  std::vector<const FactorRow*> others;
  for (const StackProfile& any : stacks()) {
    for (const LearnedRun& other : any.runs) {
      if (other.row.*group != left_out) others.push_back(&other.row);
    }
  }
  return refits_.emplace(left_out, learn_factors(others)).first->second;
}

TierUse TierProfiles::use(const Experiment& experiment, const PredictOptions& options,
                          const std::string& kernels_of, const std::string& kernel_hash) {
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
  const StackProfile* const own = profile != profiles.end() ? &*profile : nullptr;
  const FactorModel& model = model_for(own, options.scored.get());
  use.factors = use.factors * model.factors_for(traits);
  add_deviations(model, traits, use);
  const int most_nodes = model.most_nodes_for(traits);
  if (most_nodes > 0 && traits.nodes > most_nodes) use.beyond = {{traits.nodes, most_nodes}};
  use.stack_factors = text_of(model, traits);
  use.runs = runs_behind(own);
  if (own != nullptr) {
    use.software = own->software;
    use.knows_model = !options.scored && learned_from(*own, experiment);
    use.stack_error = own->cross_validated.mape;
  }
  if (options.tier != Tier::site) return use;
  const SiteProfile& site_profile = site(options.site);
  const SiteRun* const run = options.scored ? site_profile.run(options.scored->id) : nullptr;
  const FactorModel& of_site = run != nullptr ? run->others : site_profile.model;
  use.factors = use.factors * of_site.factors_for(traits);
  use.communication_deviation = {};  // the site's fit is of both together
  add_deviations(of_site, traits, use);
  use.site_factors = text_of(of_site, traits);
  use.site_runs = static_cast<int>(site_profile.runs.size());
  use.site_error = site_profile.left_out.mape;
  const std::string softwares = ", " + site_profile.software + ",";
  if (site_profile.gpu != traits.gpu || softwares.find(", " + traits.stack + ",") == std::string::npos)
    use.site_of = site_profile.gpu + " under " + site_profile.software;
  const std::vector<std::string>& over = site_profile.kernel_profiles;
  use.site_over_other_kernels = site_profile.gpu == traits.gpu && !over.empty() &&
                                std::find(over.begin(), over.end(), kernel_hash) == over.end();
  // What the site's runs came out by says nothing of what none of them does: there the stack's width stays.
  if (experiment.cluster.nodes > site_profile.most_nodes)
    use.beyond_site = {{experiment.cluster.nodes, site_profile.most_nodes}};
  if (use.site_of.empty() && !use.beyond_site)
    use.interval_width = site_interval_width(site_profile, use.interval_width, run != nullptr ? run->id : "");
  return use;
}

}  // namespace orrery
