#pragma once

#include <array>
#include <memory>
#include <string>

#include "reports/answers/kernel_line.hpp"
#include "reports/answers/prediction.hpp"
#include "sim/cost/cost_model.hpp"
#include "sim/workload/operator_work.hpp"

namespace orrery {

/// On which GPU kernels are asked for, and what the answers may rest on.
struct KernelOptions {
  std::string gpu;          ///< a preset's name, or a file with a GPU
  std::string calibration;  ///< name or file of a profile; empty: the GPU's, else its architecture's nearest
  Tier tier = Tier::measured;
  bool sustained = true;  ///< at the clocks of minutes of training, as a prediction sees kernels
};

/// The GPU that a command line names: a preset, or a file (an argument with "/" or ".json").
/// @throws InputError
DeviceSpec read_gpu_argument(const std::string& argument);

/// The kernel model that a command line asks for.
/// @throws InputError for a GPU or a calibration that does not exist or cannot be read
std::unique_ptr<CostModel> kernel_cost_model(const KernelOptions& options);

/// How long one kernel takes when it has the GPU to itself, and on what that rests.
struct KernelAnswer {
  KernelTime time;
  std::array<Seconds, 2> interval;  ///< central 80 % of the calibration's spread
  OperatorWork work;
  KernelPower power;

  Joules energy() const { return power.board * time.time; }
};

/// @throws std::invalid_argument for what the model has no numbers for
KernelAnswer answer_kernel(const CostModel& model, const Operator& op);
/// The same for a line; false, and a problem recorded, for what the model has no numbers for.
bool answer_kernel(const CostModel& model, const KernelLine& kernel, const std::string& file,
                   KernelAnswer& answer, KernelProblems& problems);

}  // namespace orrery
