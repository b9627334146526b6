#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

/// Of whose kernels the shapes are wanted.
struct ModelShapesOptions {
  std::string model;     ///< a preset's name, or a file
  std::string software;  ///< likewise; empty: the default stack
  std::string gpu;       ///< where a stack picks its attention kernel by the GPU; empty: the stack's default
  /// Members of an experiment's `training` (seq_length, micro_batch, precision, recompute, optimizer) and
  /// `parallel` (tensor, pipeline, context, sequence). Left out: one sequence of the model's max_positions or
  /// else 4096 tokens, and no parallelism.
  Json training = Json::object(), parallel = Json::object();
};

/// A kernel shape that the model asks of one GPU.
struct ModelKernel {
  std::string name;        ///< where it stands in the model; several places of one shape joined by "+"
  std::int64_t count = 0;  ///< calls in a step of one micro-batch
  Operator op;
};

/// The distinct kernel shapes of one step of one micro-batch on one GPU, in order of first use: embedding,
/// the layers of the fullest pipeline stage (forward, recomputation, backward), output head and loss,
/// optimizer. Embedding and head are listed whatever the pipeline, though they are on its first and last
/// stage. Communication is no kernel.
/// @throws InputError for names that do not exist, degrees that do not divide the model, and models or
/// precisions that have no operators yet; problems name the options ("--tensor")
std::vector<ModelKernel> model_shapes(const ModelShapesOptions& options);

/// A line of a kernel file (kernel_line.hpp) that asks for this kernel, without newline:
/// {"op": "gemm", "name": "qkv_projection", "count": 32, "m": ...}.
std::string kernel_line_text(const ModelKernel& kernel);

}  // namespace orrery
