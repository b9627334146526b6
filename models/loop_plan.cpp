#include "models/loop_plan.hpp"

#include <algorithm>
#include <span>
#include <stdexcept>

#include "models/layer_shapes.hpp"
#include "models/optimizer_step.hpp"
#include "models/plan_shapes.hpp"

namespace orrery {

namespace {

constexpr std::int64_t kVocabularyOfTwoBytes = 65'500;
/// Parameters are averaged in fp32: a mean in bf16 would lose the last steps' updates (PyTorch,
/// distributed/algorithms/model_averaging averages the fp32 parameters that autocast trains).
constexpr double kAveragedBytes = 4.0;
constexpr StorageClients kOneClient{1, 1};

/// Parameters of each stage that a rank trains.
std::vector<double> parameters_by_stage(const StepPlan& plan) {
  std::vector<double> parameters(static_cast<size_t>(plan.stages()), 0.0);
  for (size_t v = 0; v < plan.virtual_stages.size(); ++v) {
    parameters[static_cast<size_t>(plan.placement.stage_of(static_cast<int>(v)))] +=
        plan.virtual_stages[v].parameters;
  }
  return parameters;
}

/// Those that it holds and does not train (LoRA's base weights).
std::vector<double> frozen_by_stage(const StepPlan& plan) {
  std::vector<double> frozen(static_cast<size_t>(plan.stages()), 0.0);
  for (size_t v = 0; v < plan.virtual_stages.size(); ++v) {
    double& of_stage = frozen[static_cast<size_t>(plan.placement.stage_of(static_cast<int>(v)))];
    for (const PartRun& run : plan.virtual_stages[v].runs) {
      of_stage += run.count * (plan.costs->parameters_of(run.part, run.kind) -
                               plan.costs->trained_parameters_of(run.part, run.kind));
    }
  }
  return frozen;
}

class LoopAssembly {
 public:
  LoopAssembly(const ModelSpec& model, const TrainingSpec& training, const StepPlan& plan,
               const ClusterShape& cluster, const SoftwareStack& stack, const CostInputs& inputs)
      : model_(model),
        training_(training),
        plan_(plan),
        parallel_(plan.parallel),
        cluster_(cluster),
        stack_(stack),
        inputs_(inputs),
        map_(plan.parallel),
        shapes_(cluster, plan.parallel, map_),
        parameters_(parameters_by_stage(plan)),
        frozen_(frozen_by_stage(plan)) {}

  LoopPlan assemble() {
    if (training_.data && training_.data->reads) add_input(*training_.data);
    if (training_.checkpoint) add_checkpoint(*training_.checkpoint);
    if (training_.sync.kind == SyncKind::local) add_local();
    if (serves_beside_step(training_)) add_servers();
    return std::move(loop_);
  }

 private:
  size_t stages() const { return parameters_.size(); }
  size_t stage_of(size_t virtual_stage) const {
    return static_cast<size_t>(plan_.placement.stage_of(static_cast<int>(virtual_stage)));
  }
  /// Stages that hold all of the model once: two chains hold it twice.
  size_t stages_of_a_copy() const { return stages() / static_cast<size_t>(plan_.placement.chains()); }

  /// GPUs of a stage that lead a group of that kind.
  std::vector<int> leaders(Members members, size_t stage) const {
    std::vector<int> gpus;
    RankCoordinates at;
    at.pipeline = static_cast<int>(stage);
    for (at.data = 0; at.data < parallel_.data; ++at.data) {
      for (at.context = 0; at.context < parallel_.context; ++at.context) {
        for (at.tensor = 0; at.tensor < parallel_.tensor; ++at.tensor) {
          if (leads(members, at)) gpus.push_back(map_.rank(at));
        }
      }
    }
    return gpus;
  }
  bool leads(Members members, const RankCoordinates& at) const {
    switch (members) {
      case Members::tensor:
        return at.tensor == 0;
      case Members::context:
        return at.context == 0;
      case Members::data:
        return at.context == 0 && at.data == 0;
      case Members::replica:
        return map_.replica_group(map_.rank(at)).front() == map_.rank(at);
      case Members::self:
        return true;
      default:
        break;
    }
    throw std::logic_error("storage has no clients of that kind");
  }

