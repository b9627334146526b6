#include "models/plan_assembly.hpp"

#include <algorithm>

#include "models/bucket_offsets.hpp"
#include "models/host_time.hpp"
#include "models/layer_costs.hpp"
#include "models/layer_shapes.hpp"
#include "models/loop_plan.hpp"
#include "models/offload.hpp"
#include "models/optimizer_step.hpp"
#include "models/plan_evidence.hpp"
#include "models/plan_shapes.hpp"

namespace orrery {
namespace {

/// Buckets of one virtual stage beyond which consecutive ones share a task (their latencies are kept).
constexpr int kMostBucketTasks = 64;
/// Parts of a multi-token-prediction layer, in a row (Part).
constexpr int kTokenPredictionParts = 3;
constexpr BreakdownTerm kExpertTerm = BreakdownTerm::expert_comm_exposed;

/// Puts one plan together from the layer costs.
class PlanAssembly {
 public:
  PlanAssembly(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
               const ParallelPlan& parallel, const ClusterShape& cluster, const CostInputs& inputs,
               std::shared_ptr<const LayerCosts> costs)
      : model_(model),
        training_(training),
        stack_(stack),
        parallel_(parallel),
        cluster_(cluster),
        inputs_(inputs),
        map_(parallel),
        shapes_(cluster, parallel, map_),
        gradient_bytes_(reduced_gradient_bytes(training, stack)),
        parameter_bytes_(activation_bytes(training.precision)) {
    plan_.parallel = parallel;
    plan_.placement = parallel.pipeline_placement();
    plan_.micro_batches = static_cast<std::int32_t>(parallel.micro_batches(training));
    plan_.costs = std::move(costs);
    plan_.straggler_factor = inputs.straggler_factor;
    plan_.term_evidence = plan_.costs->evidence;
    plan_.kernel_spread = plan_.costs->kernel_spread;
    plan_.communication_spread = plan_.costs->communication_spread;
  }

  StepPlan assemble() {
    shape_groups();
    if (parallel_.zero >= 3 && parallel_.pipeline == 1) {
      add_sharded_units();
    } else {
      add_sends();
      add_virtual_stages();
      add_data_exchanges();
      add_copies_reduce();
    }
    add_optimizers();
    note_exchange_evidence(plan_);
    add_loop();
    return std::move(plan_);
  }

 private:
  static double seconds_of(const PassCost& pass) { return pass.duration.base(); }

  void add_loop() {
    plan_.loop = make_loop_plan(model_, training_, plan_, cluster_, stack_, inputs_);
    note_loop_evidence(plan_);
  }

  void shape_groups() {
    // Workers that do not synchronise in the step reduce among their own ranks alone.
    const bool apart = training_.sync.kind == SyncKind::local || serves_beside_step(training_);
    if (apart && parallel_.zero == 0) data_members_ = Members::context;
    data_shape_ = apart && parallel_.zero == 0 ? shapes_.context() : shapes_.data();
    const int replicas = apart ? 1 : data_shape_.ranks / std::max(parallel_.shard_group, 1);
    if (apart && parallel_.zero >= 1) {
      shard_shape_ = shapes_.shard();
      return;
    }
    if (parallel_.zero >= 1 && replicas > 1) {
      shard_shape_ = shapes_.shard();
      replica_shape_ = shapes_.replica();
    } else {
      shard_shape_ = data_shape_;
    }
    if (!model_.moe) return;
    expert_data_shape_ = shapes_.of_experts(Members::expert_data);
    expert_shard_shape_ = expert_data_shape_;
    if (parallel_.zero >= 1 && replicas > 1) {
      expert_shard_shape_ = shapes_.of_experts(Members::expert_shard);
      expert_replica_shape_ = shapes_.of_experts(Members::expert_replica);
    }
  }

  Exchange exchange(GroupKind group, Members members, CollectiveOp op, Bytes payload, const GroupShape& shape,
                    int calls = 1) const {
    Exchange result;
    result.group = group;
    result.members = members;
    result.op = op;
    // A factor of zero says that it is not there: nothing travels in the engine either.
    result.payload = inputs_.factors.on(group, shape.nodes) > 0.0 ? payload : Bytes(0);
    result.ranks = shape.ranks;
    result.calls = calls;
    result.time = inputs_.collective_time(group, op, payload, shape);
    result.time.latency += check_time(op, shape, stack_);
    if (members != Members::stages) result.slows = 1.0 + stack_.overlap_slowdown;
    return result;
  }

