#include "models/lowering.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "models/crossing_collectives.hpp"
#include "models/loop_plan.hpp"
#include "models/pass_order.hpp"
#include "models/step_walk.hpp"

namespace orrery {
namespace {

/// Tasks that taking collectives out of their segments may add; beyond it several layers share one.
constexpr double kMostCrossingTasks = 2e6;

/// Beyond it the graph's arrays grow as they are filled.
constexpr double kMostTasksExpected = 1e8;

/// Makes tasks of what the walk tells. One handle stands for a stage's block of tasks: one task a simulated
/// rank
/// (`by_rank`), or one a communication group.
class GraphSink {
 public:
  struct Handle {
    std::int32_t first = -1;  ///< first task of the block
    std::int16_t stage = 0;
    Members members = Members::data;
    bool by_rank = true;
    explicit operator bool() const { return first >= 0; }
  };

  GraphSink(const StepPlan& plan, Scope scope, double most_crossing_tasks = kMostCrossingTasks)
      : plan_(plan),
        map_(plan.parallel),
        full_(scope == Scope::full),
        builder_(simulated_ranks(plan, scope)),
        crossing_(crossing_traffic(plan)),
        layers_a_step_(layers_a_step(plan, simulated_ranks(plan, scope), most_crossing_tasks)) {
    lay_out_ranks();
    // Each rank's passes, and as many sends; a little more for what comes once.
    const double passes = 2.0 * plan.parallel.interleave * static_cast<double>(plan.micro_batches);
    const double tasks = 2.05 * passes * simulated_ranks(plan, scope);
    builder_.expect_tasks(static_cast<size_t>(std::min(tasks, kMostTasksExpected)));
  }

  Handle compute(int stage, int segment, double from_s, double to_s, int chunk, int micro_batch,
                 std::initializer_list<Handle> after) {
    Task task;
    task.micro_batch = micro_batch;
    task.chunk = static_cast<std::int16_t>(chunk);
    Handle done;
    for (const ScriptStep& step : script_of(segment, from_s, to_s)) {
      const std::initializer_list<Handle> before = {done};
      const auto& waits_for = done ? before : after;
      done = step.traffic < 0 ? segment_tasks(stage, step.index, task, waits_for)
                              : crossing_tasks(stage, step, task, waits_for);
    }
    return done;
  }

  Handle exchange(int stage, const Exchange& exchange, int chunk, int micro_batch,
                  std::initializer_list<Handle> after) {
    Task task;
    task.kind = TaskKind::communication;
    task.micro_batch = micro_batch;
    task.chunk = static_cast<std::int16_t>(chunk);
    task.stream = 2;
    return group_tasks(stage, exchange.members, task, after,
                       [&](size_t g) { return group_communication(exchange, stage, g); });
  }

  Handle exchange_between(int first, int last, const Exchange& exchange,
                          std::initializer_list<Handle> first_after,
                          std::initializer_list<Handle> last_after) {
    return pair_tasks(first, last, exchange, 2, 0, -1, first_after, last_after);
  }

  Handle send(int from, int to, bool forward, const Exchange& exchange, int chunk, int micro_batch,
              std::initializer_list<Handle> after) {
    return pair_tasks(from, to, exchange, forward ? 3 : 4, chunk, micro_batch, after, {});
  }

  /// One task a group of clients; its leader moves the bytes and all of the group wait.
  /// @param share of the bytes, and of their time
  Handle storage(int stage, const StorageAccess& access, std::initializer_list<Handle> after,
                 double share = 1.0) {
    Task task;
    task.kind = TaskKind::communication;
    task.stream = 5;
    return group_tasks(stage, access.clients, task, after,
                       [&](size_t g) { return storage_communication(access, share, stage, g); });
  }

  /// Compute of a stage that no pass has.
  Handle work(int stage, const PassCost& cost, std::initializer_list<Handle> after) {
    Segment segment;
    segment.name = "outer optimizer";
    segment.pieces = cost.pieces;
    segment.duration = cost.duration;
    return segment_tasks(stage, builder_.add_segment(std::move(segment)), {}, after);
  }

