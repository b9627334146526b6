#pragma once

#include <array>
#include <memory>
#include <string>

#include "models/step_plan.hpp"
#include "reports/answers/calibrated_models.hpp"
#include "reports/answers/predict_options.hpp"
#include "reports/answers/prediction.hpp"

namespace orrery {

/// Step time, throughput, memory, breakdown and interval of one configuration.
/// @throws InputError where calibration or plan cannot express the experiment; std::runtime_error if an
/// engine fails
Prediction predict(const Experiment& experiment, const PredictOptions& options);
/// The same for one of many predictions, which share the models.
Prediction predict(const Experiment& experiment, const PredictOptions& options,
                   CalibrationStore& calibrations);

/// The plan of an experiment's step with a time on each part.
/// @throws InputError where a kernel model has no numbers for it
StepPlan plan_of(const Experiment& experiment, const CalibratedModels& models, const ClusterShape& shape);
/// The shape that an engine's plan is made with: the simulation brings the contention itself.
ClusterShape shape_for_engine(const Experiment& experiment, EngineKind engine);

/// Central 80 % of a step time whose parts are uncertain.
///
/// ln(time) of kernels spreads with sd `kernel_spread`, of communication with `communication_spread`, which
/// each term of the breakdown has its own of, of the host and of storage with those of
/// reports/answers/error_shares.hpp. All communication errs together, all kernels do, the host and storage,
/// and these four independently. With c = share of the step that compute takes, h the host's (`other`), s
/// storage's, bubbles in c and h in proportion, and m_t that of exposed communication t:
///     sigma^2   = (c * kernel_spread)^2 + (sum of m_t * communication_spread_t)^2,
///     assumed^2 = (h * .2)^2 + (s * .25)^2,
///     interval  = step * exp(-+1.2816 sqrt(sigma^2 + assumed^2))
/// (1.2816: 90th percentile of the standard normal). Errors of the plan's structure are not in it: of sigma
/// an interval of a prediction is as many times wide as cross-validated residuals of its tier ask for
/// (calibration/stacks/residual_interval.hpp), 1.2816 at tier datasheet. What is assumed stays 1.2816: these
/// residuals are of runs that wait for kernels.
std::array<Seconds, 2> spread_interval(Seconds step, const Breakdown& breakdown, double kernel_spread,
                                       const Breakdown& communication_spread);
/// By the term that shows it, one standard deviation of ln(time) of a plan's communication: of its
/// collectives and of what the tier's profiles learned of them.
Breakdown communication_spread(const StepPlan& plan, const TierUse& tier);
/// The sigma of spread_interval.
double step_spread(Seconds step, const Breakdown& breakdown, double kernel_spread,
                   const Breakdown& communication_spread);
/// What it calls assumed: one standard deviation of ln(time) that host and storage leave of a step.
double assumed_spread(Seconds step, const Breakdown& breakdown);

/// The weakest evidence among the terms that take more than 5 % of the step (contract section 3.1); of all
/// terms with time if none does.
Evidence weakest_evidence(const Breakdown& breakdown, const std::array<Evidence, kBreakdownTerms>& evidence);

}  // namespace orrery
