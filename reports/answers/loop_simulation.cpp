#include "reports/answers/loop_simulation.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "models/loop_estimate.hpp"
#include "models/loop_plan.hpp"
#include "reports/answers/communication_lines.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

/// More than round-off.
bool is_longer(double seconds, double than_s) { return seconds > than_s * (1.0 + 1e-6); }

bool writes(const WorkloadGraph& graph, size_t task) {
  return graph.tasks[task].kind == TaskKind::communication &&
         graph.communications[static_cast<size_t>(graph.tasks[task].index)].storage == StorageUse::write;
}

class LoopSimulation {
 public:
  LoopSimulation(const SimulatedJob& job, const ClusterSpec& cluster, Scope scope,
                 std::shared_ptr<const SimulatedStep> step)
      : job_(job),
        loop_(*job.plan->loop),
        topology_(build_topology(cluster)),
        scope_(scope),
        step_(std::move(step)) {}

  LoopAddition run() {
    if (loop_.checkpoint.every > 0) {
      write_ = simulate_graph(job_, topology_, scope_,
                              [this](Scope scope) { return lower_checkpoint(*job_.plan, scope); });
      result_.write = orrery::seconds(write_.step->timeline.makespan_s);
      // That writers share their store is no contention: the closed form knows it.
      result_.contended = is_longer(result_.write->base(), loop_.checkpoint.time.base());
      // No part of a step: where its flows meet, the step's do not.
      const Simulation restore = simulate_graph(
          job_, topology_, scope_, [this](Scope scope) { return lower_restore(*job_.plan, scope); });
      result_.restore = orrery::seconds(restore.step->timeline.makespan_s);
      if (loop_.checkpoint.async) {
        add_asynchronous_checkpoint();
      } else {
        add_checkpoint();
      }
    }
    if (loop_.sync.period > 0) add_averaging();
    return std::move(result_);
  }

 private:
  static Breakdown breakdown_of(const WorkloadGraph& graph, const StepTimeline& timeline) {
    return breakdown_of_rank(graph, timeline, slowest_rank(graph, timeline));
  }

  void add(const Breakdown& breakdown, double share) {
    for (size_t term = 0; term < breakdown.size(); ++term) result_.breakdown[term] += share * breakdown[term];
  }

  Simulation simulate(const std::function<WorkloadGraph(Scope)>& graph_of) {
    Simulation simulation = simulate_graph(job_, topology_, scope_, graph_of);
    result_.contended = result_.contended || simulation.step->timeline.contended;
    return simulation;
  }

  void add_checkpoint() {
    add(breakdown_of(write_.step->graph, write_.step->timeline),
        1.0 / static_cast<double>(loop_.checkpoint.every));
  }

  void add_asynchronous_checkpoint() {
    const CheckpointPlan& checkpoint = loop_.checkpoint;
    if (!step_) step_ = simulate([this](Scope scope) { return lower(*job_.plan, scope); }).step;
    const double step_s = step_->timeline.makespan_s;
    const double every = static_cast<double>(checkpoint.every);
    // As much of the write as would fill the step.
    const double alone_s = write_.step->timeline.makespan_s;
    const double share = std::min(1.0, step_s / alone_s);
    const Simulation together =
        simulate_graph(job_, topology_, scope_, [&](Scope scope) { return lower(*job_.plan, scope, share); });
    const WorkloadGraph& graph = together.step->graph;
    const StepBesideWrite beside = without_write(graph, together.step->timeline);
    const double write_s = beside.write_s / share;
    const double slowed_step_s = beside.timeline.makespan_s;
    result_.contended = result_.contended || is_longer(slowed_step_s, step_s) || is_longer(write_s, alone_s);
    const double slowed = std::min(1.0, write_s / slowed_step_s / every);
    add(breakdown_of(graph, beside.timeline), slowed);
    add(breakdown_of(step_->graph, step_->timeline), -slowed);
    result_.breakdown[static_cast<size_t>(BreakdownTerm::checkpoint_exposed)] +=
        async_checkpoint_exposed(checkpoint, alone_s, write_s, slowed_step_s);
  }

  void add_averaging() {
    const Simulation averaging = simulate([this](Scope scope) { return lower_averaging(*job_.plan, scope); });
    const WorkloadGraph& graph = averaging.step->graph;
    const StepTimeline& timeline = averaging.step->timeline;
    result_.averaging = breakdown_of(graph, timeline);
    for (double& term : result_.averaging) term /= static_cast<double>(loop_.sync.period);
    add(result_.averaging, 1.0);
    const int rank = slowest_rank(graph, timeline);
    for (const CommunicationUse& use : communication_use(graph, timeline, rank)) {
      const Communication& what = graph.communications[static_cast<size_t>(use.communication)];
      CommunicationTotal line{what.group,
                              what.op,
                              static_cast<int>(what.groups.front().size()),
                              what.payload,
                              use.count,
                              orrery::seconds(use.total_s),
                              orrery::seconds(use.exposed_s),
                              what.algorithm,
                              what.protocol,
                              what.evidence};
      line.every = loop_.sync.period;
      result_.communication.push_back(line);
    }
  }

  const SimulatedJob& job_;
  const LoopPlan& loop_;
  Topology topology_;
  Scope scope_;
  std::shared_ptr<const SimulatedStep> step_;
  Simulation write_;  ///< of a checkpoint, beside nothing
  LoopAddition result_;
};

}  // namespace

StepBesideWrite without_write(const WorkloadGraph& graph, StepTimeline timeline) {
  StepBesideWrite result;
  double end = 0.0;
  for (size_t task = 0; task < graph.tasks.size(); ++task) {
    if (!writes(graph, task)) {
      end = std::max(end, timeline.end_s[task]);
      continue;
    }
    result.write_s = std::max(result.write_s, timeline.end_s[task] - timeline.start_s[task]);
  }
  for (double& each : timeline.end_s) each = std::min(each, end);
  timeline.makespan_s = end;
  result.timeline = std::move(timeline);
  return result;
}

double LoopAddition::seconds() const { return std::accumulate(breakdown.begin(), breakdown.end(), 0.0); }

LoopAddition simulate_loop(const SimulatedJob& job, const ClusterSpec& cluster, Scope scope,
                           std::shared_ptr<const SimulatedStep> step) {
  const LoopPlan* loop = job.plan->loop.get();
  if (!loop || (loop->checkpoint.every == 0 && loop->sync.period == 0)) return {};
  return LoopSimulation(job, cluster, scope, std::move(step)).run();
}

}  // namespace orrery
