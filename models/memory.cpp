#include "models/memory.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/layer_operators.hpp"
#include "models/layer_shapes.hpp"
#include "models/loop_plan.hpp"
#include "models/low_rank_adapters.hpp"
#include "models/moe_memory.hpp"
#include "models/moe_shape.hpp"
#include "models/offload.hpp"
#include "models/optimizer_step.hpp"
#include "models/schedule.hpp"

namespace orrery {

namespace {

/// Above this loss traffic the loss is made of separate kernels, which keep a second fp32 copy of the logits
/// (softmax and its logarithm). Fused losses move 8 to 16 B a logit, separate kernels 36 to 44 B (assumed:
/// the middle).
constexpr double kSeparateLossBytesPerLogit = 24.0;

/// Bytes a logit that the loss holds beside the logits.
double loss_kept_bytes(const SoftwareStack& stack) {
  if (stack.loss_kept_bytes_per_logit) return *stack.loss_kept_bytes_per_logit;
  return stack.loss_bytes_per_logit > kSeparateLossBytesPerLogit ? 8.0 : 4.0;
}

/// Bytes an element of a product's input that the backward needs: the quantised copy under an 8- or 4-bit
/// recipe.
double kept_input_bytes(const TrainingSpec& training, double element) {
  return is_quantized(training.precision) ? stored_operand_bytes(training.precision) : element;
}

bool trains_with_dropout(const ModelSpec& model) { return model.bias && model.norm == Norm::layernorm; }

/// Most bytes of activations that a stage holds at once when a micro-batch leaves `kept` in a virtual stage
/// from its forward to its backward: follows the stage's order of passes. Weight gradients that have a pass
/// of their own need until then inputs and output gradients of all products: `whole`, what is kept without
/// recomputation (Qi et al. 2023, table 1: 32 of 34 bytes an element).
double peak_in_flight(const Schedule& schedule, int stage, const std::vector<double>& kept,
                      const std::vector<double>& whole) {
  double live = 0;
  double peak = 0;
  for (const SchedulePass& pass : schedule.order[static_cast<size_t>(stage)]) {
    const auto v = static_cast<size_t>(schedule.placement.virtual_stage(stage, pass.chunk));
    switch (pass.kind) {
      case PassKind::forward:
        live += kept[v];
        break;
      case PassKind::backward:
        live -= kept[v];
        break;
      case PassKind::input_gradient:
        live += whole[v] - kept[v];
        break;
      case PassKind::weight_gradient:
        live -= whole[v];
        break;
    }
    peak = std::max(peak, live);
  }
  return peak;
}

/// 1F1B's order repeats once its warm-up is over: four micro-batches a stage show the peak of any number.
Schedule representative_schedule(const TrainingSpec& training, const ParallelPlan& plan) {
  std::int64_t micro_batches = plan.largest_share(training) / training.micro_batch;
  if (plan.schedule != ScheduleKind::gpipe) {
    micro_batches = std::min<std::int64_t>(micro_batches, std::int64_t{4} * plan.pipeline);
  }
  return make_schedule(plan.schedule, plan.pipeline, plan.interleave,
                       static_cast<std::int32_t>(micro_batches));
}

/// Bytes a parameter, before ZeRO divides them.
struct StateBytes {
  double weight, gradient, optimizer;
};

StateBytes state_bytes(const TrainingSpec& training, const SoftwareStack& stack) {
  const double weight = activation_bytes(training.precision);
  const bool mixed = weight < 4.0;
  return {weight, mixed ? gradient_bytes(gradient_dtype_of(training, stack)) : 4.0,
          optimizer_bytes(training).all()};
}

/// Of each of a layer's products, the size of the largest and of all, on one rank.
struct ProductParameters {
  double largest = 0, all = 0;
  /// @param dense  whether any layer has a dense feed-forward part
  /// @param moe    of the layers with experts
  ProductParameters(const ModelSpec& model, const RankShape& shape, bool dense, const MoeProducts& moe)
      : largest(moe.largest), all(moe.all) {
    const double hidden = static_cast<double>(shape.hidden);
    add(hidden * static_cast<double>(shape.attention_columns()));
    if (dense) {
      add(hidden * static_cast<double>(shape.up_columns));
      add(hidden * static_cast<double>(shape.ffn));
    }
    if (model.attention == AttentionKind::mla) {
      const double q_latent = static_cast<double>(model.q_lora_rank);
      const double kv_latent = static_cast<double>(model.kv_lora_rank);
      if (model.q_lora_rank > 0) add(hidden * q_latent);
      add((model.q_lora_rank > 0 ? q_latent : hidden) * static_cast<double>(shape.query_columns()));
      add(hidden * (kv_latent + static_cast<double>(model.qk_rope_dim)));
      add(kv_latent * static_cast<double>(shape.heads * (model.qk_nope_dim + model.v_dim)));
    } else {
      add(hidden * static_cast<double>(shape.qkv_columns()));
    }
  }
  void add(double product) {
    largest = std::max(largest, product);
    all += product;
  }
};

ProductParameters products_of(const ModelSpec& model, const TrainingSpec& training,
                              const SoftwareStack& stack, const ParallelPlan& plan, const RankShape& shape) {
  const std::vector<LayerKind> kinds = layer_kinds(model);
  const bool dense = std::any_of(kinds.begin(), kinds.end(), [](const LayerKind& kind) { return !kind.moe; });
  return {model, shape, dense, model.moe ? moe_products(model, training, stack, plan) : MoeProducts{}};
}

/// Gradients of a layer's activations that live at once in its backward: of the MLP's inner activations and
/// of the residual stream, whose old and new gradient exist together.
double backward_working_set(const RankShape& shape) {
  const double inner = static_cast<double>(shape.tokens) * static_cast<double>(shape.up_columns + shape.ffn);
  return (inner + 2.0 * shape.hidden_elements) * shape.element;
}

/// What one layer of a kind holds on one rank.
struct LayerMemory {
  int layers = 0;                ///< of this kind on the stage
  double parameters = 0;         ///< numbers
  double expert_parameters = 0;  ///< of these, its experts'
  double matrices = 0;           ///< of all, weights of its products
  double trained = 0;            ///< all parameters, or LoRA's adapters beside them
  double kept = 0,
         kept_recomputing = 0;  ///< bytes of activations a micro-batch, without and with recomputation
};

/// What one stage holds.
struct StageMemory {
  double parameters = 0, gradients = 0, optimizer = 0, activations = 0, buffers = 0;
  double trained = 0;       ///< parameters
  double step = 0;          ///< most at one time between backward and forward, when the activations are gone
  double step_blocks = 0;   ///< all that the step asks the allocator for, no cached block being large enough
  double large_blocks = 0;  ///< the same of casts of gradients, beside the activations' blocks
  double recorded = 0;      ///< freed, but not to be handed out before a collective's stream is through
  /// Of `step`, what the activations do not leave room for.
  double step_beyond_activations() const { return std::max(0.0, step - activations); }
  /// Most at one time.
  double total() const {
    return parameters + gradients + optimizer + activations + buffers + step_beyond_activations();
  }
  /// What a caching allocator takes from the device where nothing stops it: blocks that the activations left
  /// stay, and are too small for the casts of whole gradients and what the step flattens. The step finds the
  /// casts' block.
  double reserved() const {
    return parameters + gradients + optimizer + activations + buffers + std::max(step_blocks, large_blocks) +
           recorded;
  }
};

class StageCounter {
 public:
  StageCounter(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
               const ParallelPlan& plan, const HostLead& lead)
      : model_(model),
        training_(training),
        stack_(stack),
        plan_(plan),
        lead_(lead),
        shape_(model, training, stack, plan),
        products_(products_of(model, training, stack, plan, shape_)),
        schedule_(representative_schedule(training, plan)),
        ranges_(layers_by_virtual_stage(training, plan)),
        offloaded_(layers_with_offload(training, plan)),
        kind_of_layer_(kinds_by_layer(model)) {
    for (const LayerKind& kind : layer_kinds(model)) {
      LayerMemory& layer = layers_.emplace_back();
      layer.parameters = layer_parameters_per_rank(model, plan, kind);
      if (kind.moe) layer.expert_parameters = moe_parameters_per_rank(model, plan).experts;
      working_set_ = std::max(working_set_, kind.moe ? moe_working_set(model, training, stack, plan)
                                                     : backward_working_set(shape_));
      layer.matrices = layer_matrix_parameters_per_rank(model, plan, kind);
      layer.trained = layer.parameters;
      if (training.lora) {
        layer.trained = adapter_parameters_per_rank(model, training, plan);
        layer.parameters += layer.trained;
      }
      layer.kept = layer_activation_bytes(model, training, stack, plan, false, kind).base();
      layer.kept_recomputing = training.recompute == Recompute::none
                                   ? layer.kept
                                   : layer_activation_bytes(model, training, stack, plan, true, kind).base();
    }
  }