  WorkloadGraph finish() { return builder_.finish(); }

 private:
  struct Groups {
    std::vector<std::vector<std::int32_t>> simulated;  ///< members as simulated ranks
    std::vector<std::vector<int>> gpus;       ///< every group of the stage, ring order, as cluster GPUs
    std::vector<std::int32_t> group_of_rank;  ///< by index of a rank in its stage
  };

  /// What a stretch of compute becomes: segments, and between them the collectives that cross domains.
  struct ScriptStep {
    std::int32_t index = 0;  ///< segment; of a collective: its number among those of the same traffic
    int traffic = -1;        ///< entry of crossing_, -1 for a segment
    double exposed_s = 0;
  };

  Handle segment_tasks(int stage, std::int32_t segment, Task task, std::initializer_list<Handle> after) {
    task.kind = TaskKind::segment;
    task.index = segment;
    Handle result{-1, static_cast<std::int16_t>(stage), Members::data, true};
    const int first_rank = stage * ranks_a_stage_;
    for (int i = 0; i < ranks_a_stage_; ++i) {
      task.rank = first_rank + i;
      const std::int32_t id = builder_.add_task(task);
      if (i == 0) result.first = id;
      for (const Handle& handle : after) depend_on(id, handle, stage, i);
    }
    return result;
  }

  Handle crossing_tasks(int stage, const ScriptStep& step, Task task, std::initializer_list<Handle> after) {
    const CrossingTraffic& traffic = crossing_[static_cast<size_t>(step.traffic)];
    task.kind = TaskKind::communication;
    task.stream = 1;
    return group_tasks(stage, traffic.members, task, after,
                       [&](size_t g) { return crossing_communication(traffic, step, stage, g); });
  }

  /// One task a group of the stage.
  template <typename CommunicationOf>
  Handle group_tasks(int stage, Members members_of, Task task, std::initializer_list<Handle> after,
                     const CommunicationOf& communication_of) {
    const auto& groups = groups_of(members_of, stage);
    Handle result{-1, static_cast<std::int16_t>(stage), members_of, false};
    for (size_t g = 0; g < groups.simulated.size(); ++g) {
      const std::vector<std::int32_t>& members = groups.simulated[g];  // simulated ranks
      task.rank = members.front();
      task.index = communication_of(g);
      const std::int32_t id = builder_.add_task(task, members);
      if (g == 0) result.first = id;
      for (const Handle& handle : after) {
        for (const std::int32_t rank : members) depend_on(id, handle, stage, rank - stage * ranks_a_stage_);
      }
    }
    return result;
  }

  static int simulated_ranks(const StepPlan& plan, Scope scope) {
    return scope == Scope::full ? plan.parallel.gpus() : plan.parallel.pipeline;
  }

  void lay_out_ranks() {
    const ParallelPlan& p = plan_.parallel;
    WorkloadGraph& graph = builder_.graph();
    gpus_a_stage_ = p.gpus() / p.pipeline;
    ranks_a_stage_ = full_ ? gpus_a_stage_ : 1;
    stage_gpus_.resize(static_cast<size_t>(p.pipeline));
    for (int stage = 0; stage < p.pipeline; ++stage) {
      auto& gpus = stage_gpus_[static_cast<size_t>(stage)];
      for (int d = 0; d < p.data; ++d) {
        for (int c = 0; c < p.context; ++c) {
          for (int t = 0; t < p.tensor; ++t) gpus.push_back(map_.rank({t, c, d, stage}));
        }
      }
      for (int i = 0; i < ranks_a_stage_; ++i) {
        const int gpu = gpus[static_cast<size_t>(i)];
        graph.gpu_of_rank.push_back(gpu);
        graph.rank_names.push_back(
            full_ ? "GPU " + std::to_string(gpu) + " (stage " + std::to_string(stage) + ")"
                  : "stage " + std::to_string(stage) + " (GPU " + std::to_string(gpu) + ")");
      }
    }
  }

