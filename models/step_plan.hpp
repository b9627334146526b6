#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "models/layer_operators.hpp"
#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/pipeline_placement.hpp"
#include "models/rank_map.hpp"
#include "models/schedule.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "sim/collectives/collective_model.hpp"
#include "sim/collectives/expert_exchange.hpp"
#include "sim/cost/cost_model.hpp"
#include "sim/cost/factors.hpp"
#include "sim/network/group_shape.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

struct CostInputs;

/// Times of one pass over one part of the model for one micro-batch on one rank.
struct PassCost {
  std::vector<Piece> pieces;
  Seconds duration;                               ///< sum of the pieces
  Seconds host;                                   ///< what the host needs to launch it
  int launches = 0;                               ///< collectives with them
  std::array<double, kBreakdownTerms> by_term{};  ///< seconds of the pieces by term
};

/// A collective inside a layer, as often as one pass does it.
struct InlineCommunication {
  GroupKind group = GroupKind::tensor;
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 1;
  Bytes payload;
  int count = 0;
  CollectiveTime each;
  Seconds exposed;                    ///< of all `count` calls together
  bool crosses_domains = false;       ///< its group touches several scale-up domains
  Members members = Members::tensor;  ///< of group kind expert: which of its groups
};

/// Passes over a part: a transformer layer, the embedding, the head. Recomputation is in the backward, or in
/// its input gradients where the schedule splits it (the two parts are empty where it does not).
struct PartCost {
  PassCost forward, backward, input_gradient, weight_gradient;
  std::vector<InlineCommunication> communications;  ///< of a forward and a whole backward together

  const PassCost& pass(PassKind kind) const {
    switch (kind) {
      case PassKind::forward:
        return forward;
      case PassKind::backward:
        return backward;
      case PassKind::input_gradient:
        return input_gradient;
      default:
        return weight_gradient;
    }
  }
};

/// A multi-token-prediction layer is three parts in a row: mtp (embedding, norms, projection), a layer, and
/// mtp_head, which costs what the head does and has no parameters beside it.
enum class Part : std::uint8_t { layer, layer_without_recompute, embedding, head, mtp, mtp_head };

/// `count` equal parts of the model, one after the other.
struct PartRun {
  Part part = Part::layer;
  int kind = 0;  ///< of layers: place in LayerCosts::kinds
  int count = 0;
  int first_layer = -1;  ///< number of the model's layer in forward order; -1: no layer
};

/// Costs of the parts of a model under one plan's shapes; shared by all plans that agree in them.
struct LayerCosts {
  struct Kind {
    LayerKind kind;
    PartCost layer;  ///< with the training's recomputation
    PartCost layer_without_recompute;
    double parameters = 0;          ///< held by one rank
    double expert_parameters = 0;   ///< of these, its experts'
    double matrix_parameters = 0;   ///< of all, weights of its products
    double trained_parameters = 0;  ///< all of them, or LoRA's adapters beside them
  };
  std::vector<Kind> kinds;         ///< layer_kinds(model)
  std::vector<int> kind_of_layer;  ///< kinds_by_layer(model)
  PartCost embedding, head, mtp;
  int mtp_layers = 0;
  double embedding_parameters = 0, head_parameters = 0, mtp_parameters = 0;  ///< held by one tensor rank
  /// Time-weighted relative spread (one standard deviation of ln) of kernels and, by the term that shows it,
  /// of the collectives in a layer.
  double kernel_spread = 0;
  std::array<double, kBreakdownTerms> communication_spread{};
  std::array<Evidence, kBreakdownTerms> evidence{};
  bool frozen = false;  ///< base weights are (LoRA)

  const PartCost& cost_of(Part part, int kind) const;
  double parameters_of(Part part, int kind) const;
  double expert_parameters_of(Part part, int kind) const;
  /// Those that have gradients and an optimizer state: all, or LoRA's adapters.
  double trained_parameters_of(Part part, int kind) const;
  double matrix_parameters_of(Part part, int kind) const;
  double mean_layer_parameters() const;
};

