#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/training_spec.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// The contract's `model` object with every dimension; read_model_spec reads it back to the same model.
/// @param vocab rows of the embedding as trained (padded_vocabulary)
Json model_json(const ModelSpec& model, std::int64_t vocab);
/// The contract's `training` object, completed.
/// @param gradient_dtype the training's, else the stack's
Json training_json(const TrainingSpec& training, GradientDtype gradient_dtype);
/// The contract's `parallel` object, completed.
Json plan_json(const ParallelPlan& plan);

}  // namespace orrery