  /// Index in stage_gpus_ of a GPU of that stage.
  size_t index_in_stage(int gpu) const {
    const RankCoordinates at = map_.coordinates(gpu);
    return (static_cast<size_t>(at.data) * static_cast<size_t>(plan_.parallel.context) +
            static_cast<size_t>(at.context)) *
               static_cast<size_t>(plan_.parallel.tensor) +
           static_cast<size_t>(at.tensor);
  }

  const Groups& groups_of(Members members, int stage) {
    const auto key = std::pair(members, stage);
    const auto known = groups_.find(key);
    if (known != groups_.end()) return known->second;
    Groups groups;
    groups.group_of_rank.assign(static_cast<size_t>(gpus_a_stage_), -1);
    const auto& gpus = stage_gpus_[static_cast<size_t>(stage)];
    for (size_t i = 0; i < gpus.size(); ++i) {
      if (groups.group_of_rank[i] >= 0) continue;
      std::vector<int> group = map_.group(members, gpus[i]);
      for (const int gpu : group) {
        groups.group_of_rank[index_in_stage(gpu)] = static_cast<std::int32_t>(groups.gpus.size());
      }
      if (full_ || groups.gpus.empty()) {
        std::vector<std::int32_t> ranks;
        if (full_) {
          for (const int gpu : group) {
            ranks.push_back(stage * ranks_a_stage_ + static_cast<std::int32_t>(index_in_stage(gpu)));
          }
        } else {
          ranks.push_back(stage);
        }
        groups.simulated.push_back(std::move(ranks));
      }
      groups.gpus.push_back(std::move(group));
    }
    return groups_.emplace(key, std::move(groups)).first->second;
  }

  static Communication describe(const Exchange& exchange) {
    Communication result;
    result.group = exchange.group;
    result.op = exchange.op;
    result.payload = exchange.payload * exchange.calls;
    result.calls = exchange.calls;
    result.latency = exchange.latency();
    result.transfer = exchange.transfer();
    result.algorithm = exchange.time.algorithm;
    result.protocol = exchange.time.protocol;
    result.evidence = exchange.time.evidence;
    result.slows = exchange.slows;
    return result;
  }

  /// The communication of group g of a stage; made at its first use. Calls merged into one task keep their
  /// latencies.
  std::int32_t group_communication(const Exchange& exchange, int stage, size_t g) {
    const auto key = std::tuple(static_cast<int>(exchange.members), static_cast<int>(exchange.op),
                                exchange.payload.base(), exchange.calls, stage, g);
    const auto known = communications_.find(key);
    if (known != communications_.end()) return known->second;
    Communication communication = describe(exchange);
    const Groups& groups = groups_of(exchange.members, stage);
    communication.groups = full_ ? std::vector<std::vector<int>>{groups.gpus[g]} : groups.gpus;
    return communications_.emplace(key, builder_.add_communication(std::move(communication))).first->second;
  }

  std::int32_t storage_communication(const StorageAccess& access, double share, int stage, size_t g) {
    const auto key = std::tuple(static_cast<int>(access.use), stage, full_ ? g : 0);
    const auto known = storage_.find(key);
    if (known != storage_.end()) return known->second;
    Communication communication;
    communication.storage = access.use;
    communication.storage_term = access.term;
    communication.payload = access.bytes * share;
    communication.latency = access.latency * share;
    communication.transfer = access.transfer * share;
    communication.algorithm = "p2p";
    communication.evidence = Evidence::datasheet;
    const Groups& groups = groups_of(access.clients, stage);
    for (size_t each = full_ ? g : 0; each < groups.gpus.size(); ++each) {
      communication.groups.push_back({groups.gpus[each].front()});
      if (full_) break;
    }
    return storage_.emplace(key, builder_.add_communication(std::move(communication))).first->second;
  }