  static void append(std::vector<int>& all, const std::vector<int>& more) {
    all.insert(all.end(), more.begin(), more.end());
  }

  /// Parameters of a stage that the first one holds too and writes: the last one's table of words, where the
  /// model multiplies with it once more or looks words up for multi-token prediction (Megatron-core,
  /// models/common/language_module/language_module.py: the last stage's is a replica of the first's).
  double copied(size_t stage) const {
    const bool twice = model_.tied_embeddings || model_.mtp_layers > 0;
    if (!twice || plan_.placement.ends_together() || stage + 1 != stages()) return 0.0;
    const std::int64_t words = padded_vocabulary(model_, stack_.vocab_multiple, parallel_.tensor);
    return static_cast<double>(largest_share(words, parallel_.tensor) * model_.hidden);
  }
  /// Of the parameters that a stage trains, those that a checkpoint holds: all but such copies. Under LoRA
  /// the table is frozen.
  double written(size_t stage) const {
    return training_.lora ? parameters_[stage] : parameters_[stage] - copied(stage);
  }

  void require_storage() const {
    if (!cluster_.storage.exists) throw std::invalid_argument("the cluster has no storage");
  }

  void add_input(const DataSpec& data) {
    require_storage();
    InputPlan& input = loop_.input;
    std::vector<bool> reads(stages(), false);
    for (size_t v = 0; v < plan_.virtual_stages.size(); ++v) {
      const VirtualStage& stage = plan_.virtual_stages[v];
      if (stage.embedding || stage.head) reads[stage_of(v)] = true;
    }
    std::vector<int> readers;
    for (size_t stage = 0; stage < stages(); ++stage) {
      if (reads[stage]) append(readers, leaders(Members::tensor, stage));
    }
    const BytesPerSecond rate =
        storage_rate(cluster_, StorageDirection::read, storage_clients(cluster_, readers));
    input.readers = static_cast<int>(readers.size());
    input.prefetched = data.workers > 0;
    input.bytes_per_sample =
        data.bytes_per_sample ? *data.bytes_per_sample : stored_sample_bytes(model_, training_);
    if (data.samples) {
      input.steps_per_epoch =
          static_cast<double>(*data.samples) / static_cast<double>(training_.global_batch);
      input.dataset = input.bytes_per_sample * static_cast<double>(*data.samples);
    }
    input.samples = static_cast<double>(
        data.split == DataSplit::by_batch ? training_.global_batch : parallel_.largest_share(training_));
    if (data.split == DataSplit::by_sample) input.bytes_per_sample /= parallel_.context;
    const Seconds access = data.open_cost + cluster_.storage.latency;
    const Seconds think = access + data.decode_cost;
    const Seconds transfer = input.bytes_per_sample / rate;
    input.by_workers = (think + transfer) * (input.samples / std::max(data.workers, 1));
    input.by_storage = transfer * input.samples;
    input.load = max(input.by_workers, input.by_storage);

    // Bytes flow as evenly as the loader asks for them, from its first access on.
    StorageAccess read;
    read.use = StorageUse::read;
    read.term = BreakdownTerm::input_exposed;
    read.clients = Members::tensor;
    read.bytes = input.bytes_per_sample * input.samples;
    read.latency = min(access, input.load - input.by_storage);
    read.transfer = input.load - read.latency;
    input.read.resize(stages());
    for (size_t stage = 0; stage < stages(); ++stage) {
      if (reads[stage]) input.read[stage] = read;
    }
  }

  /// One writer for each group of this kind holds state of its own.
  Members writers_of_state() const {
    if (training_.sync.kind == SyncKind::async) return Members::self;
    if (training_.sync.kind == SyncKind::local) return parallel_.zero > 0 ? Members::self : Members::context;
    return parallel_.zero > 0 ? Members::replica : Members::data;
  }
  /// Ranks that divide one copy of the state of a stage and tensor rank among them.
  double state_shards() const {
    if (training_.sync.kind == SyncKind::async) return parallel_.data;
    return parallel_.zero > 0 ? parallel_.shard_group : 1;
  }