  StageMemory count(int stage) const {
    StageMemory memory;
    const bool first = holds_end(stage, true);
    const bool last = holds_end(stage, false);
    const std::vector<LayerMemory> layers = layers_of(stage);
    double ends = 0.0;
    if (first) ends += embedding_parameters_per_rank(model_, training_, plan_, stack_.vocab_multiple);
    if (last) {
      ends += head_parameters_per_rank(model_, plan_, stack_.vocab_multiple);
      ends += model_.mtp_layers * token_prediction_parameters_per_rank(model_, plan_);
    }
    count_states(memory, layers, ends);
    count_activations(memory, stage, first, last);
    if (plan_.sequence && plan_.tensor > 1)
      memory.buffers += stack_.gathered_buffers * shape_.gathered_bytes();
    memory.buffers += stack_.framework_memory.base();
    memory.recorded = recorded_bytes(stage);
    return memory;
  }

 private:
  std::vector<size_t> virtual_stages_of(int stage) const {
    std::vector<size_t> result;
    result.reserve(static_cast<size_t>(schedule_.placement.chunks()));
    for (int chunk = 0; chunk < schedule_.placement.chunks(); ++chunk) {
      result.push_back(static_cast<size_t>(schedule_.placement.virtual_stage(stage, chunk)));
    }
    return result;
  }
  /// Whether the stage has an embedding, or a head.
  bool holds_end(int stage, bool embedding) const {
    const std::vector<size_t> held = virtual_stages_of(stage);
    return std::any_of(held.begin(), held.end(), [&](size_t v) {
      const auto number = static_cast<int>(v);
      return embedding ? schedule_.placement.is_first(number) : schedule_.placement.is_last(number);
    });
  }

