#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/moe_software.hpp"
#include "models/training_spec.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/cost/cost_model.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {

enum class Launch { eager, compiled, cuda_graph };
enum class Fusion { none, partial, full };

/// Parts of a layer that CUDA graphs cover, one graph a layer and pass, where no graph covers the iteration:
/// attention with its norm and residual addition; the norm before the router, the router and shared experts
/// that nothing overlaps; counting tokens and, where the sender copies them, ordering them by destination.
/// Everything else is launched one by one.
struct GraphScope {
  bool attention = false, moe_router = false, moe_preprocess = false;
  bool partial() const { return attention || moe_router || moe_preprocess; }
};
inline constexpr std::array<std::string_view, 3> kGraphParts = {"attention", "moe_router", "moe_preprocess"};

/// Groups of ranks that a framework creates a communicator for beside those that the plan needs: all, those
/// of one copy of the model, of its stages, its tensor ranks once more, the first and the last stage.
enum class FurtherGroup : std::uint8_t { world, model, pipeline, tensor, ends };
inline constexpr std::array<std::string_view, 5> kFurtherGroups = {"world", "model", "pipeline", "tensor",
                                                                   "ends"};

/// What a plan may ask for that some frameworks have not: parallelism of these kinds, selective
/// recomputation, overlap.tensor at all or without sequence parallelism, ulysses over more ranks than there
/// are key heads.
enum class PlanFeature : std::uint8_t {
  tensor,
  pipeline,
  context,
  sequence,
  selective_recompute,
  tensor_overlap,
  tensor_overlap_alone,
  repeated_key_heads
};
inline constexpr std::array<std::string_view, 8> kPlanFeatures = {"tensor",
                                                                  "pipeline",
                                                                  "context",
                                                                  "sequence",
                                                                  "selective_recompute",
                                                                  "tensor_overlap",
                                                                  "tensor_overlap_alone",
                                                                  "repeated_key_heads"};

/// In the order of AttentionKernel.
inline constexpr std::array<std::string_view, 6> kAttentionKernels = {"unfused", "flash1", "flash2",
                                                                      "flash3",  "flash4", "cudnn"};
inline constexpr std::array<std::string_view, 3> kFusions = {"none", "partial", "full"};

/// Memory traffic of a transformer layer's element-wise kernels, in passes. One pass reads or writes every
/// element once. Widths: `hidden` = tokens x hidden (divided by tensor under sequence parallelism), `sharded`
/// = the same divided by tensor always, `ffn` = tokens x ffn_hidden / tensor, `rope` = tokens x (heads +
/// kv_heads) x head_dim x rotary_fraction / tensor (only with rotary positions); all in activation bytes (2).
struct ElementwisePasses {
  double hidden = 0, sharded = 0;
  double ffn = 0;        ///< activation between the two products of a plain feed-forward layer
  double ffn_gated = 0;  ///< the same of a gated one (swiglu, geglu), in its stead
  double ffn_clamp = 0;  ///< of clamping a gated activation's inputs in kernels of their own, beside it
  double rope = 0;
  double rope_scaled = 0;  ///< where turned queries and keys are scaled, too; 0: as `rope`
  double rope_latent = 0;  ///< latent attention without a kernel that turns queries in place; 0: as `rope`
  double feed_forward(bool gated, bool clamped = false) const {
    return (gated ? ffn_gated : ffn) + (clamped ? ffn_clamp : 0.0);
  }
};

/// Kernels that take one element at a time, over some width of a layer.
struct UnvectorisedKernels {
  double passes = 0;                   ///< over the width
  double strided = 0, converting = 0;  ///< kernels over the width, of both kinds
};