  void add_checkpoint(const CheckpointSpec& spec) {
    require_storage();
    CheckpointPlan& checkpoint = loop_.checkpoint;
    checkpoint.every = spec.every;
    checkpoint.async = spec.async;
    const CheckpointBytes bytes = checkpoint_bytes_per_parameter(training_);
    const double of_state = bytes.all() + outer_state_bytes(training_);
    const Members writers = writers_of_state();
    const BytesPerSecond alone = storage_rate(cluster_, StorageDirection::write, kOneClient);
    std::vector<StorageLoad> loads;
    for (size_t stage = 0; stage < stages_of_a_copy(); ++stage) {
      StorageAccess write;
      write.use = StorageUse::write;
      write.term = BreakdownTerm::checkpoint_exposed;
      write.clients = writers;
      const double parameters = written(stage);
      write.bytes = Bytes((parameters * of_state + states_of_matrices(stage, parameters)) / state_shards());
      write.latency = cluster_.storage.latency;
      write.transfer = write.bytes / alone;
      loads.push_back({leaders(writers, stage), write.bytes});
      checkpoint.writers += static_cast<int>(loads.back().gpus.size());
      checkpoint.bytes += write.bytes * static_cast<double>(loads.back().gpus.size());
      if (spec.async && cluster_.host_memory_link > BytesPerSecond(0)) {
        // What is on the host already is not copied there.
        const Bytes staged =
            training_.offload.optimizer ? Bytes(parameters * bytes.weight / state_shards()) : write.bytes;
        checkpoint.staging = max(checkpoint.staging, staged / cluster_.host_memory_link);
      }
      checkpoint.write.push_back(write);
    }
    checkpoint.time = time_of_all(StorageDirection::write, loads);
    add_restore(bytes);
    add_merging(bytes);
  }

  /// Bytes of optimizer states beyond those of every parameter alike, on a rank of a stage, of all the
  /// `parameters` that it trains or of those that it writes.
  double states_of_matrices(size_t stage, double parameters) const {
    double ends = parameters - parameters_[stage];
    for (size_t v = 0; v < plan_.virtual_stages.size() && !training_.lora; ++v) {
      if (stage_of(v) != stage) continue;
      if (plan_.virtual_stages[v].embedding) ends += plan_.costs->embedding_parameters;
      if (plan_.virtual_stages[v].head) ends += plan_.costs->head_parameters;
    }
    const int layers = layers_of_stage(parallel_, static_cast<int>(stage));
    return states_by_matrix(training_.optimizer, trained_matrices(model_, training_, parallel_, layers),
                            parameters, ends, model_.hidden);
  }

  void add_restore(const CheckpointBytes& bytes) {
    CheckpointPlan& checkpoint = loop_.checkpoint;
    const BytesPerSecond alone = storage_rate(cluster_, StorageDirection::read, kOneClient);
    std::vector<StorageLoad> loads;
    for (size_t stage = 0; stage < stages(); ++stage) {
      // Base weights come from the model that is fine-tuned: a rank reads those that it holds, too.
      const double weights = (parameters_[stage] + frozen_[stage]) * bytes.weight;
      const double states = parameters_[stage] * (bytes.optimizer + outer_state_bytes(training_)) +
                            states_of_matrices(stage, parameters_[stage]);
      StorageAccess read;
      read.use = StorageUse::read;
      read.clients = Members::self;
      read.bytes =
          Bytes((parallel_.zero >= 3 ? weights / state_shards() : weights) + states / state_shards());
      read.latency = cluster_.storage.latency;
      read.transfer = read.bytes / alone;
      loads.push_back({leaders(Members::self, stage), read.bytes});
      checkpoint.read_back.push_back(read);
    }
    checkpoint.restore = time_of_all(StorageDirection::read, loads);
  }

