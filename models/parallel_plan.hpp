#pragma once

#include <algorithm>
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
  bool gradient = false, parameter = false, tensor = false, pipeline = false, expert = false;
};

/// Degrees and schedule of a training run (contract section 2, `parallel`), everything resolved.
struct ParallelPlan {
  int tensor = 1, pipeline = 1, context = 1, data = 1;
  /// The tensor x context x data ranks of a stage divide into expert_tensor x expert x expert_data() for the
  /// experts.
  int expert = 1, expert_tensor = 1;
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
  /// Order of the groups over the ranks, innermost first; a permutation of tensor, context, data, pipeline,
  /// and expert (just inside data where it is left out).
  std::vector<std::string> placement = {"tensor", "context", "expert", "data", "pipeline"};

  /// Ranks of a stage that hold the same slices of the same experts.
  int expert_data() const { return std::max(1, tensor * context * data / (expert * expert_tensor)); }
  /// Of these, the ranks of a ZeRO shard group: as many groups as the dense parameters have.
  int expert_shards() const {
    const int groups = shard_group > 0 ? std::max(1, data * context / shard_group) : 1;
    return std::max(1, expert_data() / groups);
  }
  int gpus() const { return tensor * pipeline * context * data; }
  PipelinePlacement pipeline_placement() const { return {schedule, pipeline, interleave}; }
  /// Of a step of the worker (data rank) that it waits for.
  std::int64_t micro_batches(const TrainingSpec& training) const {
    return pacing_worker(training).micro_batches;
  }
  /// The worker that takes longest: with (m + pipeline - 1) / speed micro-batch times for its m
  /// micro-batches. Its speed is against the others'. Without a bound on staleness nobody waits: one of the
  /// mean speed.
  struct Worker {
    std::int64_t micro_batches = 1;
    double speed = 1.0;
  };
  Worker pacing_worker(const TrainingSpec& training) const;
  /// Sequences of the global batch that the worker with most of them works on.
  std::int64_t largest_share(const TrainingSpec& training) const;
};

/// Reads `parallel` and completes it: `data` from the GPUs, `stage_layers` dealt evenly (as the stack deals
/// them), the schedule from `interleave`, `overlap` from the stack. Cross-checks what the plan needs of
/// model, training and GPUs. Schedules that are not modelled yet are refused by name.
ParallelPlan read_parallel_plan(const SpecReader& reader, const ModelSpec& model,
                                const TrainingSpec& training, const SoftwareStack& stack, int gpus);

}  // namespace orrery