/// A framework's element-wise kernels that no vector load serves, because an operand is a slice of rows or
/// one row for all (strided), or of another type than the others (converting), and what an element costs
/// there.
struct Unvectorised {
  Seconds strided, converting;                        ///< an element's instructions on one SM
  UnvectorisedKernels clamp_forward, clamp_backward;  ///< feed-forward width, for `clamped_activation`
  UnvectorisedKernels rope_forward, rope_backward;    ///< rotary width, with a `rotary_scale`
  UnvectorisedKernels bias_forward, bias_backward;    ///< experts' rows x hidden, for `bias`
  Seconds of_element(const UnvectorisedKernels& kernels) const {
    return kernels.strided * strided + kernels.converting * converting;
  }
};

/// Element-wise traffic of a low-rank adapter, in passes over its input and over its output.
struct AdapterPasses {
  double input = 0, output = 0;
};

/// What casting to 8 or 4 bits moves and keeps beside the products.
struct QuantizeCounts {
  ElementwisePasses forward, backward;  ///< casts of activations and of their gradients
  double weight_traffic = 0;  ///< bytes moved a matrix weight and step to cast it from its 16-bit copy
  double gathered_weight_traffic = 0;  ///< the same where the gather brings 8-bit parameters
  double weight_bytes = 0;             ///< kept of a matrix weight in the products' format
  /// Share of the casts' traffic that is left where no weight gradient reads them.
  double frozen_share = 1.0;
};

/// Traffic that merging a context ring's results over its ranks costs a rank, in passes over one tensor.
struct RingPasses {
  double first = 0, further = 0;  ///< of the first rank's keys and values, of each further one's
  double of(int ranks) const { return first + further * (ranks - 1); }
};

/// The same by tensor: the output and the queries' gradients, both as wide as the queries, and what goes
/// round.
struct RingMerge {
  RingPasses output, key_values;                   ///< of a forward
  RingPasses query_gradient, key_value_gradients;  ///< of a backward
};

/// What attention in 8 bits moves beside its kernels, in passes (2 bytes an element) over queries, keys and
/// values (inputs) or over the output, and what it leaves to others.
struct Fp8Attention {
  double cast_inputs = 0, cast_output = 0;                    ///< of a forward
  double cast_output_gradient = 0, cast_input_gradients = 0;  ///< of a backward
  double kept = 0;  ///< bytes an input element that the backward keeps; 0: the framework has none
  /// Bytes an element that groups which exchange heads send of the four.
  double sent_inputs = 2, sent_output = 2, sent_output_gradient = 2, sent_input_gradients = 2;
};

