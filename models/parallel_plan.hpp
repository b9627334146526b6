#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/model_spec.hpp"
#include "models/pipeline_placement.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

enum class ContextMethod { ring, all_gather, ulysses };

struct OverlapPlan {
  bool gradient = false, parameter = false, tensor = false, pipeline = false;
};

/// Degrees and schedule of a training run (contract section 2, `parallel`), everything resolved.
struct ParallelPlan {
  int tensor = 1, pipeline = 1, context = 1, data = 1;
  bool sequence = false;
  int interleave = 1;  ///< virtual stages of a chain a rank; 2 under ZB-V, 1 under DualPipe
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  /// Transformer layers of each virtual stage of a chain in model order, pipeline x interleave numbers: which
  /// rank holds which says pipeline_placement().
  std::vector<int> stage_layers;
  ContextMethod context_method = ContextMethod::ring;
  int zero = 0;
  int shard_group = 0;  ///< GPUs of a ZeRO shard group; data x context unless HSDP
  OverlapPlan overlap;
  double bucket = 0;  ///< parameters a gradient bucket; 0: the stack's
  /// Order of the groups over the ranks, innermost first; a permutation of tensor, context, data, pipeline.
  std::vector<std::string> placement = {"tensor", "context", "data", "pipeline"};

  int gpus() const { return tensor * pipeline * context * data; }
  PipelinePlacement pipeline_placement() const { return {schedule, pipeline, interleave}; }
  std::int64_t micro_batches(const TrainingSpec& training) const {
    return training.global_batch / (training.micro_batch * data);
  }
};

/// Reads `parallel` and completes it: `data` from the GPUs, `stage_layers` dealt evenly (as the stack deals
/// them), the schedule from `interleave`, `overlap` from the stack. Cross-checks what the plan needs of
/// model, training and GPUs. Expert parallelism and schedules that are not modelled yet are refused by name.
ParallelPlan read_parallel_plan(const SpecReader& reader, const ModelSpec& model,
                                const TrainingSpec& training, const SoftwareStack& stack, int gpus);

}  // namespace orrery