  /// The groups over which parameters are reduced and gathered: those of the dense parts, or the experts'.
  struct ReductionGroups {
    const GroupShape &data, &shard, &replica;
    Members data_members, shard_members, replica_members;
  };
  ReductionGroups dense_groups() const {
    return {data_shape_, shard_shape_, replica_shape_, data_members_, Members::shard, Members::replica};
  }
  ReductionGroups expert_groups() const {
    return {expert_data_shape_,   expert_shard_shape_,   expert_replica_shape_,
            Members::expert_data, Members::expert_shard, Members::expert_replica};
  }

  /// Reduction of `parameters` gradients as the ZeRO level does it.
  Exchange reduction(const ReductionGroups& groups, double parameters, int calls) const {
    const Bytes payload(parameters * gradient_bytes_);
    if (parallel_.zero == 0) {
      // Servers sharded over the workers: a push is dealt over all of them, and so is a pull.
      const CollectiveOp op = serves_in_step(training_) ? CollectiveOp::all_to_all : CollectiveOp::all_reduce;
      return exchange(GroupKind::data, groups.data_members, op, payload, groups.data, calls);
    }
    const bool to_all = parallel_.zero == 1 && stack_.sharding.reduces_to_all;
    return exchange(GroupKind::data, groups.shard_members,
                    to_all ? CollectiveOp::all_reduce : CollectiveOp::reduce_scatter, payload, groups.shard,
                    calls);
  }
  Exchange replica_reduction(const ReductionGroups& groups, double parameters, int calls) const {
    if (parallel_.zero == 0 || groups.replica.ranks <= 1) return {};
    const Bytes payload(parameters * gradient_bytes_ / groups.shard.ranks);
    return exchange(GroupKind::data, groups.replica_members, CollectiveOp::all_reduce, payload,
                    groups.replica, calls);
  }
  /// @param matrix_share of the parameters that are weights of the layers' products
  Exchange parameter_gather(const ReductionGroups& groups, double parameters, double matrix_share,
                            int calls) const {
    const Bytes payload(parameters * (matrix_share * gathered_weight_bytes(training_, stack_) +
                                      (1.0 - matrix_share) * parameter_bytes_));
    if (parallel_.zero == 0 && serves_in_step(training_)) {
      return exchange(GroupKind::data, groups.data_members, CollectiveOp::all_to_all, payload, groups.data,
                      calls);
    }
    if (parallel_.zero == 0) return {};
    return exchange(GroupKind::data, groups.shard_members, CollectiveOp::all_gather, payload, groups.shard,
                    calls);
  }

  int add_segment(PlanSegment added) {
    plan_.segments.push_back(std::move(added));
    const auto index = static_cast<int>(plan_.segments.size()) - 1;
    const std::array<double, kBreakdownTerms> terms = segment_terms(plan_, index);
    PlanSegment& segment = plan_.segments.back();
    double total = 0;
    for (const PartRun& run : segment.runs) {
      const PassCost& pass = plan_.pass_cost(run, segment.pass);
      total += run.count * seconds_of(pass);
      if (segment.paired) total -= run.count * pass.by_term[static_cast<size_t>(kExpertTerm)];
    }
    segment.offload_tail =
        offload_tail(model_, training_, stack_, parallel_, plan_, segment, total, inputs_.host_link);
    segment.duration =
        Seconds(total) + segment.offload_tail + segment.send_tail + segment.pair_slowed + segment.pair_tail;
    const double kernels = kernel_seconds(terms);
    if (segment.duration > Seconds(0)) segment.kernel_share = kernels / segment.duration.base();
    if (kernels > 0) {
      segment.recompute_share = terms[static_cast<size_t>(BreakdownTerm::recompute)] / kernels;
    }
    return index;
  }

  static double kernel_seconds(const std::array<double, kBreakdownTerms>& terms) {
    return terms[static_cast<size_t>(BreakdownTerm::forward)] +
           terms[static_cast<size_t>(BreakdownTerm::recompute)] +
           terms[static_cast<size_t>(BreakdownTerm::backward)];
  }

  /// Layers `first` to `first + count`, equal neighbours as one run.
  void append_layers(std::vector<PartRun>& runs, Part part, int first, int count) const {
    for (int layer = first; layer < first + count; ++layer) {
      const int kind = plan_.costs->kind_of_layer[static_cast<size_t>(layer)];
      if (!runs.empty() && runs.back().part == part && runs.back().kind == kind) {
        ++runs.back().count;
      } else {
        runs.push_back({part, kind, 1, layer});
      }
    }
  }