  std::int32_t crossing_communication(const CrossingTraffic& traffic, const ScriptStep& step, int stage,
                                      size_t g) {
    const auto key = std::tuple(step.traffic, step.exposed_s, stage, g);
    const auto known = crossing_communications_.find(key);
    if (known != crossing_communications_.end()) return known->second;
    Communication communication;
    communication.group = traffic.group;
    communication.op = traffic.op;
    communication.payload = Bytes(traffic.payload_per_s * step.exposed_s);
    communication.latency = Seconds(step.exposed_s * traffic.latency_share);
    communication.transfer = Seconds(step.exposed_s) - communication.latency;
    communication.algorithm = traffic.algorithm;
    communication.protocol = traffic.protocol;
    communication.evidence = traffic.evidence;
    const Groups& groups = groups_of(traffic.members, stage);
    communication.groups = full_ ? std::vector<std::vector<int>>{groups.gpus[g]} : groups.gpus;
    return crossing_communications_.emplace(key, builder_.add_communication(std::move(communication)))
        .first->second;
  }

  /// One task a pair of ranks with the same coordinates on two stages.
  Handle pair_tasks(int from, int to, const Exchange& exchange, int stream, int chunk, int micro_batch,
                    std::initializer_list<Handle> from_after, std::initializer_list<Handle> to_after) {
    Handle result{-1, static_cast<std::int16_t>(from), Members::stages, true};
    const auto& sources = stage_gpus_[static_cast<size_t>(from)];
    const auto& targets = stage_gpus_[static_cast<size_t>(to)];
    Task task;
    task.kind = TaskKind::communication;
    task.micro_batch = micro_batch;
    task.chunk = static_cast<std::int16_t>(chunk);
    task.stream = static_cast<std::int16_t>(stream);
    const auto key = std::tuple(from, to, static_cast<int>(exchange.op));
    auto known = pairs_.find(key);
    if (known == pairs_.end()) {
      const std::int32_t first = static_cast<std::int32_t>(builder_.graph().communications.size());
      for (int i = 0; i < ranks_a_stage_; ++i) {
        Communication communication = describe(exchange);
        for (size_t twin = static_cast<size_t>(i); twin < sources.size(); ++twin) {
          communication.groups.push_back({sources[twin], targets[twin]});
          if (full_) break;
        }
        builder_.add_communication(std::move(communication));
      }
      known = pairs_.emplace(key, first).first;
    }
    for (int i = 0; i < ranks_a_stage_; ++i) {
      task.rank = from * ranks_a_stage_ + i;
      task.index = known->second + i;
      const std::int32_t ranks[2] = {task.rank, to * ranks_a_stage_ + i};
      const std::int32_t id = builder_.add_task(task, ranks);
      if (i == 0) result.first = id;
      for (const Handle& handle : from_after) depend_on(id, handle, from, i);
      for (const Handle& handle : to_after) depend_on(id, handle, to, i);
    }
    return result;
  }

  /// Lets task `id` wait for what a handle means to the rank with index `i` of `stage`.
  void depend_on(std::int32_t id, const Handle& handle, int stage, int i) {
    if (!handle) return;
    if (handle.by_rank) {
      builder_.depend(id, handle.first + i);
      return;
    }
    const Groups& groups = groups_of(handle.members, stage);
    builder_.depend(id, handle.first + (full_ ? groups.group_of_rank[static_cast<size_t>(i)] : 0));
  }

  const std::vector<ScriptStep>& script_of(int segment, double from_s, double to_s) {
    const auto key = std::tuple(segment, from_s, to_s);
    const auto known = scripts_.find(key);
    if (known != scripts_.end()) return known->second;
    std::vector<ScriptStep> script;
    Segment whole = expand_segment(plan_, segment, from_s, to_s);
    if (crossing_.empty()) {
      script.push_back({builder_.add_segment(std::move(whole))});
      return scripts_.emplace(key, std::move(script)).first->second;
    }
    for (SplitStep& step : split_segment(whole, crossing_, layers_a_step_)) {
      if (step.segment.duration > Seconds(0) || script.empty()) {
        script.push_back({builder_.add_segment(std::move(step.segment))});
      }
      for (size_t i = 0; i < crossing_.size(); ++i) {
        if (step.exposed_s[i] > 0) script.push_back({0, static_cast<int>(i), step.exposed_s[i]});
      }
    }
    return scripts_.emplace(key, std::move(script)).first->second;
  }

