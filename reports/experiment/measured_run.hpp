#pragma once

#include <optional>

#include "sim/base/json_reader.hpp"
#include "sim/base/quantity.hpp"

namespace orrery {

/// What a run measured (contract section 4, `measured`): any of these, per GPU where the name says so.
struct MeasuredRun {
  std::optional<Seconds> step_time;
  std::optional<double> tokens_per_s_per_gpu;
  std::optional<double> model_tflops_per_gpu;
  std::optional<double> hardware_tflops_per_gpu;
  std::optional<double> mfu;
  std::optional<Bytes> peak_memory;  ///< on the fullest GPU
  /// What it is of: everything on the GPU, as nvidia-smi shows it, instead of the framework's allocator.
  bool peak_memory_of_gpu = false;
};

/// Reads a `measured` object; every value must be above zero and at least one must be there.
MeasuredRun read_measured_run(const SpecReader& reader);
/// The same keys and SI values again, absent ones left out.
Json to_json(const MeasuredRun& measured);

/// What turns a measured rate into a step time.
struct StepWork {
  double tokens = 0;          ///< of one step, all GPUs
  double model_flops = 0;     ///< of one step, all GPUs
  double hardware_flops = 0;  ///< what is worked on: see StepFlops
  double peak_flops = 0;      ///< dense peak of all GPUs together, FLOP/s
  int gpus = 1;
};

/// The measured step time: as given, else from the first rate that is there (tokens, model FLOPs, hardware
/// FLOPs, MFU).
std::optional<Seconds> measured_step_time(const MeasuredRun& measured, const StepWork& work);

/// What no run can have, or empty: a step time and a rate of tokens that are more than a tenth apart (of
/// published runs that give both none is, by rounding, more than a fiftieth), or a step at more than twice
/// the GPUs' peak (causal attention counts in full, so MFU may pass one, not two): tokens of all GPUs given
/// for one, milliseconds for seconds.
std::string impossible_figure(const MeasuredRun& measured, const StepWork& work);

}  // namespace orrery
