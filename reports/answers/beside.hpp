#pragma once

#include "reports/answers/loop_simulation.hpp"
#include "reports/answers/predict.hpp"
#include "reports/answers/simulation.hpp"

namespace orrery {

struct SimulationBeside {
  Simulation steps;   ///< a step beside the neighbour's steps
  LoopAddition loop;  ///< what the mean step has beyond it: checkpoints of both jobs
};

/// Simulates a step of `experiment` beside the job of options.beside on one cluster: the experiment's fabric,
/// built for the nodes of both. Fills the prediction's `beside`.
///
/// Closed-form times (kernels, collectives alone) are those of the fabric for both, latencies that the
/// experiment gives included; the neighbour's as if it stood on its first nodes. A warning where the
/// neighbour's own fabric is another.
/// Checkpoints of both share storage and fabric (simulate_checkpoints_beside). The averaging of local
/// training is added as it is alone, with a warning.
/// @throws InputError where the nodes differ, the neighbour needs storage that the fabric has not, or the
/// fabric cannot be that large
SimulationBeside simulate_with_neighbour(const Experiment& experiment, const PredictOptions& options,
                                         CalibrationStore& calibrations, Prediction& prediction);

}  // namespace orrery
