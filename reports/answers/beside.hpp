#pragma once

#include "reports/answers/predict.hpp"
#include "reports/answers/simulation.hpp"

namespace orrery {

/// Simulates a step of `experiment` beside the job of options.beside on one cluster: the experiment's fabric,
/// built for the nodes of both. Fills the prediction's `beside`, and returns the simulation together.
///
/// Closed-form times (kernels, collectives alone) are those of the fabric for both, latencies that the
/// experiment gives included; the neighbour's as if it stood on its first nodes. A warning where the
/// neighbour's own fabric is another.
/// @throws InputError where the nodes differ or the fabric cannot be that large
Simulation simulate_with_neighbour(const Experiment& experiment, const PredictOptions& options,
                                   CalibrationStore& calibrations, Prediction& prediction);

}  // namespace orrery
