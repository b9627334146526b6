#include "reports/answers/scale.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>

#include "reports/answers/compare.hpp"
#include "sim/base/unit_text.hpp"
#include "sim/engine/child_process.hpp"

namespace orrery {
namespace {

constexpr double kWorthAReason = 1e-3;  // of the step
constexpr double kSameTime = 0.01;

bool is_compute(BreakdownTerm term) {
  return term == BreakdownTerm::forward || term == BreakdownTerm::backward ||
         term == BreakdownTerm::recompute;
}

/// Tokens of a step; exact in a double.
double tokens_of(const Prediction& prediction) {
  return std::round(prediction.tokens_per_s * prediction.step_time.base());
}

std::string reason_of_loss(BreakdownTerm term, double expected_share, double delta_s,
                           const ComparablePrediction& reference, const ComparablePrediction& point) {
  const auto index = static_cast<size_t>(term);
  const double then = reference.prediction.breakdown[index], now = point.prediction.breakdown[index];
  const bool waits = term == BreakdownTerm::pipeline_bubble || is_communication(term);
  if (!waits && !is_compute(term) && expected_share < 1.0 - kSameTime &&
      now > std::sqrt(expected_share) * then) {
    return fmt::format("{} instead of {}: it does not shrink with a GPU's share of the batch",
                       format_quantity(seconds(now)), format_quantity(seconds(then)));
  }
  if (is_compute(term)) {
    const char* const way = delta_s > 0 ? "slower" : "faster";
    const double slowed = slowed_seconds(point) - expected_share * slowed_seconds(reference);
    if (slowed_explains(slowed, delta_s)) {
      return fmt::format("{} per FLOP on {} GPUs than on {}: beside collectives for {} of the time", way,
                         point.prediction.gpus, reference.prediction.gpus, delta_s > 0 ? "more" : "less");
    }
    return fmt::format(
        "{} per FLOP on {} GPUs than on {}{}", way, point.prediction.gpus, reference.prediction.gpus,
        delta_s > 0 && point.prediction.gpus > reference.prediction.gpus ? ": the slowest one sets the pace"
                                                                         : "");
  }
  return reason_of_term(term, reference, point);
}

/// Refused points aside, what a point says of itself; filled on any thread.
ScalingPoint predict_point(const Experiment& base, const ScaleOptions& options, int gpus,
                           CalibrationStore& calibrations) {
  ScalingPoint point;
  point.gpus = gpus;
  ScaledExperiment scaled = experiment_at(base, options.kind, gpus);
  if (!scaled.experiment) {
    point.reason = std::move(scaled.reason);
    point.nearest = std::move(scaled.nearest);
    return point;
  }
  point.global_batch = scaled.experiment->training.global_batch;
  try {
    point.answer = predict_to_compare(*scaled.experiment, options.predict, calibrations);
  } catch (const InputError& error) {  // what only the calibration or the plan can refuse
    InputProblem problem = error.problems().front();
    problem.file.clear();
    point.reason = problem.line();
    point.reason.erase(0, point.reason.find_first_not_of(": "));
  }
  return point;
}

std::string refusal(const ScalingPoint& point) {
  std::string text = point.reason;
  for (size_t i = 0; i < point.nearest.size(); ++i)
    text += (i == 0 ? "; nearest legal: " : " or ") + std::to_string(point.nearest[i]);
  return text;
}

void refuse_if_nothing_is_legal(const Experiment& experiment, const Scaling& scaling) {
  std::vector<InputProblem> problems;
  for (const ScalingPoint& point : scaling.points) {
    if (point.answer) return;
    problems.push_back({experiment.file, "", "", "", fmt::format("{} GPUs: {}", point.gpus, refusal(point))});
  }
  if (!problems.empty()) throw InputError(std::move(problems));
}

void set_against_reference(Scaling& scaling) {
  const auto first = std::find_if(scaling.points.begin(), scaling.points.end(),
                                  [](const ScalingPoint& point) { return point.answer.has_value(); });
  if (first == scaling.points.end()) return;
  scaling.reference_gpus = first->gpus;
  for (ScalingPoint& point : scaling.points) {
    if (!point.answer) continue;
    point.losses = losses_against(*first->answer, *point.answer);
    double loss = 0.0;
    for (const TermLoss& term : point.losses) loss += term.loss;
    point.efficiency = 1.0 - loss;
    point.efficiency_interval = efficiency_interval(*first->answer, *point.answer);
    for (const std::string& warning : point.answer->prediction.warnings) {
      if (std::find(scaling.warnings.begin(), scaling.warnings.end(), warning) == scaling.warnings.end())
        scaling.warnings.push_back(warning);
    }
  }
}

}  // namespace

bool Scaling::fits() const {
  return std::all_of(points.begin(), points.end(), [](const ScalingPoint& point) { return point.fits(); });
}

std::vector<TermLoss> losses_against(const ComparablePrediction& reference,
                                     const ComparablePrediction& point) {
  const Prediction& then = reference.prediction;
  const Prediction& now = point.prediction;
  const double share = tokens_of(now) * then.gpus / (tokens_of(then) * now.gpus);
  Breakdown expected = then.breakdown;
  for (double& term : expected) term *= share;
  const double step = now.step_time.base();
  std::vector<TermLoss> losses;
  for (const TermDifference& term :
       attribute_difference(expected, now.breakdown, step - share * then.step_time.base())) {
    losses.push_back({term.term, term.delta_s, term.delta_s / step, ""});
    if (std::abs(losses.back().loss) >= kWorthAReason)
      losses.back().reason = reason_of_loss(term.term, share, term.delta_s, reference, point);
  }
  return losses;
}

Scaling scale(const Experiment& experiment, const ScaleOptions& options) {
  Scaling scaling;
  scaling.kind = options.kind;
  scaling.engine = options.predict.engine;
  scaling.full_scope = options.predict.full_scope;
  scaling.tier = options.predict.tier;
  scaling.name = experiment.name;
  scaling.experiment = resolve(experiment);

  const size_t count = options.gpus.size();
  std::vector<std::optional<ScalingPoint>> finished(count);
  std::vector<std::exception_ptr> failures(count);
  CalibrationStore calibrations;
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex progress_mutex;
  int done = 0;
  const auto work = [&] {
    while (!failed.load() && (options.stop == nullptr || !options.stop->load())) {
      const size_t index = next.fetch_add(1);
      if (index >= count) return;
      try {
        finished[index] = predict_point(experiment, options, options.gpus[index], calibrations);
      } catch (...) {  // an engine that failed ends the whole answer, below
        failures[index] = std::current_exception();
        failed.store(true);
        return;
      }
      const std::lock_guard<std::mutex> lock(progress_mutex);
      ++done;
      if (options.progress) options.progress(done, static_cast<int>(count));
    }
  };
  std::vector<std::thread> workers;
  const int threads = std::min(worker_count(options.threads), static_cast<int>(count));
  for (int i = 1; i < threads; ++i) workers.emplace_back(work);
  work();
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  for (std::optional<ScalingPoint>& point : finished) {
    if (point) scaling.points.push_back(std::move(*point));
  }
  scaling.interrupted = scaling.points.size() < count;
  refuse_if_nothing_is_legal(experiment, scaling);
  set_against_reference(scaling);
  return scaling;
}

}  // namespace orrery
