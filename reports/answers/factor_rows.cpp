#include "reports/answers/factor_rows.hpp"

#include <atomic>
#include <cmath>
#include <memory>
#include <thread>

#include "reports/answers/tier_profiles.hpp"
#include "reports/experiment/resolved.hpp"
#include "sim/base/hash.hpp"

namespace orrery {
namespace {

constexpr double kStep = 1.2;

/// A run that reads well and has a step time.
struct ReadRun {
  Experiment experiment;
  double measured_s = 0;
};

std::optional<ReadRun> read_run(const RunRecord& run) {
  try {
    Problems problems(run.file);
    ReadRun result;
    result.experiment = read_experiment(SpecReader(run.experiment, "/experiment", problems));
    const MeasuredRun measured = read_measured_run(SpecReader(run.measured, "/measured", problems));
    problems.throw_if_any();
    const StepWork work = step_work(result.experiment);
    const auto step = measured_step_time(measured, work);
    if (!step || !impossible_figure(measured, work).empty()) return std::nullopt;
    result.measured_s = step->base();
    return result;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

PredictOptions closed_form(PredictOptions options, const RunRecord& run, const Experiment& experiment) {
  options.engine = EngineKind::estimate;
  options.echo = false;
  ScoredRun scored = options.scored ? *options.scored : ScoredRun{};
  scored.id = run.id;
  scored.source_group = run.source_group;
  scored.family = family_of(run.source_group, experiment);
  options.scored = std::make_shared<const ScoredRun>(std::move(scored));
  return options;
}

}  // namespace

std::optional<LinearisedRun> linearise(const RunRecord& run, const PredictOptions& options, const Factors& at,
                                       CalibrationStore& calibrations) {
  const std::optional<ReadRun> read = read_run(run);
  if (!read) return std::nullopt;
  PredictOptions asked = closed_form(options, run, read->experiment);
  const auto log_step = [&](const Factors& factors) {
    asked.factors = factors;
    return std::log(predict(read->experiment, asked, calibrations).step_time.base());
  };
  try {
    asked.factors = at;
    const Prediction here = predict(read->experiment, asked, calibrations);
    LinearisedRun result;
    result.spread = here.spread;
    result.nodes = read->experiment.cluster.nodes;
    result.kernel_profile = here.calibration.hash;
    result.residual = std::log(read->measured_s / here.step_time.base());
    FactorRow& row = result.row;
    row.id = run.id;
    row.source_group = run.source_group;
    row.family = asked.scored->family;
    row.kind = kind_of_model(read->experiment);
    row.traits = traits_of(read->experiment, here.calibration.profile);
    row.log_ratio = result.residual;
    for (size_t f = 0; f < row.slope.size(); ++f) {
      Factors more = at, less = at;
      more.value[f] *= kStep;
      less.value[f] /= kStep;
      row.slope[f] = (log_step(more) - log_step(less)) / (2.0 * std::log(kStep));
      row.log_ratio += row.slope[f] * std::log(at.value[f]);
      if (f != static_cast<size_t>(Factor::data_per_doubling)) continue;
      for (const Factors::Growth& growth : at.growths)
        row.log_ratio += row.slope[f] * std::log(growth.per_doubling);
    }
    return result;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

std::optional<double> residual_of(const RunRecord& run, const PredictOptions& options, const Factors& at,
                                  CalibrationStore& calibrations) {
  const std::optional<ReadRun> read = read_run(run);
  if (!read) return std::nullopt;
  PredictOptions asked = closed_form(options, run, read->experiment);
  asked.factors = at;
  try {
    return std::log(read->measured_s / predict(read->experiment, asked, calibrations).step_time.base());
  } catch (const InputError&) {
    return std::nullopt;
  }
}

std::string configuration_of(const RunRecord& run) {
  Problems problems(run.file);
  const Experiment experiment = read_experiment(SpecReader(run.experiment, "/experiment", problems));
  problems.throw_if_any();
  Json values = resolve(experiment).values;
  for (const char* key : {"name", "measured", "schema"}) values.erase(key);
  return content_hash(values.dump());
}

void for_each_number(size_t count, int threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  const auto take = [&] {
    for (size_t number = next.fetch_add(1); number < count; number = next.fetch_add(1)) work(number);
  };
  std::vector<std::thread> workers;
  for (int i = 1; i < threads; ++i) workers.emplace_back(take);
  take();
  for (std::thread& worker : workers) worker.join();
}

}  // namespace orrery