  /// The kinds of layer, with how many of each are on the stage.
  std::vector<LayerMemory> layers_of(int stage) const {
    std::vector<LayerMemory> layers = layers_;
    for (const size_t v : virtual_stages_of(stage)) {
      for (int i = 0; i < ranges_[v].count; ++i) ++layers[kind_of(ranges_[v].first + i)].layers;
    }
    if (holds_end(stage, false)) {
      for (int i = 0; i < model_.mtp_layers; ++i) ++layers[kind_of(model_.layers + i)].layers;
    }
    return layers;
  }
  size_t kind_of(int layer) const { return static_cast<size_t>(kind_of_layer_[static_cast<size_t>(layer)]); }

  /// Bytes that a gather of new parameters holds at a time.
  double gathered_at_once(double parameters) const {
    const double bucket = stack_.sharding.gather_bucket_parameters;
    const double gathers = bucket > 0 ? std::max(1.0, std::floor(parameters / bucket)) : 1.0;
    return parameters / gathers * stack_.sharding.gather_buffer_bytes;
  }

  /// Freed activations that collectives of the tensor group have worked on, and the slices that
  /// reduce-scatters made of them (the residual addition frees those), in the layers whose forward the host
  /// is ahead by.
  double recorded_bytes(int stage) const {
    if (plan_.tensor == 1 || stack_.recorded_activations == 0 || stack_.blocking_launches) return 0.0;
    const int layers = layers_of_stage(plan_, stage);
    std::vector<double> passes(ranges_.size(), 1.0 / plan_.interleave);
    // What a stage receives stops its host; the first receives nothing before its first backward.
    const double in_a_row = stage == 0 ? peak_in_flight(schedule_, stage, passes, passes) : 1.0;
    const double before = plan_.pipeline == 1 ? static_cast<double>(plan_.micro_batches(training_) - 1) : 0.0;
    const double reduced = plan_.sequence ? shape_.hidden_elements * shape_.element : 0.0;
    return lead_.layers_queued(layers, in_a_row, before) * stack_.recorded_activations *
           (shape_.gathered_bytes() + reduced);
  }

