#include "reports/answers/simulation.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/base/errors.hpp"
#include "sim/engine/engine.hpp"
#include "sim/engine/link_use.hpp"
#include "sim/workload/side_by_side.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

/// Parts of the step for which the use of links is told.
constexpr int kPartsOfStep = 50;

InputError refusal(const std::string& file, std::string message) {
  return InputError(InputProblem{file, "", "", "", std::move(message)});
}

WorkloadGraph numbered_as_on_fabric(const SimulatedJob& job, WorkloadGraph graph) {
  if (!job.gpu_of.empty()) renumber_gpus(graph, job.gpu_of);
  return graph;
}

/// Footprints of what a cluster's links see; a group without a path is the cluster's fault.
Traffic routed(const SimulatedJob& job, const WorkloadGraph& graph, const Topology& topology) {
  try {
    return traffic_of(graph, topology);
  } catch (const std::runtime_error& error) {
    throw refusal(job.file, error.what());
  }
}

std::string what_is_uneven(const WorkloadGraph& graph, std::int32_t communication) {
  const Communication& uneven = graph.communications[static_cast<size_t>(communication)];
  return fmt::format("the groups of the {} do not have alike bottlenecks on this fabric", name_of(uneven));
}

/// Upper bound of the tasks with every GPU a rank.
std::int64_t tasks_unfolded(const WorkloadGraph& folded, const StepPlan& plan) {
  return static_cast<std::int64_t>(folded.tasks.size()) * (plan.parallel.gpus() / plan.parallel.pipeline);
}

void refuse_unfolding(const SimulatedJob& job, const Topology& topology, const std::string& why,
                      std::int64_t tasks) {
  if (tasks <= kMostTasksUnfolded) return;
  throw refusal(
      job.file,
      fmt::format(
          "{}: folded scope would be wrong, and every GPU is about {} million tasks; use --scope full{}", why,
          (tasks + 500'000) / 1'000'000,
          topology.routing() == Routing::ecmp ? ", or cluster.fabric.routing adaptive or static" : ""));
}

std::string note_of(const std::string& why) { return why + ": all GPUs are simulated"; }

}  // namespace

Simulation simulate_step(const SimulatedJob& job, const ClusterSpec& cluster, Scope scope) {
  return simulate_graph(job, build_topology(cluster), scope,
                        [&job](Scope each) { return lower(*job.plan, each); });
}

Simulation simulate_graph(const SimulatedJob& job, const Topology& topology, Scope scope,
                          const std::function<WorkloadGraph(Scope)>& graph_of_scope) {
  Simulation result;
  result.full_scope = scope == Scope::full;
  result.step = std::make_shared<SimulatedStep>();
  WorkloadGraph& graph = result.step->graph;
  graph = numbered_as_on_fabric(job, graph_of_scope(scope));
  Traffic traffic = routed(job, graph, topology);
  if (!job.contends) {
    result.step->timeline = run_contention_free(graph);
    return result;
  }
  result.step->timeline = run_step(graph, traffic);
  // Where nothing contends with the load of all twins on the links, it does not matter where they are.
  if (scope == Scope::folded && result.step->timeline.contended) {
    const std::int32_t uneven = first_uneven_communication(graph, topology, traffic, result.step->timeline);
    if (uneven >= 0) {
      const std::string why = what_is_uneven(graph, uneven);
      refuse_unfolding(job, topology, why, tasks_unfolded(graph, *job.plan));
      graph = numbered_as_on_fabric(job, graph_of_scope(Scope::full));
      traffic = routed(job, graph, topology);
      result.full_scope = true;
      result.note = note_of(why);
      result.step->timeline = run_step(graph, traffic);
    }
  }
  result.links = link_use(graph, result.step->timeline, traffic, topology, kPartsOfStep);
  return result;
}

Simulation simulate_beside(const BesideWork& work, const BesideWork& neighbour, const Topology& topology,
                           Scope scope) {
  const SimulatedJob& job = *work.job;
  const auto graph_of = [](const BesideWork& of, Scope each) {
    return numbered_as_on_fabric(*of.job, of.graph_of(each));
  };
  Simulation result;
  result.full_scope = scope == Scope::full;
  result.step = std::make_shared<SimulatedStep>();
  WorkloadGraph& own = result.step->graph;
  own = graph_of(work, scope);
  WorkloadGraph other = graph_of(neighbour, scope);
  // The job may become slower and the neighbour must not run out before it has ended.
  double laid_out_s = 1.5 * work.alone_s;
  for (;;) {
    const double repetitions = std::ceil(laid_out_s / neighbour.alone_s) + 1.0;
    if (repetitions * static_cast<double>(other.tasks.size()) > static_cast<double>(kMostNeighbourTasks)) {
      throw refusal(neighbour.job->file,
                    fmt::format("{:.0f} steps of the job beside it, which takes {:.3g} s each, "
                                "would be more than {} million tasks",
                                repetitions, neighbour.alone_s, kMostNeighbourTasks / 1'000'000));
    }
    const SideBySide both = side_by_side(own, other, static_cast<int>(repetitions));
    const Traffic traffic = routed(job, both.graph, topology);
    const size_t own_tasks = own.tasks.size();
    StepTimeline timeline = run_step(both.graph, traffic, static_cast<std::int64_t>(own_tasks));
    if (!result.full_scope && (timeline.contended || timeline.others_contended)) {
      const std::int32_t uneven = first_uneven_communication(both.graph, topology, traffic, timeline);
      if (uneven >= 0) {
        const std::string why = what_is_uneven(both.graph, uneven);
        refuse_unfolding(job, topology, why,
                         tasks_unfolded(own, *job.plan) + tasks_unfolded(other, *neighbour.job->plan));
        own = graph_of(work, Scope::full);
        other = graph_of(neighbour, Scope::full);
        result.full_scope = true;
        result.note = note_of(why);
        continue;
      }
    }
    const auto own_end = timeline.end_s.begin() + static_cast<std::ptrdiff_t>(own_tasks);
    const double step_s = *std::max_element(timeline.end_s.begin(), own_end);
    std::vector<double> ends;  // of the neighbour's steps
    for (size_t i = 0; i + 1 < both.repetition_begin.size(); ++i) {
      ends.push_back(*std::max_element(timeline.end_s.begin() + both.repetition_begin[i],
                                       timeline.end_s.begin() + both.repetition_begin[i + 1]));
    }
    if (ends.back() < step_s) {
      laid_out_s *= 2.0;
      continue;
    }
    const auto whole = std::upper_bound(ends.begin(), ends.end(), step_s) - ends.begin();
    result.neighbour_step_s =
        whole > 0 ? ends[static_cast<size_t>(whole - 1)] / static_cast<double>(whole) : ends.front();
    timeline.makespan_s = step_s;
    result.links = link_use(both.graph, timeline, traffic, topology, kPartsOfStep);
    StepTimeline& own_timeline = result.step->timeline;
    own_timeline.start_s.assign(timeline.start_s.begin(),
                                timeline.start_s.begin() + static_cast<std::ptrdiff_t>(own_tasks));
    own_timeline.end_s.assign(timeline.end_s.begin(), own_end);
    own_timeline.makespan_s = step_s;
    own_timeline.contended = timeline.contended;
    own_timeline.link_bytes = std::move(timeline.link_bytes);
    own_timeline.contention = std::move(timeline.contention);
    return result;
  }
}

}  // namespace orrery