  /// One access of each, all at once.
  Seconds time_of_all(StorageDirection direction, std::span<const StorageLoad> loads) const {
    const std::vector<Seconds> ends = storage_times(cluster_, direction, loads);
    return cluster_.storage.latency + *std::max_element(ends.begin(), ends.end());
  }

  void add_merging(const CheckpointBytes& bytes) {
    CheckpointPlan& checkpoint = loop_.checkpoint;
    double trained = 0;
    double frozen = 0;
    for (size_t stage = 0; stage < stages_of_a_copy(); ++stage) {
      trained += written(stage) * parallel_.tensor;
      frozen += (training_.lora ? frozen_[stage] - copied(stage) : 0.0) * parallel_.tensor;
    }
    // Adapters are added to the base weights: what is written is as large as the base model.
    checkpoint.merged = Bytes((training_.lora ? frozen : trained) * bytes.weight);
    const Bytes sources = Bytes((trained + frozen) * bytes.weight);
    BytesPerSecond read = storage_rate(cluster_, StorageDirection::read, kOneClient);
    // The drives of other nodes are a NIC away.
    if (cluster_.storage.local && cluster_.gpus > cluster_.gpus_per_node) {
      read = min(read, cluster_.nic_bandwidth * cluster_.payload_efficiency);
    }
    checkpoint.merging = 2.0 * cluster_.storage.latency + sources / read +
                         checkpoint.merged / storage_rate(cluster_, StorageDirection::write, kOneClient);
  }

  Exchange exchange(Members members, CollectiveOp op, Bytes payload, const GroupShape& shape) const {
    Exchange result;
    result.group = GroupKind::data;
    result.members = members;
    result.op = op;
    result.payload = payload;
    result.ranks = shape.ranks;
    result.time = inputs_.collective_time(GroupKind::data, op, payload, shape);
    result.slows = 1.0 + stack_.overlap_slowdown;
    return result;
  }

  void add_local() {
    SyncPlan& sync = loop_.sync;
    sync.period = training_.sync.period;
    const bool sharded = parallel_.zero > 0;
    const GroupShape shape = sharded ? shapes_.replica() : shapes_.data();
    for (const double held : parameters_) {
      const double own = sharded ? held / parallel_.shard_group : held;
      sync.average.push_back(exchange(sharded ? Members::replica : Members::data, CollectiveOp::all_reduce,
                                      Bytes(own * kAveragedBytes), shape));
      sync.outer.push_back(outer_step(own));
    }
  }

  /// Applying the mean of `parameters`. Average: the reduced sum read, master and working copy written.
  /// Nesterov: before the reduction old and new parameters read and their difference written; after it
  /// difference, momentum and old parameters read, momentum, parameters and working copy written.
  PassCost outer_step(double parameters) const {
    const double working = checkpoint_bytes_per_parameter(training_).weight;
    const bool nesterov = training_.sync.outer == OuterOptimizer::nesterov;
    const double traffic = nesterov ? 3 * 4.0 + 3 * 4.0 + 2 * 4.0 + working : 4.0 + 4.0 + working;
    const Operator op{"outer_update", MemoryShape{Bytes(parameters * traffic), 1, MemoryKind::optimizer}};
    PassCost cost;
    if (parameters <= 0) return cost;
    const KernelTime time = inputs_.cost.time(op);
    cost.duration = time.time * (inputs_.straggler_factor * inputs_.factors.on(op));
    cost.pieces.push_back({op.name, BreakdownTerm::optimizer, cost.duration, time.evidence, -1});
    cost.by_term[static_cast<size_t>(BreakdownTerm::optimizer)] = cost.duration.base();
    return cost;
  }