  std::vector<PartRun> runs_of(const VirtualStage& stage) const {
    std::vector<PartRun> runs;
    runs.reserve(4);
    if (stage.embedding) runs.push_back({Part::embedding, 0, 1, -1});
    append_layers(runs, Part::layer, stage.first_layer, stage.recomputed_layers);
    append_layers(runs, Part::layer_without_recompute, stage.first_layer + stage.recomputed_layers,
                  stage.layers - stage.recomputed_layers);
    if (stage.head) {
      runs.push_back({Part::head, 0, 1, -1});
      append_token_prediction(runs);
    }
    return runs;
  }

  void append_token_prediction(std::vector<PartRun>& runs) const {
    const Part layer = recomputes_token_prediction(training_) ? Part::layer : Part::layer_without_recompute;
    for (int i = 0; i < model_.mtp_layers; ++i) {
      runs.push_back({Part::mtp, 0, 1, -1});
      const int number = model_.layers + i;
      runs.push_back({layer, plan_.costs->kind_of_layer[static_cast<size_t>(number)], 1, number});
      runs.push_back({Part::mtp_head, 0, 1, -1});
    }
  }

  void count_parameters(VirtualStage& stage) const {
    for (const PartRun& run : stage.runs) {
      stage.parameters += run.count * plan_.costs->trained_parameters_of(run.part, run.kind);
      if (training_.lora) continue;
      stage.matrix_parameters += run.count * plan_.costs->matrix_parameters_of(run.part, run.kind);
      stage.expert_parameters += run.count * plan_.costs->expert_parameters_of(run.part, run.kind);
    }
  }

  void add_virtual_stages() {
    const std::vector<LayerRange> ranges = layers_by_virtual_stage(training_, parallel_);
    for (int v = 0; v < plan_.placement.virtual_stages(); ++v) {
      const LayerRange& range = ranges[static_cast<size_t>(v)];
      VirtualStage stage;
      stage.layers = range.count;
      stage.first_layer = range.first;
      stage.recomputed_layers = range.recomputed;
      stage.embedding = plan_.placement.is_first(v);
      stage.head = plan_.placement.is_last(v);
      stage.runs = runs_of(stage);
      count_parameters(stage);
      plan_.virtual_stages.push_back(std::move(stage));
    }
    const std::vector<PassTally> tallies =
        pass_tallies(parallel_.schedule, parallel_.pipeline, parallel_.interleave, plan_.micro_batches);
    for (int v = 0; v < plan_.placement.virtual_stages(); ++v) {
      for (int kind = 0; kind < kPassKinds; ++kind) {
        const PassTally& tally = tallies[static_cast<size_t>(v)];
        add_pass(v, static_cast<PassKind>(kind), false, tally.alone[static_cast<size_t>(kind)]);
        add_pass(v, static_cast<PassKind>(kind), true, tally.paired[static_cast<size_t>(kind)]);
      }
    }
  }

  void add_pass(int v, PassKind kind, bool paired, std::int64_t times) {
    if (times <= 0) return;
    static constexpr std::array<std::string_view, kPassKinds> kNames = {"forward", "backward",
                                                                        "input_gradient", "weight_gradient"};
    VirtualStage& stage = plan_.virtual_stages[static_cast<size_t>(v)];
    PlanSegment segment;
    segment.name = kNames[static_cast<size_t>(kind)];
    segment.pass = kind;
    segment.paired = paired;
    segment.runs = stage.runs;
    if (kind != PassKind::forward) std::reverse(segment.runs.begin(), segment.runs.end());
    if (kind == PassKind::forward && !stage.head) segment.send_tail = send_tail(v, v + 1);
    if (gives_input_gradient(kind) && !stage.embedding) segment.send_tail = send_tail(v, v - 1);
    if (paired && kind == PassKind::backward) hide_in_pair(v, segment);
    const int index = add_segment(std::move(segment));
    (paired ? stage.paired_segment_of : stage.segment_of)[static_cast<size_t>(kind)] = index;
    stage.uses.push_back({index, times});
  }

