#pragma once

#include <optional>
#include <string>

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "reports/experiment/measured_run.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/cost/device_spec.hpp"
#include "sim/network/group_shape.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// Everything a prediction is about, read, completed and cross-checked (contract section 2).
struct Experiment {
  std::string name;
  ClusterSpec cluster;
  ClusterShape shape;
  DeviceSpec device;
  ModelSpec model;
  TrainingSpec training;
  SoftwareStack software;
  ParallelPlan parallel;
  std::string calibration;  ///< name or file of a calibration; empty: the one of the GPU
  std::optional<MeasuredRun> measured;
  std::string file;  ///< as messages name it
  Json document;     ///< as given, after --set
};

/// Reads an experiment; all independent problems at once.
/// @throws InputError
Experiment read_experiment(const Json& document, const std::string& file);
/// The same for an experiment inside a larger document: problems go to the reader's list, and the result is
/// meaningful only if none was added.
Experiment read_experiment(const SpecReader& reader);

/// Tokens, FLOPs and peak of one step of this experiment.
StepWork step_work(const Experiment& experiment);

}  // namespace orrery
