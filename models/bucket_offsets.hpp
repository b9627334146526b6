#pragma once

#include <vector>

#include "models/layer_shapes.hpp"

namespace orrery {

/// A part of a virtual stage: its parameters and its time in one pass.
struct TimedParameters {
  double parameters;
  double seconds;
};

/// Offsets at which the first k/n of the parameters are behind, for k = 1..n; the last is the pass's end.
std::vector<double> offsets_of_parameter_shares(const std::vector<TimedParameters>& units, int n);

/// True where stage_matrices knows the layers: neither experts nor latents.
bool has_plain_layers(const ModelSpec& model);
/// Parameters of the matrices of `layers` such layers, of the embedding and of the head (one of its own) on a
/// rank, in the order in which the backward completes their gradients.
std::vector<double> stage_matrices(const RankShape& shape, int layers, bool embedding, bool head);

/// Buckets that close with the tensor that fills them, in the order of the tensors: each of `size` parameters
/// or more, but for the last.
/// Source: PyTorch, torch/csrc/distributed/c10d/reducer.cpp, compute_bucket_assignment_by_size.
int whole_tensor_buckets(const std::vector<double>& tensors, double size);

}  // namespace orrery
