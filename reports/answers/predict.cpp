#include "reports/answers/predict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <tuple>

#include "calibration/stacks/residual_interval.hpp"
#include "models/crossing_collectives.hpp"
#include "models/estimate.hpp"
#include "models/moe_shape.hpp"
#include "models/plan_shapes.hpp"
#include "models/step_plan.hpp"
#include "reports/answers/beside.hpp"
#include "reports/answers/communication_lines.hpp"
#include "reports/answers/communicator_memory.hpp"
#include "reports/answers/comparable_prediction.hpp"
#include "reports/answers/error_shares.hpp"
#include "reports/answers/latency_difference.hpp"
#include "reports/answers/loop_simulation.hpp"
#include "reports/answers/memory_assumptions.hpp"
#include "reports/answers/nic_estimate.hpp"
#include "reports/answers/simulation.hpp"
#include "sim/base/quantile.hpp"
#include "sim/engine/nic_traffic.hpp"
#include "topologies/build_topology.hpp"
#include "topologies/fabric_checks.hpp"

namespace orrery {
namespace {

constexpr double kShareThatCounts = 0.05;
/// Up to which the estimate of an uneven plan looks up its groups' paths on the fabric: a tenth of a second.
constexpr int kMostGpusOfEstimatedPaths = 16'384;

double sum(const Breakdown& breakdown) { return std::accumulate(breakdown.begin(), breakdown.end(), 0.0); }

bool lies_unevenly(const Experiment& experiment) {
  return PlanShapes(experiment.shape, experiment.parallel, RankMap(experiment.parallel)).uneven();
}

/// Whether the estimate shares the fabric's own links, as the simulation does: groups lie unevenly where the
/// shape's NICs are no links that one could fill, or where a hash is known to the fabric alone.
bool shares_paths(const Experiment& experiment) {
  const FabricSpec& fabric = experiment.cluster.fabric;
  const bool needs_paths = !fabric.is_clos() || fabric.routing == Routing::ecmp;
  return needs_paths && experiment.parallel.gpus() <= kMostGpusOfEstimatedPaths && lies_unevenly(experiment);
}

StepEstimate estimate_of(const Experiment& experiment, const StepPlan& plan, bool& contended) {
  const FabricSpec& fabric = experiment.cluster.fabric;
  const bool uneven = lies_unevenly(experiment);
  if (shares_paths(experiment)) {
    const Topology topology = build_topology(experiment.cluster);
    return estimate_sharing(
        plan, [&](const WorkloadGraph& graph) { return traffic_of(graph, topology); }, uneven, contended);
  }
  if (fabric.is_clos() && (uneven || kinds_of_traffic_meet(plan))) {
    return estimate_sharing(
        plan, [&](const WorkloadGraph& graph) { return nic_traffic(graph, experiment.shape); }, uneven,
        contended);
  }
  return estimate_step(plan);
}

void run_estimate(const Experiment& experiment, const StepPlan& plan, Prediction& prediction) {
  const StepEstimate estimate = estimate_of(experiment, plan, prediction.contended);
  prediction.step_time = estimate.step_time;
  prediction.breakdown = estimate.breakdown;
  prediction.communication = estimate.communications;
}

void run_simulation(const Experiment& experiment, const PredictOptions& options, const StepPlan& plan,
                    CalibrationStore& calibrations, Prediction& prediction) {
  const Scope scope = options.full_scope ? Scope::full : Scope::folded;
  const SimulatedJob job{experiment.name, experiment.file, &plan, {}, options.without != Effect::contention};
  std::optional<SimulationBeside> beside;
  if (options.beside) beside = simulate_with_neighbour(experiment, options, calibrations, prediction);
  Simulation simulation = beside ? std::move(beside->steps) : simulate_step(job, experiment.cluster, scope);
  const WorkloadGraph& graph = simulation.step->graph;
  const StepTimeline& timeline = simulation.step->timeline;
  prediction.step_time = seconds(timeline.makespan_s);
  prediction.breakdown = breakdown_of_rank(graph, timeline, slowest_rank(graph, timeline));
  prediction.contended = timeline.contended;
  prediction.full_scope = simulation.full_scope;
  if (!simulation.note.empty()) prediction.warnings.push_back(simulation.note);
  prediction.tasks = static_cast<std::int64_t>(graph.tasks.size());
  prediction.links = std::move(simulation.links);
  prediction.simulated = std::move(simulation.step);
  const LoopAddition loop =
      beside ? std::move(beside->loop)
             : simulate_loop(job, experiment.cluster, prediction.full_scope ? Scope::full : Scope::folded,
                             prediction.simulated);
  prediction.step_time += seconds(loop.seconds());
  for (size_t term = 0; term < loop.breakdown.size(); ++term)
    prediction.breakdown[term] += loop.breakdown[term];
  prediction.contended = prediction.contended || loop.contended;
  if (loop.write) {
    auto met = std::make_shared<LoopPlan>(*plan.loop);
    met->checkpoint.time = *loop.write;
    met->checkpoint.restore = *loop.restore;
    prediction.loop = std::move(met);
  }
  prediction.communication = simulated_communication(*prediction.simulated, plan);
  prediction.communication.insert(prediction.communication.end(), loop.communication.begin(),
                                  loop.communication.end());
}

/// The experiment that is priced where an effect is switched off.
std::optional<Experiment> priced_without(const Experiment& experiment, const PredictOptions& options) {
  if (!options.without) return std::nullopt;
  return experiment_without(*options.without, experiment);
}

CalibratedModels models_for(const Experiment& experiment, const PredictOptions& options,
                            CalibrationStore& calibrations) {
  if (!options.without) return calibrations.models(experiment, options);
  PredictOptions with_factors = options;
  with_factors.factors = options.factors * factors_without(*options.without);
  CalibratedModels models = calibrations.models(experiment, with_factors);
  models.kernels = kernels_without(*options.without, models.kernels);
  return models;
}

/// Shortens the step by as much, all terms in proportion.
void take_off(double seconds_less, Prediction& prediction) {
  const double share = 1.0 - seconds_less / prediction.step_time.base();
  prediction.step_time = prediction.step_time * share;
  for (double& term : prediction.breakdown) term *= share;
}

/// One line a kind of weak evidence, with the terms above 5 % of the step that rest on it.
void warn_about_evidence(Prediction& prediction) {
  const double step = prediction.step_time.base();
  for (const Evidence weak : {Evidence::extrapolated, Evidence::datasheet, Evidence::assumed}) {
    std::string terms;
    for (size_t i = 0; i < prediction.breakdown.size(); ++i) {
      if (prediction.term_evidence[i] != weak || prediction.breakdown[i] <= kShareThatCounts * step) continue;
      if (!terms.empty()) terms += ", ";
      terms += name_of(static_cast<BreakdownTerm>(i));
    }
    if (terms.empty()) continue;
    prediction.warnings.push_back(terms + ": " + std::string(name_of(weak)));
  }
}

/// Keys that are read and checked but do not move this version's prediction: whoever gives one should know.
void warn_about_keys_without_effect(const Experiment& experiment, Prediction& prediction) {
  const bool reads = experiment.training.data && experiment.training.data->reads;
  if (experiment.cluster.storage && !reads && !experiment.training.checkpoint) {
    prediction.warnings.push_back(
        "cluster.storage does not move a step's time: nothing is read or written in it");
  }
  const Json::json_pointer overlap("/parallel/overlap/gradient");
  const bool asks = experiment.document.contains(overlap) && experiment.document[overlap] == true;
  if (asks && experiment.parallel.zero == 1 && !experiment.software.sharding.hooks) {
    prediction.warnings.push_back("parallel.overlap.gradient: with zero 1 " + experiment.software.name +
                                  " reduces gradients after the last backward; predicted so");
  }
  const Json::json_pointer sends("/parallel/overlap/pipeline");
  if (experiment.document.contains(sends) && experiment.document[sends] == true &&
      experiment.parallel.pipeline > 1 && experiment.software.pipeline_overlap_exposed >= 1.0) {
    prediction.warnings.push_back("parallel.overlap.pipeline: " + experiment.software.name +
                                  " overlaps no sends; predicted without");
  }
  // Frameworks pass over these, and a what-if on a degree leaves them standing.
  const ParallelPlan& plan = experiment.parallel;
  for (const auto& [key, degree, ranks] :
       {std::tuple("sequence", "tensor", plan.tensor), std::tuple("overlap/tensor", "tensor", plan.tensor),
        std::tuple("overlap/pipeline", "pipeline", plan.pipeline),
        std::tuple("context_method", "context", plan.context)}) {
    const Json::json_pointer place(std::string("/parallel/") + key);
    if (ranks > 1 || !experiment.document.contains(place) || experiment.document[place] == false) continue;
    std::string name = std::string("parallel.") + key;
    std::replace(name.begin(), name.end(), '/', '.');
    prediction.warnings.push_back(name + " has nothing to act on: " + degree + " is 1");
  }
}

/// Hashed paths that contend are one draw, and the interval knows of no other.
void warn_about_hashed_paths(const Experiment& experiment, Prediction& prediction) {
  if (experiment.cluster.fabric.routing != Routing::ecmp || !prediction.contended) return;
  if (prediction.engine == EngineKind::estimate && !shares_paths(experiment)) return;
  prediction.warnings.push_back(
      "cluster.fabric.routing ecmp: paths are hashed, this is one draw of them, and the interval leaves the "
      "others out; what draws of the same flows differ by: orrery traffic --seeds");
}

/// Adaptive switches of a dragonfly go round what is full; ours know the shortest paths alone.
void warn_about_missing_detours(const Experiment& experiment, Prediction& prediction) {
  const FabricSpec& fabric = experiment.cluster.fabric;
  if (!fabric.is_dragonfly() || fabric.routing != Routing::adaptive) return;
  const auto holds = [](const LinkClassUse& use) {
    return use.held_s > 0.0 && (use.name == "leaf -> leaf" || use.name == "spine -> spine");
  };
  if (std::none_of(prediction.links.begin(), prediction.links.end(), holds)) return;
  prediction.warnings.emplace_back(
      "cluster.fabric.routing adaptive: only shortest paths of a dragonfly are modelled, and cables between "
      "its switches are full; switches that detour over other groups (UGAL) would hold the step up less, as "
      "--engine estimate "
      "takes them to");
}

void warn_about_dropped_tokens(const Experiment& experiment, Prediction& prediction) {
  const double rows =
      expert_rows_share(experiment.model, experiment.training, experiment.software, experiment.parallel);
  if (rows >= 1.0) return;
  prediction.warnings.push_back(fmt::format(
      "model.moe.capacity_factor {}: experts drop {:.3g} % of what the router sends them; MFU counts "
      "it all the same, HFU does not",
      *experiment.model.moe->capacity_factor, 100.0 * (1.0 - rows)));
}

/// Another kernel than the stack's: what ran in its place decides time and memory.
void warn_about_attention(const Experiment& experiment, Prediction& prediction) {
  const auto& kernel = experiment.software.unusable_attention_kernel;
  if (!kernel) return;
  prediction.warnings.push_back(
      fmt::format("software.attention_kernel: {}'s is {}, predicted unfused {}; PyTorch's memory-efficient "
                  "scaled_dot_product_attention, which some frameworks take then, is not modelled",
                  experiment.software.name, kAttentionKernels[static_cast<size_t>(*kernel)],
                  bar_to_fused_attention(experiment.device.architecture, experiment.training.precision)));
}

/// What is uneven about the fabric, and what this engine cannot see of it.
void warn_about_fabric(const ClusterSpec& cluster, Prediction& prediction) {
  std::vector<std::string> lines;
  if (prediction.engine == EngineKind::estimate) lines = estimate_limits(cluster);
  if (cluster.fabric.what_if.any() || cluster.fabric.kind == FabricKind::graph) {
    for (std::string& line : fabric_warnings(cluster)) lines.push_back(std::move(line));
  }
  for (std::string& line : lines) prediction.warnings.push_back("cluster.fabric: " + std::move(line));
}

void warn_about_uneven_groups(const Experiment& experiment, Prediction& prediction) {
  if (prediction.engine != EngineKind::estimate) return;
  if (!lies_unevenly(experiment)) return;
  prediction.warnings.emplace_back(
      "parallel: groups of one kind lie unevenly over the nodes; the estimate takes the groups of a long "
      "step "
      "for alike and knows of many fabrics the NICs alone: the simulation follows every group on its paths");
}

}  // namespace

/// Kernel models refuse what they have no numbers for while the plan is made.
StepPlan plan_of(const Experiment& experiment, const CalibratedModels& models, const ClusterShape& shape) {
  try {
    const auto with = [&](const CollectiveModel& collectives) {
      return make_step_plan(experiment.model, experiment.training, experiment.software, experiment.parallel,
                            shape, *models.kernels, collectives, models.exchange.get(), models.tier.factors);
    };
    if (given_latency_keys(experiment).empty()) return with(*models.collectives);
    return with(CollectivesWithLatency(
        *models.collectives, shape,
        shape_with_usual_latencies(experiment.document.at("cluster"), experiment.cluster, experiment.file)));
  } catch (const std::invalid_argument& error) {
    throw InputError(InputProblem{experiment.file, "", "", "", error.what()});
  }
}

ClusterShape shape_for_engine(const Experiment& experiment, EngineKind engine) {
  const bool links_are_shared = engine == EngineKind::simulate || shares_paths(experiment);
  return links_are_shared ? uncontended_shape(experiment.cluster) : experiment.shape;
}

double step_spread(Seconds step, const Breakdown& breakdown, double kernel_spread,
                   const Breakdown& communication_spread) {
  if (step <= Seconds(0)) return kernel_spread;
  const ErrorShares shares = error_shares(breakdown, kernel_spread, communication_spread);
  const double communication =
      std::accumulate(shares.communication_s.begin(), shares.communication_s.end(), 0.0);
  return std::hypot(shares.kernels_s, communication) / step.base();
}

double assumed_spread(Seconds step, const Breakdown& breakdown) {
  if (step <= Seconds(0)) return 0.0;
  const ErrorShares shares = error_shares(breakdown, 0.0, {});
  return std::hypot(shares.host_s, shares.storage_s) / step.base();
}

Breakdown communication_spread(const StepPlan& plan, const TierUse& tier) {
  Breakdown spread = plan.communication_spread;
  for (size_t term = 0; term < spread.size(); ++term)
    spread[term] = std::hypot(spread[term], tier.communication_deviation[term]);
  return spread;
}

std::array<Seconds, 2> spread_interval(Seconds step, const Breakdown& breakdown, double kernel_spread,
                                       const Breakdown& communication_spread) {
  const double spread = std::hypot(step_spread(step, breakdown, kernel_spread, communication_spread),
                                   assumed_spread(step, breakdown));
  const double factor = std::exp(kNinetiethPercentile * spread);
  return {step / factor, step * factor};
}

Evidence weakest_evidence(const Breakdown& breakdown, const std::array<Evidence, kBreakdownTerms>& evidence) {
  const double total = sum(breakdown);
  std::optional<Evidence> weakest;
  for (const double least : {kShareThatCounts * total, 0.0}) {
    for (size_t i = 0; i < breakdown.size(); ++i) {
      if (breakdown[i] > least) weakest = weakest ? weaker(*weakest, evidence[i]) : evidence[i];
    }
    if (weakest) break;
  }
  return weakest.value_or(Evidence::assumed);
}

Prediction predict(const Experiment& experiment, const PredictOptions& options) {
  CalibrationStore calibrations;
  return predict(experiment, options, calibrations);
}

Prediction predict(const Experiment& experiment, const PredictOptions& options,
                   CalibrationStore& calibrations) {
  const std::optional<Experiment> changed = priced_without(experiment, options);
  const Experiment& priced = changed ? *changed : experiment;
  const CalibratedModels models = models_for(priced, options, calibrations);
  const StepPlan plan = plan_of(priced, models, shape_for_engine(priced, options.engine));
  Prediction prediction;
  prediction.name = experiment.name;
  prediction.engine = options.engine;
  prediction.full_scope = options.full_scope;
  prediction.tier = options.tier;
  prediction.gpus = experiment.shape.gpus;
  prediction.gpu = experiment.device.name;
  prediction.precision = experiment.training.precision;
  prediction.plan = experiment.parallel;
  prediction.micro_batches = experiment.parallel.micro_batches(experiment.training);
  prediction.term_evidence = plan.term_evidence;
  prediction.loop = plan.loop;

  if (options.engine == EngineKind::estimate) {
    run_estimate(priced, plan, prediction);
  } else {
    run_simulation(priced, options, plan, calibrations, prediction);
  }
  if (options.without) take_off(seconds_off(*options.without, plan, prediction.breakdown), prediction);
  if (!std::isfinite(prediction.step_time.base()) || prediction.step_time <= Seconds(0)) {
    throw std::runtime_error("the step time is not a positive finite number: a part of " + experiment.name +
                             " lies too far outside what its calibration knows");
  }
  prediction.spread = step_spread(prediction.step_time, prediction.breakdown, plan.kernel_spread,
                                  communication_spread(plan, models.tier));
  // Residuals of runs that wait for their kernels say nothing of hosts and storage that nobody measured.
  const double half_width =
      std::hypot(models.tier.interval_width *
                     (models.tier.from_residuals ? counted_spread(prediction.spread) : prediction.spread),
                 kNinetiethPercentile * assumed_spread(prediction.step_time, prediction.breakdown));
  prediction.interval = {prediction.step_time / std::exp(half_width),
                         prediction.step_time * std::exp(half_width)};
  prediction.evidence = weakest_evidence(prediction.breakdown, prediction.term_evidence);
  warn_about_evidence(prediction);
  warn_about_keys_without_effect(experiment, prediction);
  warn_about_dropped_tokens(experiment, prediction);
  warn_about_attention(experiment, prediction);
  warn_about_fabric(experiment.cluster, prediction);
  warn_about_hashed_paths(experiment, prediction);
  warn_about_missing_detours(experiment, prediction);
  warn_about_uneven_groups(experiment, prediction);
  if (options.tier != Tier::datasheet && !options.calibration.empty() &&
      models.kernels->profile_name() != experiment.device.name) {
    prediction.warnings.push_back("calibration " + models.kernels->profile_name() +
                                  " is of another GPU than the " + experiment.device.name +
                                  " of this cluster");
  }

  const std::array<int, 2> ends{0, experiment.shape.gpus - 1};
  const GroupShape span = group_shape(experiment.shape, std::span(ends).first(ends[1] > 0 ? 2 : 1));
  const StepWork work = step_work(experiment);
  const double step = prediction.step_time.base();
  prediction.samples_per_s = static_cast<double>(experiment.training.global_batch) / step;
  prediction.tokens_per_s = work.tokens / step;
  if (experiment.training.tokens) {
    const double tokens = *experiment.training.tokens;
    const auto tokens_per_step = static_cast<double>(experiment.training.global_batch) *
                                 static_cast<double>(experiment.training.seq_length);
    prediction.whole_training = {tokens, std::ceil(tokens / tokens_per_step)};
  }
  if (experiment.cluster.price) {
    prediction.dollars_per_hour = hourly_price(experiment.cluster, build_topology(experiment.cluster));
  }
  prediction.model_flops = Flops(work.model_flops);
  prediction.hardware_flops = Flops(work.hardware_flops);
  prediction.mfu = work.model_flops / (step * work.peak_flops);
  prediction.hfu = work.hardware_flops / (step * work.peak_flops);

  const Bytes communicators = communicator_memory(experiment, *models.collectives);
  prediction.memory_capacity = experiment.device.memory_capacity;
  prediction.memory =
      memory_use(experiment.model, experiment.training, experiment.software, experiment.parallel,
                 communicators, host_lead(*plan.costs), prediction.memory_capacity);
  prediction.calibration = {
      models.kernels->profile_name(),
      models.kernels->profile_source() + "; collectives: " + models.collectives->profile_source(),
      models.kernels->profile_error(),
      models.collectives->error_on(span),
      models.tier.software,
      models.tier.stack_factors,
      models.tier.site_factors,
      models.tier.runs,
      models.tier.site_runs,
      models.tier.stack_error,
      models.tier.site_error,
      models.tier.from_residuals,
      models.kernel_hash};
  if (models.tier.beyond) {
    prediction.warnings.push_back(
        fmt::format("how much more data groups take with each doubling of their nodes was learned on up to "
                    "{} nodes: on {} no more is added than on those",
                    models.tier.beyond->second, models.tier.beyond->first));
  }
  if (!models.tier.site_of.empty()) {
    prediction.warnings.push_back(fmt::format(
        "the site's factors were learned from runs of {}: that they hold for {} under {} is assumed",
        models.tier.site_of, experiment.device.name, experiment.software.name));
  }
  if (models.tier.beyond_site) {
    prediction.warnings.push_back(
        fmt::format("the site's runs had at most {} node{}, this one has {}: the interval is as "
                    "many standard deviations wide as the stack's",
                    models.tier.beyond_site->second, models.tier.beyond_site->second == 1 ? "" : "s",
                    models.tier.beyond_site->first));
  }
  if (models.tier.site_over_other_kernels) {
    prediction.warnings.push_back(fmt::format(
        "the site's factors were learned over another version or profile of kernels than {}: what both know "
        "of this site's kernels would count twice (orrery calibrate --runs, with the same --calibration, "
        "learns what is left)",
        models.kernel_hash));
  }
  if (experiment.measured) {
    prediction.measured = experiment.measured;
    if (const auto measured = measured_step_time(*experiment.measured, work)) {
      prediction.error = prediction.step_time / *measured - 1.0;
      const std::string impossible = impossible_figure(*experiment.measured, work);
      if (!impossible.empty()) prediction.warnings.push_back("measured: no run has " + impossible);
      if (models.tier.knows_model) {
        prediction.warnings.push_back(
            "the stack's factors were learned from runs of this model too, perhaps from this one: the error "
            "is no "
            "test of them (validate leaves the model out, --tier measured all of it)");
      }
    }
  }
  if (options.echo) {
    prediction.memory_assumptions = memory_assumptions(experiment, communicators);
    prediction.experiment = resolve(experiment);
    for (const std::string& assumption : prediction.experiment.assumptions)
      prediction.warnings.push_back(assumption);
  }
  return prediction;
}

}  // namespace orrery
