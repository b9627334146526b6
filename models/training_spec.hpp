#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/loop_spec.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/base/precision.hpp"

namespace orrery {

enum class Recompute { none, selective, full };
enum class Optimizer { sgd, momentum, adagrad, adam, adamw, lamb, adafactor, muon };
std::string_view name_of(Optimizer optimizer);
enum class GradientDtype { fp32, bf16, fp16 };
enum class FlopsConvention { full, causal };

/// Type of the optimizer's states.
enum class StateDtype { fp32, bf16, fp16, fp8 };
/// What the optimizer keeps of a weight beside the 8 or 16 bits that training holds: all of it, the low 16
/// bits of fp32 that bf16 leaves out, a 16-bit copy, or nothing (it updates the weights themselves).
enum class MasterWeights { fp32, remainder, bf16, fp16, none };

/// How an optimizer stores what is its own.
/// Sources: Apex DistributedFusedAdam (dtype, store_params, store_param_remainders), Transformer Engine
/// FusedAdam (exp_avg_dtype, exp_avg_sq_dtype, master_weight_dtype, store_param_remainders), which
/// Megatron-core uses with use_precision_aware_optimizer.
struct OptimizerStorage {
  StateDtype states = StateDtype::fp32;
  MasterWeights master = MasterWeights::fp32;
  auto operator<=>(const OptimizerStorage&) const = default;
};
std::string_view name_of(StateDtype dtype);
std::string_view name_of(MasterWeights master);

/// Low-rank adapters beside frozen base weights.
struct LoraSpec {
  int rank = 0;
  bool attention = false, mlp = false;
  auto operator<=>(const LoraSpec&) const = default;
};

/// What is moved to the host's memory.
struct OffloadSpec {
  int activations_layers = 0;  ///< the first layers of each stage
  bool optimizer = false;      ///< states and update
  auto operator<=>(const OffloadSpec&) const = default;
};

/// Contract section 2, `training`.
struct TrainingSpec {
  std::int64_t seq_length = 0;
  std::int64_t global_batch = 0;  ///< sequences
  std::int64_t micro_batch = 0;   ///< sequences
  Precision precision = Precision::bf16;
  std::optional<GradientDtype> gradient_dtype;  ///< absent: the stack's
  Optimizer optimizer = Optimizer::adam;
  OptimizerStorage optimizer_storage;
  Recompute recompute = Recompute::none;
  std::vector<std::string>
      recompute_modules;      ///< of selective: core_attn mlp layernorm ...; empty with none and full
  int recompute_layers = -1;  ///< layers of each stage that recompute; -1: all
  std::optional<LoraSpec> lora;
  OffloadSpec offload;
  FlopsConvention flops_convention = FlopsConvention::full;
  std::optional<double> tokens;  ///< of the whole training
  SyncSpec sync;
  std::optional<DataSpec> data;
  std::optional<CheckpointSpec> checkpoint;
};

/// Bytes a parameter of an optimizer's own, without what it keeps by matrix.
struct OptimizerBytes {
  double states = 0, master = 0;
  double all() const { return states + master; }
};
OptimizerBytes optimizer_bytes(Optimizer optimizer, Precision precision, const OptimizerStorage& storage);
OptimizerBytes optimizer_bytes(const TrainingSpec& training);

/// Numbers that an optimizer keeps a parameter beside the weight (momentum; mean and variance). Adafactor
/// keeps a row and a column of each matrix instead (Shazeer & Stern 2018, algorithm 4, without momentum);
/// Muon's one holds for matrices, the rest is AdamW's.
int optimizer_states(Optimizer optimizer);

/// Reads `training`. Keys of the contract that are not modelled yet are refused by name.
TrainingSpec read_training_spec(const SpecReader& reader);
/// Member `gradient_dtype` of an object (`training` and `software` both have one), or nothing where it is
/// left out.
std::optional<GradientDtype> read_gradient_dtype(const SpecReader& reader);

}  // namespace orrery