  /// What the cast of a product's weight adds to its 16 bits: it is kept from the first micro-batch on,
  /// beside them or, where it is the parameter itself or frozen (nothing updates its 16 bits), in their
  /// place.
  double cast_weight_bytes(double weight_bytes) const {
    if (!is_quantized(training_.precision)) return 0.0;
    const bool parameters_themselves = training_.lora || (stack_.fp8_parameter_gather && plan_.zero >= 1 &&
                                                          operand_bytes(training_.precision) == 1.0);
    return stack_.quantize.weight_bytes - (parameters_themselves ? weight_bytes : 0.0);
  }

  void count_states(StageMemory& memory, const std::vector<LayerMemory>& layers, double ends) const {
    const StateBytes bytes = state_bytes(training_, stack_);
    const double cast = cast_weight_bytes(bytes.weight);
    double parameters = ends;
    double trained = training_.lora ? 0.0 : ends;
    double trained_experts = 0.0;
    double casts = 0.0;
    double largest = 0.0;  // two layers of the kind with most parameters, or what the stage has of it
    double one = 0.0;
    for (const LayerMemory& layer : layers) {
      parameters += layer.layers * layer.parameters;
      trained += layer.layers * layer.trained;
      if (!training_.lora) trained_experts += layer.layers * layer.expert_parameters;
      casts += layer.layers * layer.matrices * cast;
      largest = std::max(
          largest, std::min(layer.layers, 2) * (layer.parameters + layer.matrices * cast / bytes.weight));
      one = std::max(one, layer.trained);
    }
    const double dense_shards = plan_.shard_group > 0 ? plan_.shard_group : plan_.data * plan_.context;
    // Experts are sharded over the ranks that hold the same ones: of all parameters together, this is how
    // many times fewer a rank has.
    const double shards =
        trained > 0
            ? trained / ((trained - trained_experts) / dense_shards + trained_experts / plan_.expert_shards())
            : dense_shards;
    memory.parameters = parameters * bytes.weight + casts;
    // What reduces gradients beside the backward keeps its own copy of them.
    const bool hooks = plan_.data * plan_.context > 1 && (plan_.zero != 1 || stack_.sharding.hooks);
    const double beside = hooks || stack_.sharding.hooks ? stack_.kept_gradient_bytes : 0.0;
    memory.gradients = trained * (bytes.gradient + beside);
    memory.trained = trained;
    memory.optimizer = trained * bytes.optimizer;
    int held_layers = 0;
    for (const LayerMemory& layer : layers) held_layers += layer.layers;
    memory.optimizer +=
        states_by_matrix(training_.optimizer, trained_matrices(model_, training_, plan_, held_layers),
                         trained, training_.lora ? 0.0 : ends, model_.hidden);
    if (plan_.zero >= 1) memory.optimizer /= shards;
    if (training_.sync.kind == SyncKind::async) memory.optimizer /= plan_.data;  // on the servers
    memory.optimizer += trained * outer_state_bytes(training_) / (plan_.zero >= 1 ? shards : 1.0);
    const bool copies = stack_.copies_narrow_states && training_.optimizer_storage.states != StateDtype::fp32;
    const double copied = copies ? 4.0 * optimizer_states(training_.optimizer) : 0.0;
    // One after the other: gradients are reduced, the optimizer's step, new parameters are gathered into the
    // blocks that the step leaves.
    double reduced = 0.0;
    if (plan_.data * plan_.context > 1) {
      const double bucket = plan_.bucket > 0 ? plan_.bucket : stack_.bucket_parameters;
      reduced = stack_.reduction_buffers * std::min(bucket, trained) * bytes.gradient;
    }
    const double stepped = (stack_.step_buffer_bytes + copied) * trained / (plan_.zero >= 1 ? shards : 1.0);
    const double gathered = plan_.zero == 1 && dense_shards > 1 ? gathered_at_once(parameters) : 0.0;
    memory.step = std::max({reduced, stepped, gathered});
    memory.step_blocks = reduced + std::max(stepped, gathered);
    // What reduces and frees only after a stage's last backward.
    const bool stays_whole = stack_.sharding.gradients_stay_whole(plan_.zero, plan_.pipeline);
    if (plan_.zero >= 2 && !stays_whole) {
      memory.gradients /= shards;
      // One layer's gradients exist whole until they are reduced.
      memory.buffers += one * bytes.weight;
    }
    if (plan_.zero >= 3) {
      // Of the products' type are the unit at work, the next one, and the root unit (embedding and head),
      // which is not freed after its forward (PyTorch FSDP). The shard is the optimizer's fp32 master, shown
      // as parameters, which it is, unless shards of the products' type are kept beside it or it is on the
      // host.
      const bool narrow = stack_.sharding.keeps_weight_shards || training_.offload.optimizer;
      const double narrow_bytes = training_.lora ? bytes.weight : gathered_weight_bytes(training_, stack_);
      memory.parameters = trained * (narrow ? narrow_bytes : std::max(bytes.weight, 4.0)) / shards;
      if (bytes.weight < 4.0 && !narrow) memory.optimizer -= memory.parameters;
      // Frozen weights have no master: their shard is of the products' type.
      if (training_.lora) memory.parameters += ((parameters - trained) * bytes.weight + casts) / shards;
      memory.buffers += stays_whole ? parameters * bytes.weight + casts : (largest + ends) * bytes.weight;
    }
    if (training_.offload.optimizer) memory.optimizer = 0.0;
    if (stack_.fused_gradient_accumulation && !training_.lora) {
      // Products that add into the main gradient still hand autograd a gradient of the weight's shape and
      // type: one buffer for each shape in a layer stays allocated (Transformer Engine, module/base.py,
      // get_dummy_wgrad).
      memory.buffers += products_.all * bytes.weight;
    }
  }