  /// Each server shard holds 1/n of the parameters on one of the n workers: what a worker pushes and pulls is
  /// dealt over all, as an all-to-all deals it. What the staleness hides: transfers follow one another and
  /// take the links their time whatever happens; their latencies may stretch over as many steps as the
  /// staleness allows (Ho et al. 2013, section 2).
  void add_servers() {
    SyncPlan& sync = loop_.sync;
    const GroupShape shape = shapes_.data();
    const double gradient = reduced_gradient_bytes(training_, stack_);
    const double weight = activation_bytes(training_.precision);
    for (const double held : parameters_) {
      Exchange push = exchange(Members::data, CollectiveOp::all_to_all, Bytes(held * gradient), shape);
      Exchange pull = exchange(Members::data, CollectiveOp::all_to_all, Bytes(held * weight), shape);
      const double latency = (push.latency() + pull.latency()).base();
      const double transfer = (push.transfer() + pull.transfer()).base();
      double left = 0.0;  // of the latency, beyond what overlaps
      if (training_.sync.staleness) {
        left =
            std::max(0.0, (latency + transfer) / static_cast<double>(*training_.sync.staleness) - transfer);
      }
      const double share = latency > 0.0 ? left / latency : 0.0;
      push.time.latency *= share;
      pull.time.latency *= share;
      sync.push.push_back(push);
      sync.pull.push_back(pull);
    }
  }

  const ModelSpec& model_;
  const TrainingSpec& training_;
  const StepPlan& plan_;
  const ParallelPlan& parallel_;
  const ClusterShape& cluster_;
  const SoftwareStack& stack_;
  const CostInputs& inputs_;
  RankMap map_;
  PlanShapes shapes_;
  std::vector<double> parameters_, frozen_;
  LoopPlan loop_;
};

}  // namespace

CheckpointBytes checkpoint_bytes_per_parameter(const TrainingSpec& training) {
  return {activation_bytes(training.precision), optimizer_bytes(training).all()};
}

Bytes stored_sample_bytes(const ModelSpec& model, const TrainingSpec& training) {
  return Bytes(static_cast<double>(training.seq_length) * (model.vocab < kVocabularyOfTwoBytes ? 2.0 : 4.0));
}

double outer_state_bytes(const TrainingSpec& training) {
  const bool nesterov =
      training.sync.kind == SyncKind::local && training.sync.outer == OuterOptimizer::nesterov;
  return nesterov ? 8.0 : 0.0;
}

bool serves_in_step(const TrainingSpec& training) {
  return training.sync.kind == SyncKind::async && training.sync.staleness == 0;
}
bool serves_beside_step(const TrainingSpec& training) {
  return training.sync.kind == SyncKind::async && training.sync.staleness != 0;
}

std::shared_ptr<const LoopPlan> make_loop_plan(const ModelSpec& model, const TrainingSpec& training,
                                               const StepPlan& plan, const ClusterShape& cluster,
                                               const SoftwareStack& stack, const CostInputs& inputs) {
  const bool reads = training.data && training.data->reads;
  if (!reads && !training.checkpoint && training.sync.kind == SyncKind::step) return nullptr;
  return std::make_shared<const LoopPlan>(
      LoopAssembly(model, training, plan, cluster, stack, inputs).assemble());
}

void note_loop_evidence(StepPlan& plan) {
  if (!plan.loop) return;
  const auto rests_on = [&plan](BreakdownTerm term, Evidence evidence) {
    Evidence& known = plan.term_evidence[static_cast<size_t>(term)];
    known = weaker(known, evidence);
  };
  // Rates of storage are what the cluster's description says they are.
  rests_on(BreakdownTerm::input_exposed, Evidence::datasheet);
  rests_on(BreakdownTerm::checkpoint_exposed, Evidence::datasheet);
  for (const auto* list : {&plan.loop->sync.average, &plan.loop->sync.push}) {
    for (const Exchange& one : *list) {
      rests_on(BreakdownTerm::data_comm_exposed, one.time.evidence);
      double& spread = plan.communication_spread[static_cast<size_t>(BreakdownTerm::data_comm_exposed)];
      spread = std::max(spread, one.time.relative_spread);
    }
  }
  for (const PassCost& outer : plan.loop->sync.outer) {
    for (const Piece& piece : outer.pieces) rests_on(BreakdownTerm::optimizer, piece.evidence);
  }
}

}  // namespace orrery
