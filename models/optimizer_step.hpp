#pragma once

#include <cstdint>
#include <vector>

#include "models/layer_operators.hpp"

namespace orrery {

/// `count` weight matrices of one shape.
struct WeightMatrices {
  std::int64_t rows = 0, columns = 0;
  std::int64_t count = 0;
  double parameters() const { return static_cast<double>(rows * columns) * static_cast<double>(count); }
};

/// The matrices of one dense layer as one tensor rank holds them: queries, keys and values apart
/// (Megatron-LM, muon_split_qkv), gate and up projection as the one product that they are.
std::vector<WeightMatrices> layer_matrices_per_rank(const ModelSpec& model, const ParallelPlan& plan);
/// Those of `layers` layers that the step trains (LoRA: the adapters).
std::vector<WeightMatrices> trained_matrices(const ModelSpec& model, const TrainingSpec& training,
                                             const ParallelPlan& plan, int layers);

/// What one rank's optimizer step works on.
struct OptimizerLoad {
  double updated = 0;       ///< parameters this rank updates
  double resident = 0;      ///< parameters it holds (gradients and model weights)
  double cast_weights = 0;  ///< weights that an 8- or 4-bit recipe casts once a step (Transformer Engine
                            ///< caches the casts from the first micro-batch on)
  std::vector<WeightMatrices> matrices;  ///< held, for optimizers that work on whole matrices
  int shards = 1;                        ///< ranks that share the update
  int layers = 0;                        ///< held
};

/// Copies that put gathered parameters into place (software.sharding): one for every tensor and rank.
int gather_copies(const SoftwareStack& stack, const ParallelPlan& plan, const OptimizerLoad& load);

/// Gradient clipping and the optimizer's update, once a step.
///
/// The stack's optimizer_bytes_per_parameter holds for Adam in mixed precision; other optimizers and full
/// precision scale it by the bytes that the update must move (optimizer_traffic).
///
/// Muon (Jordan 2024) takes the matrices out: momentum, five Newton-Schulz iterations
///     A = X X^T,  B = b A + c A A,  X = a X + B X        (X of m x n, m <= n: 5 (4 m m n + 2 m m m) FLOPs)
/// in 16 bits on what a tensor rank holds (blockwise, as Megatron-LM's muon_tp_mode has it by default), and
/// AdamW for the rest. Under ZeRO 1 the ranks of a shard group
/// deal the matrices out and gather the momentum of those they work on in 16 bits (Liu et al. 2025, arXiv
/// 2502.16982, section 2.3); the busiest rank counts. Matrices of one shape run as one batch.
LayerPass optimizer_pass(const TrainingSpec& training, const SoftwareStack& stack, const ParallelPlan& plan,
                         const OptimizerLoad& load);

/// Bytes that an optimizer's update must move a parameter with fp32 gradients: gradient read, master weight
/// and each state read and written, model weight written (mixed precision only). Adam in mixed precision: 30.
/// Adafactor reads the gradient twice, for the rows' and columns' means and for the update, which is written,
/// read for its clipping and read to be applied; the weight is read once more for its norm (Shazeer & Stern
/// 2018, algorithm 4). Of Muon: its matrices without the iterations' products.
/// Narrower states move their own bytes. With a remainder both halves of the weight are read and written;
/// with a 16-bit master it is read and written and the weight written; without one the weight is read and
/// written.
/// @param copies  narrower states are copied to fp32 for the update and back
/// (SoftwareStack::copies_narrow_states)
double optimizer_traffic(Optimizer optimizer, Precision precision, const OptimizerStorage& storage = {},
                         bool copies = false);

/// Bytes of an Adafactor's second moment for these matrices: fp32 of a row and of a column each.
double factored_moment_bytes(const std::vector<WeightMatrices>& matrices);

/// What an optimizer that treats matrices apart keeps beyond optimizer_states, bytes of `trained` parameters
/// on one rank, `ends` of them of embedding and head. Muon: AdamW's second state of what is no layer's matrix
/// (Jordan 2024; embedding and head are AdamW's). Adafactor: a row and a column of every matrix, embedding
/// and head included, and the whole second moment of vectors (Shazeer and Stern 2018, algorithm 4).
double states_by_matrix(Optimizer optimizer, const std::vector<WeightMatrices>& matrices, double trained,
                        double ends, std::int64_t hidden);

}  // namespace orrery