  /// The expert collectives of a pair run beside its kernels (DeepSeek-V3, section 3.2.1 and figure 4):
  /// hidden up to the kernels' time, which they slow as any communication does. Booked on the backward of the
  /// pair.
  void hide_in_pair(int v, PlanSegment& backward) const {
    const PipelinePlacement& place = plan_.placement;
    const int other = place.virtual_stage(place.stage_of(v), 1 - place.chunk_of(v));
    double kernels = 0;
    double communication = 0;
    const auto add = [&](int of, PassKind kind) {
      for (const PartRun& run : plan_.virtual_stages[static_cast<size_t>(of)].runs) {
        const PassCost& pass = plan_.pass_cost(run, kind);
        kernels += run.count * kernel_seconds(pass.by_term);
        communication += run.count * pass.by_term[static_cast<size_t>(kExpertTerm)];
      }
    };
    add(other, PassKind::forward);
    add(v, PassKind::backward);
    const double hidden = std::min(kernels, communication);
    backward.pair_tail = Seconds(communication - hidden);
    backward.pair_slowed = Seconds(hidden * stack_.overlap_slowdown / (1.0 + stack_.overlap_slowdown));
  }

  /// What of an overlapped send still holds the sender up: the stack's exposed share of it. DualPipe hides
  /// its sends in its pairs.
  Seconds send_tail(int from, int to) const {
    const int here = plan_.placement.stage_of(from);
    const int there = plan_.placement.stage_of(to);
    if (plan_.sends_block || here == there || parallel_.schedule == ScheduleKind::dualpipe) return Seconds(0);
    return plan_.send_between(here, there).time.total() * stack_.pipeline_overlap_exposed;
  }

  /// @param experts  with the parameters of the experts instead of the others
  std::vector<TimedParameters> units_of(const VirtualStage& stage, PassKind kind, bool experts) const {
    std::vector<TimedParameters> units;
    units.reserve(static_cast<size_t>(stage.layers) + 2);
    for (const PartRun& run : stage.runs) {
      const double of_experts = training_.lora ? 0.0 : plan_.costs->expert_parameters_of(run.part, run.kind);
      units.insert(
          units.end(), static_cast<size_t>(run.count),
          {experts ? of_experts : plan_.costs->trained_parameters_of(run.part, run.kind) - of_experts,
           seconds_of(plan_.pass_cost(run, kind))});
    }
    if (kind != PassKind::forward) std::reverse(units.begin(), units.end());
    return units;
  }

  /// Offsets in a pass at which the gradients of the first k/n of the parameters are complete.
  std::vector<double> ready_offsets(const VirtualStage& stage, PassKind kind, bool experts,
                                    int buckets) const {
    const int segment = stage.segment_of[static_cast<size_t>(kind)];
    if (segment < 0) return {};
    std::vector<double> offsets = offsets_of_parameter_shares(units_of(stage, kind, experts), buckets);
    const PlanSegment& whole = plan_.segments[static_cast<size_t>(segment)];
    offsets.back() = (whole.duration - whole.send_tail).base();
    return offsets;
  }

  /// Gather k must be there when the parameters after the first k/n are reached.
  std::vector<double> needed_offsets(const VirtualStage& stage, bool experts, int buckets) const {
    std::vector<double> offsets =
        offsets_of_parameter_shares(units_of(stage, PassKind::forward, experts), buckets);
    offsets.insert(offsets.begin(), 0.0);
    offsets.pop_back();
    return offsets;
  }

