#include "models/optimizer_step.hpp"

#include <algorithm>

#include "models/layer_builder.hpp"
#include "models/layer_shapes.hpp"
#include "models/low_rank_adapters.hpp"

namespace orrery {
namespace {

/// Iterations of Newton-Schulz (Jordan 2024).
constexpr std::int64_t kNewtonSchulzSteps = 5;
/// Bytes a matrix parameter beside the products: 16-bit momentum read for its norm, read and written scaled.
constexpr double kNewtonSchulzTraffic = 6.0;

class OptimizerStep {
 public:
  OptimizerStep(const TrainingSpec& training, const SoftwareStack& stack, const ParallelPlan& plan,
                const OptimizerLoad& load)
      : training_(training), stack_(stack), plan_(plan), load_(load) {}

  LayerPass pass() {
    add("gradient_norm_and_zero", stack_.optimizer_bytes_per_resident * load_.resident,
        MemoryKind::optimizer);
    if (training_.optimizer == Optimizer::muon) {
      muon();
    } else if (!training_.offload.optimizer) {
      add("optimizer_update", update_bytes(training_.optimizer, load_.updated), MemoryKind::optimizer);
    }
    const double casts = cast_weight_traffic(training_, stack_, plan_) * load_.cast_weights;
    if (casts > 0.0) add("quantize_weights", casts, MemoryKind::quantize);
    distribute_launches(items_, stack_.optimizer_kernels);
    if (const int copies = gather_copies(stack_, plan_, load_); copies > 0) {
      const Bytes traffic(stack_.sharding.gather_copy_bytes * load_.resident);
      items_.push_back({LayerPart::residual, Operator{"place_gathered_parameters",
                                                      MemoryShape{traffic, copies, MemoryKind::optimizer}}});
      items_.back().launches_known = true;
    }
    return to_pass(items_);
  }

 private:
  void add(std::string_view name, double traffic, MemoryKind kind) {
    items_.push_back({LayerPart::residual, Operator{name, MemoryShape{Bytes(traffic), 1, kind}}});
  }
  /// The stack's traffic, in proportion to what the update must move.
  double update_bytes(Optimizer optimizer, double parameters) const {
    const double scale = optimizer_traffic(optimizer, training_.precision, training_.optimizer_storage,
                                           stack_.copies_narrow_states) /
                         optimizer_traffic(Optimizer::adam, Precision::bf16);
    return stack_.optimizer_bytes_per_parameter * scale * parameters;
  }

  void muon() {
    double held = 0;
    for (const WeightMatrices& matrices : load_.matrices) held += matrices.parameters();
    if (load_.shards > 1 && held > 0) {
      items_.push_back(
          {LayerPart::residual, LayerCommunication{"momentum all_gather", GroupKind::data,
                                                   CollectiveOp::all_gather, Bytes(2.0 * held)}});
    }
    const double own = held / load_.shards;
    add("muon_update", update_bytes(Optimizer::muon, own) + kNewtonSchulzTraffic * own,
        MemoryKind::optimizer);
    for (const WeightMatrices& matrices : load_.matrices) newton_schulz(matrices);
    add("optimizer_update", update_bytes(Optimizer::adamw, std::max(0.0, load_.updated - own)),
        MemoryKind::optimizer);
  }

  void newton_schulz(const WeightMatrices& matrices) {
    const std::int64_t m = std::min(matrices.rows, matrices.columns);
    const std::int64_t n = std::max(matrices.rows, matrices.columns);
    const std::int64_t batch = kNewtonSchulzSteps * largest_share(matrices.count, load_.shards);
    const auto product = [&](std::string_view name, std::int64_t rows, std::int64_t columns,
                             std::int64_t inner) {
      items_.push_back({LayerPart::residual,
                        Operator{name, GemmShape{rows, columns, inner, batch, Precision::bf16, 2.0, true}}});
    };
    product("newton_schulz_gram", m, m, n);
    product("newton_schulz_square", m, m, m);
    product("newton_schulz_apply", m, n, m);
  }

