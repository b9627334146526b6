#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/training_spec.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// Most micro-batches of a step: beyond it nobody trains, and a simulation of so many takes seconds.
inline constexpr std::int64_t kMostMicroBatches = 1'000'000;

// What a plan's data-parallel workers can do; problems go to the reader of `parallel`.

/// Their shares of the batch, speeds and parts of the dataset (training.data).
void check_workers(const SpecReader& reader, const TrainingSpec& training, const ParallelPlan& plan);
/// Synchronisation other than in every step, and checkpoints, of a plan that is complete.
void check_loop(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
                const ParallelPlan& plan);

}  // namespace orrery