  void add_data_exchanges() {
    if (data_shape_.ranks <= 1 && expert_data_shape_.ranks <= 1) return;
    plan_.reduce_overlapped = parallel_.overlap.gradient;
    plan_.reduce_every_micro_batch =
        parallel_.zero == 2 && !stack_.sharding.gradients_stay_whole(parallel_.zero, parallel_.pipeline);
    if (parallel_.zero == 2) plan_.reduce_overlapped = true;
    // ZeRO 3: every virtual stage gathers before its first forward and reduces right after its last backward.
    if (parallel_.zero == 3) {
      plan_.reduce_overlapped = true;
      plan_.gather_at = GatherAt::next_forward;
    }
    if (parallel_.zero == 1 || parallel_.zero == 2 || serves_in_step(training_)) {
      plan_.gather_at = parallel_.overlap.parameter ? GatherAt::next_forward : GatherAt::after_optimizer;
    }
    for (VirtualStage& stage : plan_.virtual_stages) {
      const double dense = stage.parameters - stage.expert_parameters;
      const bool early = plan_.gather_at == GatherAt::next_forward;
      // Experts are products but for their biases: what else is a product's weight is the dense parts'.
      const double expert_share = stage.expert_parameters > 0
                                      ? std::min(1.0, stage.matrix_parameters / stage.expert_parameters)
                                      : 0.0;
      if (dense > 0 && data_shape_.ranks > 1) {
        const ReductionGroups groups = dense_groups();
        const Buckets reduced = reduction_buckets(stage, dense);
        stage.reduce = reduction(groups, reduced.parameters, reduced.calls);
        stage.replica_reduce = replica_reduction(groups, reduced.parameters, reduced.calls);
        stage.bucket_ready_s = ready_offsets(stage, PassKind::backward, false, reduced.tasks);
        stage.bucket_ready_apart_s = ready_offsets(stage, PassKind::weight_gradient, false, reduced.tasks);
        const Buckets gathered = gather_buckets(stage, dense, early);
        const double matrices = std::max(0.0, stage.matrix_parameters - stage.expert_parameters);
        stage.gather =
            parameter_gather(groups, gathered.parameters, std::min(1.0, matrices / dense), gathered.calls);
        if (stage.gather.exists()) stage.bucket_needed_s = needed_offsets(stage, false, gathered.tasks);
      }
      if (stage.expert_parameters > 0 && expert_data_shape_.ranks > 1) {
        const ReductionGroups groups = expert_groups();
        const Buckets reduced = reduction_buckets(stage, stage.expert_parameters);
        stage.expert_reduce = reduction(groups, reduced.parameters, reduced.calls);
        stage.expert_replica_reduce = replica_reduction(groups, reduced.parameters, reduced.calls);
        stage.expert_ready_s = ready_offsets(stage, PassKind::backward, true, reduced.tasks);
        stage.expert_ready_apart_s = ready_offsets(stage, PassKind::weight_gradient, true, reduced.tasks);
        const Buckets gathered = gather_buckets(stage, stage.expert_parameters, early);
        stage.expert_gather = parameter_gather(groups, gathered.parameters, expert_share, gathered.calls);
        if (stage.expert_gather.exists()) stage.expert_needed_s = needed_offsets(stage, true, gathered.tasks);
      }
    }
  }

  /// Every stage of DualPipe stands on two ranks, which sum their gradients (what data parallelism has left
  /// on a rank of them) before the optimizer. Assumed: an all-reduce between the two ranks; the report does
  /// not say how.
  void add_copies_reduce() {
    if (plan_.placement.chains() == 1) return;
    const int stages = parallel_.pipeline;
    for (int stage = 0; stage < stages / 2; ++stage) {
      double parameters = 0;
      for (int chunk = 0; chunk < plan_.placement.chunks(); ++chunk) {
        const auto v = static_cast<size_t>(plan_.placement.virtual_stage(stage, chunk));
        parameters +=
            updated_share(plan_.virtual_stages[v].parameters, plan_.virtual_stages[v].expert_parameters);
      }
      plan_.copies_reduce.push_back(exchange(GroupKind::data, Members::stages, CollectiveOp::all_reduce,
                                             Bytes(parameters * gradient_bytes_),
                                             shapes_.stages(stage, stages - 1 - stage)));
    }
  }

  /// FSDP units of a virtual stage: its layers, and one for embedding and head.
  int units_in(const VirtualStage& stage) const {
    return stage.layers + (stage.head ? model_.mtp_layers : 0) + (stage.embedding || stage.head ? 1 : 0);
  }