  const TrainingSpec& training_;
  const SoftwareStack& stack_;
  const ParallelPlan& plan_;
  const OptimizerLoad& load_;
  std::vector<PartItem> items_;
};

}  // namespace

int gather_copies(const SoftwareStack& stack, const ParallelPlan& plan, const OptimizerLoad& load) {
  if (plan.zero != 1 || load.shards <= 1) return 0;
  return stack.sharding.gather_copies_per_layer * load.layers * load.shards;
}

std::vector<WeightMatrices> layer_matrices_per_rank(const ModelSpec& model, const ParallelPlan& plan) {
  const std::int64_t heads = largest_share(model.heads, plan.tensor);
  const std::int64_t query = heads * model.head_dim;
  const std::int64_t key = largest_share(model.kv_heads, plan.tensor) * model.head_dim;
  const std::int64_t ffn = largest_share(model.ffn_hidden, plan.tensor);
  std::vector<WeightMatrices> matrices;
  if (model.attention == AttentionKind::mla) {
    // Into the latents whole on every rank, out of them by head (LatentProductSizes).
    if (model.q_lora_rank > 0) matrices.push_back({model.q_lora_rank, model.hidden, 1});
    matrices.push_back({query, model.q_lora_rank > 0 ? model.q_lora_rank : model.hidden, 1});
    matrices.push_back({model.kv_lora_rank + model.qk_rope_dim, model.hidden, 1});
    matrices.push_back({heads * (model.qk_nope_dim + model.v_dim), model.kv_lora_rank, 1});
    matrices.push_back({model.hidden, heads * model.v_dim, 1});
  } else {
    matrices = {{query, model.hidden, 1}, {key, model.hidden, 2}, {model.hidden, query, 1}};
  }
  matrices.push_back({model.gated ? 2 * ffn : ffn, model.hidden, 1});
  matrices.push_back({model.hidden, ffn, 1});
  return matrices;
}

std::vector<WeightMatrices> trained_matrices(const ModelSpec& model, const TrainingSpec& training,
                                             const ParallelPlan& plan, int layers) {
  std::vector<WeightMatrices> matrices;
  if (layers == 0) return matrices;
  if (training.lora) {
    for (const LowRankAdapter& adapter : adapters_of_layer(model, training, plan)) {
      matrices.push_back({adapter.rank_columns, adapter.in_columns, 1});
      matrices.push_back({adapter.out_columns, training.lora->rank, 1});
    }
  } else {
    matrices = layer_matrices_per_rank(model, plan);
  }
  for (WeightMatrices& each : matrices) each.count *= layers;
  return matrices;
}

double factored_moment_bytes(const std::vector<WeightMatrices>& matrices) {
  double bytes = 0;
  for (const WeightMatrices& each : matrices) {
    bytes += 4.0 * static_cast<double>((each.rows + each.columns) * each.count);
  }
  return bytes;
}

double states_by_matrix(Optimizer optimizer, const std::vector<WeightMatrices>& matrices, double trained,
                        double ends, std::int64_t hidden) {
  if (optimizer != Optimizer::adafactor && optimizer != Optimizer::muon) return 0.0;
  double of_matrices = 0;
  for (const WeightMatrices& each : matrices) of_matrices += each.parameters();
  const double rest = std::max(0.0, trained - of_matrices);
  if (optimizer == Optimizer::muon) return 4.0 * rest;
  const double columns = static_cast<double>(hidden);
  const double of_ends = ends > 0 ? 4.0 * (ends / columns + columns) : 0.0;
  return factored_moment_bytes(matrices) + of_ends + 4.0 * std::max(0.0, rest - ends);
}

double optimizer_traffic(Optimizer optimizer, Precision precision, const OptimizerStorage& storage,
                         bool copies) {
  const OptimizerBytes kept = optimizer_bytes(optimizer, precision, storage);
  // Gradient read; each state read and written.
  double bytes = 4.0 + 2.0 * kept.states;
  // Copies: the narrow state read and an fp32 one written, which the update reads and writes, and back.
  if (copies && storage.states != StateDtype::fp32) bytes += 16.0 * optimizer_states(optimizer);
  if (activation_bytes(precision) >= 4.0) {
    bytes += 8.0;
  } else {
    // The master read and written, the 16-bit weight written, and read where it is part of what is updated.
    const bool reads_weight =
        storage.master == MasterWeights::remainder || storage.master == MasterWeights::none;
    bytes += 2.0 * kept.master + (reads_weight ? 4.0 : 2.0);
  }
  // The update is written, read for its norm and read to be applied, the weight is read for its norm (You et
  // al. 2020, algorithm 2: the trust ratio needs both norms before the weight moves).
  if (optimizer == Optimizer::lamb) bytes += 12.0 + 4.0;
  // The gradient once more; the update written, read for its clipping and to be applied; the weight for its
  // norm.
  if (optimizer == Optimizer::adafactor) bytes += 4.0 + 12.0 + 4.0;
  // The momentum's 16-bit copy written, the orthogonalised one read.
  if (optimizer == Optimizer::muon) bytes += 4.0;
  return bytes;
}

LayerPass optimizer_pass(const TrainingSpec& training, const SoftwareStack& stack, const ParallelPlan& plan,
                         const OptimizerLoad& load) {
  return OptimizerStep(training, stack, plan, load).pass();
}

}  // namespace orrery