  void count_activations(StageMemory& memory, int stage, bool first, bool last) const {
    const int layers = layers_of_stage(plan_, stage);
    // The layer whose backward runs has all its activations again; where the schedule splits every backward
    // they then stay (peak_in_flight).
    const auto& passes = schedule_.order[static_cast<size_t>(stage)];
    const bool frees_layers = std::any_of(passes.begin(), passes.end(),
                                          [](const SchedulePass& p) { return p.kind == PassKind::backward; });
    double restored = 0.0;
    std::vector<double> kept(ranges_.size(), 0.0);  // by virtual stage
    std::vector<double> whole = kept;
    double offloaded = 0.0;
    for (const size_t v : virtual_stages_of(stage)) {
      for (int i = 0; i < ranges_[v].count; ++i) {
        const int number = ranges_[v].first + i;
        const LayerMemory& layer = layers_[kind_of(number)];
        const bool recomputes = i < ranges_[v].recomputed;
        if (recomputes && frees_layers) restored = std::max(restored, layer.kept - layer.kept_recomputing);
        if (offloaded_[static_cast<size_t>(number)]) {
          offloaded = std::max(offloaded, layer.kept);
          continue;
        }
        kept[v] += recomputes ? layer.kept_recomputing : layer.kept;
        whole[v] += layer.kept;
      }
      if (schedule_.placement.is_last(static_cast<int>(v))) {
        kept[v] += token_prediction_bytes(recomputes_token_prediction(training_));
        whole[v] += token_prediction_bytes(false);
      }
      if (schedule_.placement.is_first(static_cast<int>(v))) {
        kept[v] += embedding_bytes();
        whole[v] += embedding_bytes();
      }
      if (plan_.pipeline > 1) {
        const bool slices = stack_.scatter_gather_pipeline && !plan_.sequence;
        const double sent = shape_.hidden_elements / (slices ? plan_.tensor : 1);
        const double borders = stack_.pipeline_buffers * sent * shape_.element;
        kept[v] += borders;
        whole[v] += borders;
      }
    }
    // Of the layers on the host one leaves or returns while its neighbour is worked on.
    memory.buffers += std::min(training_.offload.activations_layers, 2) * offloaded;
    memory.activations = peak_in_flight(schedule_, stage, kept, whole);
    const double weight_gradient =
        stack_.fused_gradient_accumulation ? 0.0 : products_.largest * activation_bytes(training_.precision);
    double transient = layers > 0 ? restored + working_set_ + weight_gradient : 0.0;
    // Gradients of a backward, when the activations of its micro-batch are gone.
    const double one_pass = *std::max_element(kept.begin(), kept.end());
    transient = std::max(transient, stack_.backward_gradient_bytes * memory.trained - one_pass);
    // The heads' logits of all predictions wait for the backward together.
    const double heads = 1.0 + model_.mtp_layers;
    if (last) {
      const double tokens = static_cast<double>(shape_.head_tokens);
      const double logits = tokens * static_cast<double>(shape_.vocab);
      const double copies = shape_.element + loss_kept_bytes(stack_);
      // Input of the final norm and of the product, the logits in the activations' type and the loss's
      // copies.
      transient =
          std::max(transient, heads * (logits * copies + 2.0 * shape_.hidden_elements * shape_.element));
    }
    // Gradients that are cast one tensor at a time.
    const double table =
        first || last ? static_cast<double>(shape_.vocab) * static_cast<double>(shape_.hidden) : 0.0;
    const double cast = stack_.gradient_cast_bytes * std::max(table, products_.largest);
    memory.large_blocks = std::min(transient, cast);
    memory.activations += std::max(transient, cast);
  }