/// What the training framework does, as data: no framework's name appears in C++ (contract section 2,
/// `software`). Every number of a preset stands in its JSON with a source.
struct SoftwareStack {  // NOLINT(clang-analyzer-optin.performance.Padding): grouped by meaning
  std::string name;
  YearMonth date;
  AttentionKernel attention_kernel = AttentionKernel::cudnn;
  /// Where the framework picks its kernel by the GPU: kernels by DeviceSpec::architecture.
  std::vector<std::pair<std::string, AttentionKernel>> attention_kernel_on;
  /// The same for values narrower than queries and keys (latent attention).
  std::vector<std::pair<std::string, AttentionKernel>> attention_kernel_of_unequal_heads;
  std::optional<AttentionKernel> unusable_attention_kernel;  ///< in whose place attention_kernel is unfused
  Fusion fusion = Fusion::full;
  Launch launch = Launch::eager;
  GraphScope graph_scope;  ///< under cuda_graph; no part: a graph covers the iteration
  GraphScope graph_parts;  ///< that the framework can graph on their own
  GradientDtype gradient_dtype = GradientDtype::fp32;
  std::string collectives = "nccl";
  std::string collectives_version;  ///< as given ("2.21"); empty: the library's version of the stack's date
  MoeDispatcher moe_dispatcher = MoeDispatcher::all_to_all;  ///< of no effect without a mixture of experts
  MoeSoftware moe;
  bool fp8_parameter_gather = false;
  bool fp8_output_projection = false;  ///< the product that makes the logits is in the recipe's format, too
  bool fp8_attention = false;  ///< attention runs in 8 bits (dot-product attention, its operands cast for it)
  Fp8Attention fp8_attention_costs;
  ElementwisePasses forward_passes, backward_passes;
  Unvectorised unvectorised;  ///< beside those passes
  QuantizeCounts quantize;    ///< added under a quantised precision
  /// Where the casts depend on the GPU (products that take an operand in any layout need no transposed copy):
  /// counts by DeviceSpec::architecture.
  std::vector<std::pair<std::string, QuantizeCounts>> quantize_on;
  AdapterPasses adapter_forward, adapter_backward;
  bool quantized_gather = false;  ///< tensor groups gather activations in the products' format
  RingMerge ring_merge;
  double head_exchange_passes = 0;  ///< over each tensor that context groups exchange heads of, both ends
  double attention_score_passes_forward =
      0;  ///< unfused attention: passes over batch x heads x seq^2 / tensor
  double attention_score_passes_backward = 0;
  int kernels_forward = 0, kernels_backward = 0;  ///< launches a layer (element-wise and products)
  double loss_bytes_per_logit = 16;               ///< traffic of loss, forward + backward, in bytes per logit
  double gradient_accumulation_bytes =
      0;  ///< traffic per parameter and micro-batch of accumulating outside the product
  bool fused_gradient_accumulation =
      true;  ///< the weight-gradient product adds into the main gradient itself
  double optimizer_bytes_per_parameter =
      0;  ///< traffic per locally updated parameter (Adam in mixed precision), see optimizer
  double optimizer_bytes_per_resident =
      0;                      ///< traffic per parameter resident on the GPU (zeroing, clipping, copying)
  int optimizer_kernels = 0;  ///< launches of an optimizer step
  /// Host time of one pass of a layer: per_layer_* + per_kernel x launches + per_collective x its blocking
  /// collectives. Presets of eager frameworks give per_layer_* with the launches in it and per_kernel zero.
  struct Host {
    Seconds per_kernel, per_layer_forward, per_layer_backward, per_collective, per_step;
    Seconds per_graph;  ///< to start a graph over parts of a layer
    /// What waiting for a kernel adds to its launch under blocking_launches: the way to the GPU and back.
    Seconds per_blocked_launch;
    /// What a check before a collective of two ranks of a node takes under checked_collectives, and each
    /// further rank and node more (check_time).
    Seconds per_check, per_checked_rank, per_checked_node;
    /// A mixture-of-experts layer adds these in each of its passes: per_expert for every expert on the rank.
    Seconds per_moe_router, per_moe_preprocess, per_moe_experts, per_expert;
    Seconds per_overlapped_pass;  ///< the same where exchanges run beside another micro-batch's kernels
    Seconds per_gather_copy;      ///< to start one of sharding.gather_copies_per_layer's copies
  } host;
  /// The host waits for each kernel before it starts the next (CUDA_LAUNCH_BLOCKING=1): host time and kernels
  /// add up, and nothing runs beside anything else.
  bool blocking_launches = false;
  /// Before each collective the ranks of its group compare over the host's network what they are about to run
  /// (TORCH_DISTRIBUTED_DEBUG=DETAIL).
  bool checked_collectives = false;
  /// The framework's Adam can keep states and master weights in less than fp32 (OptimizerStorage).
  bool narrow_optimizer = false;
  /// Its update works in fp32: narrower states are copied there and back, all of a rank's at a time.
  bool copies_narrow_states = false;
  /// How ZeRO shards whole parameters, layer by layer (ZeRO 3, FSDP), and with pipelines.
  struct Sharding {
    int prefetch_forward = 1;   ///< units gathered ahead of the one at work
    int prefetch_backward = 1;  ///< the same, in reverse order
    bool keeps_last = false;    ///< the last layer stays gathered from its forward to its backward
    int most_zero = 3;          ///< highest ZeRO level that the framework has
    /// Highest ZeRO level that runs with a pipeline. Level 3 then keeps a stage's parameters gathered from
    /// the first micro-batch's forward to the last one's backward, and reduces its gradients after that.
    int most_zero_with_pipeline = 2;
    /// With a pipeline level 2 reduces as level 3 does: whole gradients, after a stage's last backward.
    bool reduces_once_with_pipeline = false;
    bool gradients_stay_whole(int zero, int pipeline) const {
      return pipeline > 1 && (zero >= 3 || (zero == 2 && reduces_once_with_pipeline));
    }
    /// Level 3 keeps shards of the products' type beside the fp32 ones; else it casts those to gather them.
    bool keeps_weight_shards = false;
    // ZeRO 1:
    bool hooks = true;            ///< gradients can be reduced beside the backward; else in one call after it
    bool reduces_to_all = false;  ///< by an all-reduce, of whose result a rank reads its share
    /// Where gradients are reduced in buckets, parameters are gathered in the same ones, even if nothing
    /// hides that; else at once.
    bool gathers_by_bucket = false;
    /// Parameters come back in shares that are copied into place: bytes a parameter that this moves, and
    /// tensors a layer, of each of which every rank's share has a kernel of its own.
    double gather_copy_bytes = 0;
    int gather_copies_per_layer = 0;
    double gather_buffer_bytes =
        0;  ///< a parameter that the gather holds outside the allocator's free blocks
    /// Parameters that are gathered at a time (at least so many, below twice); 0: all.
    double gather_bucket_parameters = 0;
  } sharding;
  bool overlap_gradient = false, overlap_parameter = false;
  bool overlap_tensor = false, overlap_pipeline = false;  ///< the latter under an interleaved schedule only
  bool overlap_expert = false;
  double tensor_overlap_exposed =
      1.0;  ///< share of tensor collectives that stays exposed under overlap.tensor
  /// Tensor collectives of the backward run beside the product that does not need them (the input's gather
  /// beside the data gradient, the data gradient's reduction beside the weight gradient); what outlasts the
  /// product is exposed.
  bool async_tensor_backward = false;
  /// Full recomputation of a layer ends once all that its backward reads is there again: before the last
  /// product, whose output only the residual sum takes (torch.utils.checkpoint, non-reentrant).
  bool recompute_stops_early = false;
  /// Kernels beside a collective of their own layer take (1 + this) times as long for as long as both run.
  double overlap_slowdown = 0.0;
  double pipeline_overlap_exposed = 1.0;  ///< the same for pipeline sends under overlap.pipeline
  /// Without sequence parallelism each tensor rank sends its slice of an activation to the next stage, which
  /// gathers the slices over NVLink (SC21 section 4.1); else every tensor rank sends the whole activation.
  bool scatter_gather_pipeline = false;
  double bucket_parameters = 0;  ///< data-parallel bucket: max(bucket_parameters, bucket_per_rank x data)
  double bucket_per_rank = 0;
  bool bucket_whole_tensors =
      false;                        ///< a bucket closes with the tensor that fills it (whole_tensor_buckets)
  int vocab_multiple = 1;           ///< vocabulary padded to a multiple of this x tensor
  bool embedding_as_layer = false;  ///< splits stages by parameters with the embedding as a layer of its own
  double activation_bytes_extra = 0;  ///< bytes per token x hidden a layer beyond the analytic activations
  /// Activations at a stage's borders that a micro-batch keeps from its forward to its backward, beside what
  /// its layers keep; a tensor rank's slice of them where slices are sent (scatter_gather_pipeline).
  int pipeline_buffers = 0;
  /// Bytes a trained parameter of gradients that exist from a backward until all of it is done.
  double backward_gradient_bytes = 0;
  /// Bytes a trained parameter of gradients that stay beside the main ones.
  double kept_gradient_bytes = 0;
  /// Bytes a parameter of the largest tensor, while its gradient is cast to the main gradients' type.
  double gradient_cast_bytes = 0;
  /// A gated activation's input waits for its backward in FP8 (of no effect on a plain one).
  bool fp8_activation_input = false;
  /// Bytes a logit that the loss holds beside the logits; absent: one fp32 copy, two where the loss's traffic
  /// is that of separate kernels.
  std::optional<double> loss_kept_bytes_per_logit;
  double gated_activation_bytes_extra = 0;  ///< bytes per token and feed-forward element of a gated layer
  int reduction_buffers = 0;                ///< flat copies of a gradient bucket while it is reduced
  int gathered_buffers = 0;  ///< whole activations (tokens x hidden) that tensor gathers write to, kept
  /// Whole activations (tokens x hidden) a layer's forward frees that a tensor collective on a stream of its
  /// own has worked on: the allocator hands them out again, and the slices they were reduced to, only when
  /// the GPU is through with it.
  int recorded_activations = 0;
  bool logs_first_stage = false;  ///< the framework's log has the peak of the first stage, not the fullest
  bool logs_reserved = false;     ///< and of what the allocator reserves, not of what it hands out
  std::vector<FurtherGroup> communicators;  ///< beside those of the plan's own groups
  double step_buffer_bytes = 0;   ///< of a locally updated parameter, allocated in the optimizer's step
  Bytes framework_memory;         ///< allocator reserve and workspace kept by the framework
  Bytes context_memory;           ///< CUDA context and libraries
  double slowest_gpu_spread = 0;  ///< relative sd of GPU speed; a synchronous step waits for the slowest
  /// What the framework can keep on the host.
  struct Offloads {
    bool activations = false, activations_with_pipeline = false;
    /// Of the rate of the host's memory, what its optimizer reaches there; 0: it has none.
    double host_bandwidth_share = 0;
  } offloads;
  std::vector<PlanFeature> lacks;
  std::string source;

