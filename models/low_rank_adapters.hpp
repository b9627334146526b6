#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/layer_kind.hpp"
#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/training_spec.hpp"

namespace orrery {

/// A low-rank adapter beside one product of a layer (LoRA): y = W x + (alpha / r) B A x with the base weight
/// W frozen, A of r x in and B of out x r trained. Source: Hu et al. 2021, equation 3.
struct LowRankAdapter {
  /// Products of a layer that can carry one.
  enum class Place { qkv, output, up, down };
  Place place;
  std::int64_t in = 0, out = 0;   ///< of the whole product
  std::int64_t in_columns = 0;    ///< of its input that one tensor rank holds
  std::int64_t out_columns = 0;   ///< of B on one tensor rank
  std::int64_t rank_columns = 0;  ///< of A on one tensor rank
  /// A column-parallel product's adapter splits both matrices over their columns and gathers A x; a
  /// row-parallel one's splits A over its rows, sums A x, and gathers its output (Megatron-Bridge,
  /// peft/utils.py, ParallelLinearAdapter).
  bool column_parallel = true;

  double parameters_per_rank(int rank) const {
    return static_cast<double>(in_columns * rank_columns) + static_cast<double>(rank * out_columns);
  }
  /// 2 tokens r (in + out), all ranks together.
  double forward_flops(double tokens, int rank) const {
    return 2.0 * tokens * static_cast<double>(rank) * static_cast<double>(in + out);
  }
};

/// The adapters of a layer under `training.lora`; none without it. "attention" adapts the QKV and the output
/// projection, "mlp" both feed-forward products (a gated one's first as a whole).
std::vector<LowRankAdapter> adapters_of_layer(const ModelSpec& model, const TrainingSpec& training,
                                              const ParallelPlan& plan);
/// Their parameters on one tensor rank.
double adapter_parameters_per_rank(const ModelSpec& model, const TrainingSpec& training,
                                   const ParallelPlan& plan);

}  // namespace orrery