/// A stretch of compute of a rank, as a list of parts; expanded to pieces only where a graph needs them.
struct PlanSegment {
  std::string_view name = "forward";  ///< "forward", "backward", "input_gradient", ..., "optimizer"
  PassKind pass = PassKind::forward;
  /// DualPipe: its kernels alternate with those of the other of a pair, behind which the expert collectives
  /// of both hide; what of them is longer than the kernels is the backward's `pair_tail`.
  bool paired = false;
  std::vector<PartRun> runs;     ///< in order of execution; in a backward the last layer of a run is first
  int optimizer_of_stage = -1;   ///< >= 0: this is that stage's optimizer step, runs are empty
  Seconds offload_tail;          ///< activations that are still on their way to or from the host
  Seconds send_tail;             ///< exposed share of an overlapped pipeline send, at the end
  Seconds pair_slowed;           ///< kernels of a pair wait so long for the communication they hide
  Seconds pair_tail;             ///< exposed expert communication of a pair
  Seconds duration;              ///< beside no communication that slows its kernels
  double kernel_share = 1.0;     ///< of the duration
  double recompute_share = 0.0;  ///< of the kernels
};

/// A communication beside compute (or after it), `calls` equal calls one after the other.
struct Exchange {
  GroupKind group = GroupKind::data;
  Members members = Members::data;
  CollectiveOp op = CollectiveOp::all_reduce;
  Bytes payload;  ///< of one call
  int ranks = 1;
  int calls = 1;
  CollectiveTime time;  ///< of one call
  /// Kernels of its ranks take this many times as long beside it (SoftwareStack::overlap_slowdown); pipeline
  /// sends are left to copy engines or a channel or two and slow nothing.
  double slows = 1.0;
  bool exists() const { return calls > 0 && ranks > 1 && payload > Bytes(0); }
  Seconds latency() const { return time.latency * calls; }
  Seconds transfer() const { return time.transfer * calls; }
};

/// How often a step runs a segment.
struct SegmentUse {
  int segment = 0;
  std::int64_t times = 0;
};

/// Bytes between a stage's GPUs and storage, all at once: of each group of the kind `clients` the first
/// member moves `bytes`.
struct StorageAccess {
  StorageUse use = StorageUse::none;
  BreakdownTerm term = BreakdownTerm::input_exposed;  ///< what waiting for it counts as
  Members clients = Members::tensor;
  Bytes bytes;
  Seconds latency, transfer;  ///< while nothing else uses the links
  bool exists() const { return use != StorageUse::none; }
  Seconds total() const { return latency + transfer; }
};

/// One virtual stage of the pipeline (see PipelinePlacement).
struct VirtualStage {
  int layers = 0;
  int recomputed_layers = 0;
  int first_layer = 0;
  bool embedding = false, head = false;
  std::vector<PartRun> runs;     ///< what it consists of, in forward order
  double parameters = 0;         ///< on one rank, those that are trained
  double expert_parameters = 0;  ///< of these, its experts'
  double matrix_parameters = 0;  ///< of all, weights of the layers' products
  /// Segments of its passes by PassKind, and of the passes that run in a pair; -1: the schedule has none.
  std::array<int, kPassKinds> segment_of = {-1, -1, -1, -1}, paired_segment_of = {-1, -1, -1, -1};
  std::vector<SegmentUse> uses;  ///< all its passes of a step
  /// Gradient buckets of what all ranks of the data group hold, all alike, in the order in which the backward
  /// completes them.
  Exchange reduce;          ///< one bucket over the shard group (all_reduce under ZeRO 0)
  Exchange replica_reduce;  ///< HSDP: the reduced shard across replicas
  Exchange gather;          ///< updated parameters of one bucket
  /// Offset after which bucket k can be reduced, in the pass that completes the weights' gradients: the
  /// backward or the weight gradients alone; last = duration.
  std::vector<double> bucket_ready_s, bucket_ready_apart_s;
  size_t buckets() const { return std::max(bucket_ready_s.size(), bucket_ready_apart_s.size()); }
  std::vector<double>
      bucket_needed_s;  ///< offset in the forward before which gather k must be there; first = 0
  /// The same for experts, over the ranks that hold the same ones.
  Exchange expert_reduce, expert_replica_reduce, expert_gather;
  std::vector<double> expert_ready_s, expert_ready_apart_s, expert_needed_s;
  size_t expert_buckets() const { return std::max(expert_ready_s.size(), expert_ready_apart_s.size()); }
  bool reduces() const {
    return reduce.exists() || replica_reduce.exists() || expert_reduce.exists() ||
           expert_replica_reduce.exists();
  }
  bool gathers() const { return gather.exists() || expert_gather.exists(); }
};