  const StepPlan& plan_;
  RankMap map_;
  bool full_;
  WorkloadGraphBuilder builder_;
  std::vector<CrossingTraffic> crossing_;
  int layers_a_step_;
  int gpus_a_stage_ = 1;
  int ranks_a_stage_ = 1;
  std::vector<std::vector<int>>
      stage_gpus_;  ///< by stage: cluster GPUs, tensor fastest, then context, then data
  std::map<std::pair<Members, int>, Groups> groups_;
  std::map<std::tuple<int, int, double, int, int, size_t>, std::int32_t> communications_;
  std::map<std::tuple<int, int, int>, std::int32_t> pairs_;
  std::map<std::tuple<int, int, size_t>, std::int32_t> storage_;
  std::map<std::tuple<int, double, double>, std::vector<ScriptStep>> scripts_;
  std::map<std::tuple<int, double, int, size_t>, std::int32_t> crossing_communications_;
};

void walk_step(const StepPlan& plan, std::int32_t micro_batches, GraphSink& sink) {
  std::vector<OrderedPass> order;
  if (!plan.sharded.enabled) {
    order = execution_order(
        make_schedule(plan.parallel.schedule, plan.stages(), plan.parallel.interleave, micro_batches));
  }
  StepWalk<GraphSink>(plan, sink).run(order, micro_batches);
}

/// Storage alone: an access a stage.
WorkloadGraph lower_accesses(const StepPlan& plan, Scope scope, const std::vector<StorageAccess>& accesses,
                             double share = 1.0) {
  GraphSink sink(plan, scope);
  for (size_t stage = 0; stage < accesses.size(); ++stage) {
    sink.storage(static_cast<int>(stage), accesses[stage], {}, share);
  }
  return sink.finish();
}

}  // namespace

WorkloadGraph lower(const StepPlan& plan, Scope scope, double checkpoint_share) {
  GraphSink sink(plan, scope);
  if (plan.loop) {
    const InputPlan& input = plan.loop->input;
    for (size_t stage = 0; stage < input.read.size() && input.prefetched; ++stage) {
      if (input.read[stage].exists()) sink.storage(static_cast<int>(stage), input.read[stage], {});
    }
    const std::vector<StorageAccess>& write = plan.loop->checkpoint.write;
    for (size_t stage = 0; stage < write.size() && checkpoint_share > 0.0; ++stage) {
      sink.storage(static_cast<int>(stage), write[stage], {}, checkpoint_share);
    }
  }
  walk_step(plan, plan.micro_batches, sink);
  return sink.finish();
}

WorkloadGraph lower_passes(const StepPlan& plan, Scope scope, std::int32_t micro_batches,
                           double most_crossing_tasks) {
  GraphSink sink(plan, scope, most_crossing_tasks);
  walk_step(plan, micro_batches, sink);
  return sink.finish();
}

WorkloadGraph lower_checkpoint(const StepPlan& plan, Scope scope, double share) {
  return lower_accesses(plan, scope, plan.loop->checkpoint.write, share);
}

WorkloadGraph lower_restore(const StepPlan& plan, Scope scope) {
  return lower_accesses(plan, scope, plan.loop->checkpoint.read_back);
}

WorkloadGraph lower_averaging(const StepPlan& plan, Scope scope) {
  GraphSink sink(plan, scope);
  const SyncPlan& sync = plan.loop->sync;
  for (size_t stage = 0; stage < sync.average.size(); ++stage) {
    if (!sync.average[stage].exists()) continue;
    const int number = static_cast<int>(stage);
    const auto averaged = sink.exchange(number, sync.average[stage], 0, -1, {});
    sink.work(number, sync.outer[stage], {averaged});
  }
  return sink.finish();
}

}  // namespace orrery