  /// Divides the times that the host takes, as read, by its speed: that of its threads over those of an x86
  /// host of H100s. To be called once.
  void run_on_host(double speed);
  /// Settles `attention_kernel` and `quantize` for a GPU; an architecture without one of its own keeps the
  /// default.
  /// @param unequal_heads  the model's values are narrower than its queries and keys
  void choose_for_architecture(const std::string& architecture, bool unequal_heads = false);
  /// Takes unfused attention where no fused kernel runs (bar_to_fused_attention), as frameworks do that
  /// choose by themselves.
  void settle_attention(const std::string& architecture, Precision precision);
};

/// Why no fused attention kernel runs on a GPU's architecture in a precision ("with precision fp32: ...");
/// empty where they do. flash-attn and cuDNN alike take 16 or 8 bits, and compute capability 8.0 or later
/// (Transformer Engine, dot_product_attention/utils.py, get_attention_backend; flash-attn 1 takes Turing,
/// too: its README).
std::string bar_to_fused_attention(const std::string& architecture, Precision precision);

/// What of an experiment's other sections a stack's values depend on.
struct StackAsked {
  std::optional<GradientDtype> gradient_dtype;  ///< training.gradient_dtype, if given
  Precision precision = Precision::bf16;        ///< the training's
  std::optional<bool> overlap_gradient;         ///< parallel.overlap.gradient, if given
};

/// @param parallel  the experiment's section of that name, as given
StackAsked asked_of_stack(const TrainingSpec& training, const Json& parallel);

/// Reads `software`: a preset's name or {"preset": ..., overrides}, as of its date (lay_out_software).
SoftwareStack read_software_stack(const SpecReader& reader, const StackAsked& asked = {});

/// Reads a stack's keys strictly; what is not there keeps SoftwareStack's value.
SoftwareStack read_stack_values(const SpecReader& reader);

/// "2023-11" or "2023-11-05" (the day is passed over); anything else is refused.
std::optional<YearMonth> read_year_month(const SpecReader& reader);

}  // namespace orrery