/// next_forward: each bucket before its parameters are needed; under ZeRO 3 with a pipeline that is the whole
/// stage, layer by layer.
enum class GatherAt : std::uint8_t { none, next_forward, after_optimizer };

/// ZeRO 3 / FSDP without a pipeline: every layer is a unit that is gathered before its use and reduced after
/// its backward.
struct ShardedUnits {
  /// Layers that are alike: of one kind, with or without recomputation. A multi-token-prediction layer is one
  /// with all its parts.
  struct Unit {
    Part part = Part::layer;  ///< its first
    int kind = 0;
    int layers = 0;                 ///< how many there are
    int forward = 0, backward = 0;  ///< segments of one layer
    Exchange gather, reduce, replica_reduce;
    Exchange expert_gather, expert_reduce, expert_replica_reduce;
  };
  bool enabled = false;
  int prefetch_forward = 1, prefetch_backward = 1;  ///< SoftwareStack::Sharding
  bool keeps_last = false;
  std::vector<Unit> units;
  std::vector<int> unit_of_layer;                     ///< in forward order
  int embedding_forward = 0, embedding_backward = 0;  ///< segments; the root unit holds embedding and head
  int head_forward = 0, head_backward = 0;
  size_t head_after = 0;  ///< layers before the model's head; multi-token-prediction layers follow it
  Exchange root_gather, root_reduce, root_replica_reduce;

  const Unit& unit(size_t layer) const { return units[static_cast<size_t>(unit_of_layer[layer])]; }
};

struct LoopPlan;

/// Everything a step is made of, with a time on each part, before it is laid out over ranks: what the
/// lowering and the estimate share.
///
/// Collectives inside a layer (tensor, context) are pieces of the segments: every rank of the group does the
/// same at the same time, and the group's share of the NICs is in its GroupShape. Where their groups cross
/// domains the lowering takes them out again, so that they meet other traffic (crossing_collectives). What
/// runs beside compute (gradient reduction, parameter gather, pipeline sends) is an Exchange of its own and
/// contends in the engine.
struct StepPlan {
  ParallelPlan parallel;
  std::shared_ptr<const LoopPlan> loop;  ///< what surrounds the passes; null: nothing
  std::int32_t micro_batches = 1;
  std::shared_ptr<const LayerCosts> costs;
  std::vector<PlanSegment> segments;
  std::vector<PassCost> optimizer;                                         ///< by stage
  std::vector<std::vector<InlineCommunication>> optimizer_communications;  ///< by stage: inside that step
  std::vector<VirtualStage> virtual_stages;
  PipelinePlacement placement;
  std::vector<Exchange> send_to_next;      ///< by stage s: to stage (s + 1) mod pipeline
  std::vector<Exchange> send_to_previous;  ///< by stage s: to stage (s - 1) mod pipeline
  bool sends_block = true;                 ///< the sender waits for its send: nothing overlaps it
  bool reduce_overlapped = false;
  bool reduce_every_micro_batch = false;  ///< ZeRO 2, but for SoftwareStack::Sharding
  GatherAt gather_at = GatherAt::none;
  ShardedUnits sharded;
  Exchange tied_embedding_reduce;  ///< gradients of a tied word embedding between first and last stage
  /// DualPipe, by stage s of the first half: gradients of what it and stage p - 1 - s both hold.
  std::vector<Exchange> copies_reduce;
  double straggler_factor = 1.0;  ///< slowest of all GPUs against the mean
  std::array<Evidence, kBreakdownTerms> term_evidence{};
  /// Relative, one standard deviation of ln(time): of kernels and, by the term that shows it, of
  /// communication.
  double kernel_spread = 0;
  std::array<double, kBreakdownTerms> communication_spread{};