  /// Equal buckets of a virtual stage: tasks x calls of them, each with this many parameters.
  struct Buckets {
    int tasks = 1, calls = 1;
    double parameters = 0;
  };
  Buckets reduction_buckets(const VirtualStage& stage, double parameters) const {
    const Buckets buckets = buckets_of(stage, parameters, plan_.reduce_overlapped);
    // With ZeRO 3 nothing is reduced before the pass is over, then layer after layer.
    if (parallel_.zero == 3) return {1, buckets.tasks * buckets.calls, buckets.parameters};
    return buckets;
  }
  /// @param early  beside the next forward; else one after the other behind the optimizer
  Buckets gather_buckets(const VirtualStage& stage, double parameters, bool early) const {
    if (early) return buckets_of(stage, parameters, true);
    const Buckets buckets =
        buckets_of(stage, parameters, stack_.sharding.gathers_by_bucket && plan_.reduce_overlapped);
    return {1, buckets.tasks * buckets.calls, buckets.parameters};
  }
  /// Frameworks close a bucket with a tensor (Megatron-core, param_and_grad_buffer.py; PyTorch, reducer.cpp),
  /// so that a stage has no more of them than parameter tensors. A bound for all layouts: with weight and
  /// bias apart, query, key, value and output (five of latent attention) and three of a feed-forward layer,
  /// or of each of a rank's experts beside a router; and two norms.
  double most_buckets(const VirtualStage& stage) const {
    const double attention = model_.attention == AttentionKind::mla ? 5 : 4;
    const int held = model_.moe ? model_.moe->experts / parallel_.expert : 0;
    const double blocks = model_.moe ? 1 + 3.0 * (1 + held) : 3;
    return stage.layers * 2.0 * (attention + blocks + 2) + (stage.embedding ? 1 : 0) + (stage.head ? 3 : 0);
  }
  Buckets buckets_of(const VirtualStage& stage, double parameters, bool overlapped) const {
    if (!overlapped) return {1, 1, parameters};
    double size = parallel_.bucket > 0
                      ? parallel_.bucket
                      : std::max(stack_.bucket_parameters, stack_.bucket_per_rank * data_shape_.ranks);
    // A stack without a bucket size that overlaps does it layer by layer.
    if (size <= 0) size = plan_.costs->mean_layer_parameters();
    int count = parallel_.zero == 3
                    ? units_in(stage)
                    : std::max(1, static_cast<int>(std::min(parameters / size, most_buckets(stage))));
    if (stack_.bucket_whole_tensors && parallel_.zero < 3 && !training_.lora && has_plain_layers(model_)) {
      count = whole_tensor_buckets(
          stage_matrices(RankShape(model_, training_, stack_, parallel_), stage.layers, stage.embedding,
                         stage.head && !(stage.embedding && model_.tied_embeddings)),
          size);
    }
    const int calls = (count + kMostBucketTasks - 1) / kMostBucketTasks;
    const int tasks = (count + calls - 1) / calls;
    return {tasks, calls, parameters / (static_cast<double>(tasks) * calls)};
  }

  void add_tied_embedding_reduce() {
    const double parameters =
        static_cast<double>(padded_vocabulary(model_, stack_.vocab_multiple, parallel_.tensor) *
                            model_.hidden) /
        parallel_.tensor;
    plan_.tied_embedding_reduce =
        exchange(GroupKind::pipeline, Members::stages, CollectiveOp::all_reduce,
                 Bytes(parameters * gradient_bytes_), shapes_.stages(0, parallel_.pipeline - 1));
  }

  void add_sends() {
    const int stages = parallel_.pipeline;
    plan_.send_to_next.resize(static_cast<size_t>(stages));
    plan_.send_to_previous.resize(static_cast<size_t>(stages));
    plan_.sends_block = !parallel_.overlap.pipeline || stack_.pipeline_overlap_exposed >= 1.0;
    if (stages == 1) return;
    // Multi-token prediction looks words up on the last stage, tied or not; a frozen table has no gradient.
    const bool twice = (model_.tied_embeddings || model_.mtp_layers > 0) && !training_.lora;
    if (twice && !plan_.placement.ends_together()) add_tied_embedding_reduce();
    const double tokens =
        static_cast<double>(training_.micro_batch * training_.seq_length) / parallel_.context;
    const bool split = parallel_.sequence || stack_.scatter_gather_pipeline;
    const Bytes message(tokens * static_cast<double>(model_.hidden) * activation_bytes(training_.precision) /
                        (split ? parallel_.tensor : 1));
    for (int stage = 0; stage < stages; ++stage) {
      plan_.send_to_next[static_cast<size_t>(stage)] = send(stage, (stage + 1) % stages, message);
      plan_.send_to_previous[static_cast<size_t>(stage)] =
          send(stage, (stage + stages - 1) % stages, message);
    }
  }

  Exchange send(int from, int to, Bytes message) const {
    Exchange result = exchange(GroupKind::pipeline, Members::stages, CollectiveOp::send_receive, message,
                               shapes_.stages(from, to));
    if (stack_.scatter_gather_pipeline && !parallel_.sequence && parallel_.tensor > 1) {
      // SC21 section 4.1: each tensor rank sends its slice, the receiver gathers the slices over its tensor
      // group.
      result.time.latency += inputs_
                                 .collective_time(GroupKind::tensor, CollectiveOp::all_gather,
                                                  message * parallel_.tensor, inputs_.tensor)
                                 .total();
    }
    return result;
  }