  /// What the embedding keeps of a micro-batch: its dropout's mask and the input of its norm.
  double embedding_bytes() const {
    return shape_.hidden_elements * ((trains_with_dropout(model_) ? 1.0 : 0.0) +
                                     (model_.normalises_embedding() ? shape_.element : 0.0));
  }

  /// Activations that the multi-token-prediction layers keep for one micro-batch: their transformer layers',
  /// the inputs of two norms and of the projection (recomputed in full: the former, one of which is the
  /// transformer layer's).
  double token_prediction_bytes(bool recomputes) const {
    const double input = kept_input_bytes(training_, shape_.element);
    const double projection = shape_.hidden_elements * (recomputes && training_.recompute == Recompute::full
                                                            ? shape_.element
                                                            : 2.0 * shape_.element + 2.0 * input);
    double bytes = 0.0;
    for (int i = 0; i < model_.mtp_layers; ++i) {
      const LayerMemory& layer = layers_[kind_of(model_.layers + i)];
      bytes += projection + (recomputes ? layer.kept_recomputing : layer.kept);
    }
    return bytes;
  }

  const ModelSpec& model_;
  const TrainingSpec& training_;
  const SoftwareStack& stack_;
  const ParallelPlan& plan_;
  const HostLead& lead_;
  RankShape shape_;
  ProductParameters products_;
  Schedule schedule_;
  std::vector<LayerRange> ranges_;  // by virtual stage
  std::vector<bool> offloaded_;     // by layer
  std::vector<int> kind_of_layer_;
  std::vector<LayerMemory> layers_;  // by kind, without their number
  double working_set_ = 0;
};

}  // namespace

Bytes layer_activation_bytes(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                             const ParallelPlan& plan, bool recomputes, LayerKind kind) {
  const RankShape shape(model, training, stack, plan);
  const double hidden_bytes = shape.hidden_elements * shape.element;
  if (recomputes && training.recompute == Recompute::full) return Bytes(hidden_bytes);

  const double tokens = static_cast<double>(shape.tokens);
  const double head_dim = static_cast<double>(shape.head_dim);
  const double input_bytes = kept_input_bytes(training, shape.element);
  const bool unfused = stack.attention_kernel == AttentionKernel::unfused;
  const bool dropout = trains_with_dropout(model);
  const bool drops_scores = recomputes && recomputes_module(training, "core_attn");
  const bool drops_mlp = recomputes && recomputes_module(training, "mlp");
  const bool drops_norms = recomputes && recomputes_module(training, "layernorm");
  // A product's input is kept for its weight's gradient: of a frozen weight for its adapter only (LoRA), in
  // 16 bits.
  const auto input_bytes_of = [&](bool adapted) {
    return !training.lora ? input_bytes : adapted ? shape.element : 0.0;
  };
  const double attention_input = input_bytes_of(training.lora && training.lora->attention);
  const double mlp_input = input_bytes_of(training.lora && training.lora->mlp);

  double kept = 2.0 * hidden_bytes;  // inputs of the two norms
  // Inputs of QKV and MLP; the router reads its own in the activations' type.
  if (!drops_norms)
    kept += shape.hidden_elements * (attention_input + (kind.moe ? shape.element : mlp_input));
  const bool drops_heads = recomputes && recomputes_module(training, "mla_up_proj");
  const double attention_operand = stack.fp8_attention ? stack.fp8_attention_costs.kept : shape.element;
  if (!drops_heads) kept += tokens * static_cast<double>(shape.qkv_columns()) * attention_operand;
  if (model.attention == AttentionKind::mla) {
    // Before and after their norms, as shards of the sequence; of the rotary keys all tokens. The norms are
    // part of the products that run again (Megatron-core, gpt_layer_specs.py: TELayerNormColumnParallelLinear
    // for linear_q_up_proj and linear_kv_up_proj).
    const double rows = plan.sequence ? tokens / plan.tensor : tokens;
    kept += rows * static_cast<double>(model.q_lora_rank + model.kv_lora_rank) *
            (shape.element + (drops_heads ? 0.0 : attention_input));
    kept += tokens * static_cast<double>(model.qk_rope_dim) * shape.element;
  }
  if (model.qk_norm) {
    kept += tokens * static_cast<double>(shape.heads + shape.kv_heads) * head_dim * shape.element;
  }
  const double attention_output = tokens * static_cast<double>(shape.attention_columns());
  kept += attention_output * shape.element;
  if (is_quantized(training.precision) && !training.lora)
    kept += attention_output * input_bytes;  // the product keeps its own copy
  if (unfused && !drops_scores) {
    // Softmax; with dropout also its mask and its output.
    const double scores = tokens * static_cast<double>(shape.heads) * static_cast<double>(shape.seq);
    kept += scores * (dropout ? 2.0 * shape.element + 1.0 : shape.element);
  }
  if (!unfused) kept += 4.0 * tokens * static_cast<double>(shape.heads);  // fp32 log of the softmax's sum
  if (kind.moe) {
    kept += moe_kept_bytes(model, training, stack, plan, recomputes);
  } else if (!drops_mlp) {
    kept +=
        tokens * static_cast<double>(shape.up_columns) * activation_input_bytes(model, stack, shape.element);
    kept += tokens * static_cast<double>(shape.ffn) * mlp_input;
    if (model.gated) kept += tokens * static_cast<double>(shape.ffn) * stack.gated_activation_bytes_extra;
  }
  if (dropout) kept += 2.0 * shape.hidden_elements;  // masks after attention and MLP
  kept += stack.activation_bytes_extra * shape.hidden_elements;
  return Bytes(kept);
}

MemoryUse memory_use(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                     const ParallelPlan& plan, Bytes collective_buffers, const HostLead& lead,
                     Bytes capacity) {
  const StageCounter counter(model, training, stack, plan, lead);
  const Bytes outside = collective_buffers + stack.context_memory;
  // Where the GPU has no more, the allocator waits for what is recorded and gives back what it only reserves.
  const auto reserved_of = [&](const StageMemory& memory) {
    const Bytes live(memory.total());
    const Bytes wanted(memory.reserved());
    return capacity > Bytes(0) ? max(live, min(wanted, capacity - outside)) : wanted;
  };
  MemoryUse use;
  StageMemory fullest;
  for (int stage = 0; stage < plan.pipeline; ++stage) {
    const StageMemory memory = counter.count(stage);
    const Bytes reserved = reserved_of(memory);
    use.per_stage_peak.push_back(Bytes(memory.total()) + outside);
    use.reserved = max(use.reserved, reserved + outside);
    const Bytes logged = stack.logs_reserved ? reserved : Bytes(memory.total());
    if (stage == 0 || !stack.logs_first_stage) use.logged_peak = max(use.logged_peak, logged);
    if (stage == 0 || memory.total() > fullest.total()) {
      fullest = memory;
      use.fullest_stage = stage;
    }
  }
  use.parameters = Bytes(fullest.parameters);
  use.gradients = Bytes(fullest.gradients);
  use.optimizer = Bytes(fullest.optimizer);
  use.activations = Bytes(fullest.activations);
  use.buffers = Bytes(fullest.buffers + fullest.step_beyond_activations());
  use.collective = collective_buffers;
  use.context = stack.context_memory;
  use.allocator_peak = Bytes(fullest.total());
  use.peak = use.allocator_peak + outside;
  return use;
}

}  // namespace orrery