  int stages() const { return parallel.pipeline; }
  /// Micro-batches that pass each virtual stage.
  std::int32_t chain_micro_batches() const { return micro_batches / placement.chains(); }
  const Exchange& send_between(int from, int to) const {
    const auto stage = static_cast<size_t>(from);
    return to == (from + 1) % stages() ? send_to_next[stage] : send_to_previous[stage];
  }
  const PassCost& pass_cost(const PartRun& run, PassKind pass) const {
    return costs->cost_of(run.part, run.kind).pass(pass);
  }
};

struct CostInputs;

/// Makes plans for one model, stack and cluster; layer costs are kept by shape, so that a search pays for
/// each once. Not thread-safe: one planner a thread. The references must outlive it.
class StepPlanner {
 public:
  /// @param exchange  of the stack's dispatcher of tokens, where it has kernels of its own
  /// @param factors   of the stack and the site
  StepPlanner(const ModelSpec& model, const SoftwareStack& stack, const ClusterShape& cluster,
              const CostModel& cost, const CollectiveModel& collectives,
              const ExpertExchangeConstants* exchange = nullptr, const Factors& factors = {});
  ~StepPlanner();
  StepPlan plan(const TrainingSpec& training, const ParallelPlan& parallel);

 private:
  struct Key;
  struct Cache;
  CostInputs inputs_for(const TrainingSpec& training, const ParallelPlan& parallel) const;
  std::shared_ptr<const LayerCosts> layer_costs(const TrainingSpec& training, const ParallelPlan& parallel,
                                                const CostInputs& inputs);
  const ModelSpec& model_;
  const SoftwareStack& stack_;
  const ClusterShape& cluster_;
  const CostModel& cost_;
  const CollectiveModel& collectives_;
  const ExpertExchangeConstants* exchange_;
  Factors factors_;
  std::unique_ptr<Cache> cache_;
};

/// A planner used once.
StepPlan make_step_plan(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                        const ParallelPlan& parallel, const ClusterShape& cluster, const CostModel& cost,
                        const CollectiveModel& collectives, const ExpertExchangeConstants* exchange = nullptr,
                        const Factors& factors = {});

/// Bytes of a gradient as it is reduced: fp32 and tf32 training has fp32 gradients unless it says otherwise.
double reduced_gradient_bytes(const TrainingSpec& training, const SoftwareStack& stack);

/// Expected speed of the slowest of n GPUs against the mean when speeds spread normally with this relative
/// standard deviation: 1 + spread * E[max of n standard normals], by Blom's approximation (Blom 1958: alpha =
/// 0.375; within 1 % of the exact order statistic for n >= 2).
double slowest_of(int gpus, double relative_spread);

/// Seconds of a segment by term, what it has beside its parts included; they add up to its duration.
std::array<double, kBreakdownTerms> segment_terms(const StepPlan& plan, int segment);

/// The pieces of a plan's segment between two offsets (seconds from its start); pieces across a cut are
/// divided.
Segment expand_segment(const StepPlan& plan, int segment, double from_s, double to_s);

}  // namespace orrery