  void add_sharded_units() {
    ShardedUnits& units = plan_.sharded;
    const LayerCosts& costs = *plan_.costs;
    units.enabled = true;
    units.prefetch_forward = stack_.sharding.prefetch_forward;
    units.prefetch_backward = stack_.sharding.prefetch_backward;
    units.keeps_last = stack_.sharding.keeps_last;
    const double root = costs.embedding_parameters + costs.head_parameters;
    const double trained_root = costs.frozen ? 0.0 : root;
    units.root_gather = parameter_gather(dense_groups(), root, 0.0, 1);
    units.root_reduce = reduction(dense_groups(), trained_root, 1);
    units.root_replica_reduce = replica_reduction(dense_groups(), trained_root, 1);
    units.embedding_forward = add_parts_segment({{Part::embedding, 0, 1, -1}}, PassKind::forward);
    units.embedding_backward = add_parts_segment({{Part::embedding, 0, 1, -1}}, PassKind::backward);
    units.head_forward = add_parts_segment({{Part::head, 0, 1, -1}}, PassKind::forward);
    units.head_backward = add_parts_segment({{Part::head, 0, 1, -1}}, PassKind::backward);
    units.head_after = static_cast<size_t>(model_.layers);
    VirtualStage all;
    all.layers = model_.layers;
    all.recomputed_layers = layers_by_virtual_stage(training_, parallel_).front().recomputed;
    all.embedding = all.head = true;
    all.runs = runs_of(all);
    count_parameters(all);
    for (const int segment :
         {units.embedding_forward, units.embedding_backward, units.head_forward, units.head_backward}) {
      all.uses.push_back({segment, plan_.micro_batches});
    }
    units.unit_of_layer.reserve(static_cast<size_t>(model_.layers) + static_cast<size_t>(model_.mtp_layers));
    for (size_t i = 0; i < all.runs.size(); ++i) {
      const PartRun& run = all.runs[i];
      if (run.part == Part::embedding || run.part == Part::head) continue;
      std::vector<PartRun> parts = {run};
      if (run.part == Part::mtp) {
        const auto first = all.runs.begin() + static_cast<std::ptrdiff_t>(i);
        parts.assign(first, first + kTokenPredictionParts);
        i += kTokenPredictionParts - 1;
      }
      const int unit = unit_for(parts);
      units.units[static_cast<size_t>(unit)].layers += run.count;
      units.unit_of_layer.insert(units.unit_of_layer.end(), static_cast<size_t>(run.count), unit);
      for (const int segment : {units.units[static_cast<size_t>(unit)].forward,
                                units.units[static_cast<size_t>(unit)].backward}) {
        all.uses.push_back({segment, std::int64_t{plan_.micro_batches} * run.count});
      }
    }
    plan_.virtual_stages.push_back(std::move(all));
  }

  /// A pass over parts in forward order, each once and of no particular layer.
  int add_parts_segment(std::vector<PartRun> parts, PassKind pass) {
    PlanSegment segment;
    segment.name = pass == PassKind::backward ? "backward" : "forward";
    segment.pass = pass;
    for (PartRun& part : parts) part = {part.part, part.kind, 1, -1};
    if (pass != PassKind::forward) std::reverse(parts.begin(), parts.end());
    segment.runs = std::move(parts);
    return add_segment(std::move(segment));
  }

  /// Place of the unit that consists of these parts; made at its first use.
  int unit_for(const std::vector<PartRun>& parts) {
    std::vector<ShardedUnits::Unit>& units = plan_.sharded.units;
    const PartRun& first = parts.front();
    const auto known = std::find_if(units.begin(), units.end(), [&first](const ShardedUnits::Unit& unit) {
      return unit.part == first.part && unit.kind == first.kind;
    });
    if (known != units.end()) return static_cast<int>(known - units.begin());
    ShardedUnits::Unit unit;
    unit.part = first.part;
    unit.kind = first.kind;
    unit.forward = add_parts_segment(parts, PassKind::forward);
    unit.backward = add_parts_segment(parts, PassKind::backward);
    Held held;
    double matrices = 0;
    double trained = 0;
    for (const PartRun& part : parts) {
      held.all += plan_.costs->parameters_of(part.part, part.kind);
      held.experts += plan_.costs->expert_parameters_of(part.part, part.kind);
      matrices += plan_.costs->matrix_parameters_of(part.part, part.kind);
      trained += plan_.costs->trained_parameters_of(part.part, part.kind);
    }
    const double dense = held.all - held.experts;
    const double trained_experts = training_.lora ? 0.0 : held.experts;
    unit.gather =
        parameter_gather(dense_groups(), dense, std::clamp((matrices - held.experts) / dense, 0.0, 1.0), 1);
    unit.reduce = reduction(dense_groups(), trained - trained_experts, 1);
    unit.replica_reduce = replica_reduction(dense_groups(), trained - trained_experts, 1);
    if (held.experts > 0) {
      unit.expert_gather =
          parameter_gather(expert_groups(), held.experts, std::min(1.0, matrices / held.experts), 1);
      unit.expert_reduce = reduction(expert_groups(), trained_experts, 1);
      unit.expert_replica_reduce = replica_reduction(expert_groups(), trained_experts, 1);
    }
    units.push_back(unit);
    return static_cast<int>(units.size()) - 1;
  }

  /// Parameters of a stage, and among them those of its experts and of products.
  struct Held {
    double all = 0, experts = 0, matrices = 0;
    bool operator==(const Held&) const = default;
  };

  /// What of its parameters a rank updates itself.
  double updated_share(double parameters, double of_experts) const {
    if (parallel_.zero == 0) return parameters;
    return (parameters - of_experts) / shard_shape_.ranks + of_experts / expert_shard_shape_.ranks;
  }

  void add_optimizers() {
    const int stages = parallel_.pipeline;
    std::vector<Held> parameters(static_cast<size_t>(stages));
    for (size_t v = 0; v < plan_.virtual_stages.size(); ++v) {
      Held& held = parameters[static_cast<size_t>(plan_.placement.stage_of(static_cast<int>(v)))];
      held.all += plan_.virtual_stages[v].parameters;
      held.experts += plan_.virtual_stages[v].expert_parameters;
      held.matrices += plan_.virtual_stages[v].matrix_parameters;
    }
    for (int stage = 0; stage < stages; ++stage) {
      const Held& held = parameters[static_cast<size_t>(stage)];
      // Middle stages are alike: take the cost of an earlier stage with the same parameters.
      const auto same = std::find(parameters.begin(), parameters.begin() + stage, held);
      if (same != parameters.begin() + stage) {
        const auto alike = static_cast<size_t>(same - parameters.begin());
        plan_.optimizer.push_back(plan_.optimizer[alike]);
        plan_.optimizer_communications.push_back(plan_.optimizer_communications[alike]);
      } else {
        OptimizerLoad load;
        load.updated = updated_share(held.all, held.experts);
        load.resident = parallel_.zero >= 3 ? load.updated : held.all;
        // ZeRO 3 casts what it gathers, pass by pass.
        load.cast_weights = parallel_.zero >= 3 ? 0.0 : held.matrices;
        load.shards = parallel_.zero >= 1 ? shard_shape_.ranks : 1;
        load.layers = layers_of_stage(parallel_, stage);
        load.matrices = trained_matrices(model_, training_, parallel_, load.layers);
        CostInputs inputs = inputs_;
        inputs.data = shard_shape_;
        plan_.optimizer.push_back(make_optimizer_cost(training_, stack_, parallel_, load, inputs,
                                                      plan_.optimizer_communications.emplace_back()));
      }
      PlanSegment segment;
      segment.name = "optimizer";
      segment.optimizer_of_stage = stage;
      segment.duration = plan_.optimizer.back().duration;
      plan_.segments.push_back(std::move(segment));
    }
    Evidence& evidence = plan_.term_evidence[static_cast<size_t>(BreakdownTerm::optimizer)];
    for (const Piece& piece : plan_.optimizer.front().pieces) evidence = weaker(evidence, piece.evidence);
  }

  const ModelSpec& model_;
  const TrainingSpec& training_;
  const SoftwareStack& stack_;
  const ParallelPlan& parallel_;
  const ClusterShape& cluster_;
  const CostInputs& inputs_;
  RankMap map_;
  PlanShapes shapes_;
  double gradient_bytes_;
  double parameter_bytes_;
  Members data_members_ = Members::data;  // of a reduction without ZeRO
  GroupShape data_shape_, shard_shape_, replica_shape_;
  GroupShape expert_data_shape_, expert_shard_shape_, expert_replica_shape_;
  StepPlan plan_;
};

}  // namespace

StepPlan assemble_plan(const ModelSpec& model, const TrainingSpec& training, const SoftwareStack& stack,
                       const ParallelPlan& parallel, const ClusterShape& cluster, const CostInputs& inputs,
                       std::shared_ptr<const LayerCosts> costs) {
  return PlanAssembly(model, training, stack, parallel, cluster, inputs, std::move(costs)).assemble();
}

}  // namespace orrery
