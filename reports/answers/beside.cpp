#include "reports/answers/beside.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "models/lowering.hpp"
#include "reports/answers/beside_loop.hpp"
#include "topologies/build_topology.hpp"

namespace orrery {
namespace {

/// A resolved section without the origins of its values and the names of its presets.
Json values_alone(const Json& resolved) {
  if (!resolved.is_object()) return resolved;
  if (resolved.contains("value") && resolved.contains("origin")) return resolved.at("value");
  Json values = Json::object();
  for (const auto& [key, member] : resolved.items()) {
    if (key != "preset") values[key] = values_alone(member);
  }
  return values;
}

/// The first key in which two nodes differ, dotted; empty if they agree.
std::string first_difference(const Json& a, const Json& b, const std::string& path) {
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, member] : a.items()) {
      const auto other = b.find(key);
      std::string here = path;
      here.append(1, '.').append(key);
      if (other == b.end()) return here;
      if (std::string found = first_difference(member, *other, here); !found.empty()) return found;
    }
    for (const auto& [key, member] : b.items()) {
      if (!a.contains(key)) return std::string(path).append(1, '.').append(key);
    }
    return "";
  }
  return a == b ? "" : path;
}

void check_nodes(const Experiment& experiment, const Experiment& neighbour) {
  std::string difference =
      first_difference(values_alone(resolved_cluster_json(experiment.cluster)).at("node"),
                       values_alone(resolved_cluster_json(neighbour.cluster)).at("node"), "node");
  if (difference.empty() && experiment.cluster.gpus_per_node() != neighbour.cluster.gpus_per_node()) {
    difference = "gpus";
  }
  if (difference.empty()) return;
  throw InputError(
      InputProblem{neighbour.file, "", "", "",
                   fmt::format("its nodes differ from those of {} (cluster.{}): two jobs share a "
                               "fabric on nodes of one type",
                               experiment.file, difference)});
}

/// Both jobs run on the first one's fabric: says so where the neighbour's own was another.
void warn_about_fabric(const Experiment& experiment, const Experiment& neighbour, Prediction& prediction) {
  const std::string difference =
      first_difference(values_alone(resolved_cluster_json(experiment.cluster)).at("fabric"),
                       values_alone(resolved_cluster_json(neighbour.cluster)).at("fabric"), "fabric");
  if (difference.empty()) return;
  prediction.warnings.push_back(
      fmt::format("{}: its cluster.{} differs from that of {}, on whose fabric both run", neighbour.file,
                  difference, experiment.file));
}

/// Storage is on the fabric, so that it is the first one's as well.
void check_storage(const Experiment& experiment, const Experiment& neighbour, Prediction& prediction) {
  const TrainingSpec& training = neighbour.training;
  const bool uses = training.checkpoint || (training.data && training.data->reads);
  const std::optional<StorageSpec>& shared = experiment.cluster.storage;
  if (uses && !shared) {
    throw InputError(InputProblem{
        experiment.file, "/cluster/storage", "nothing",
        fmt::format("storage: both jobs run on this file's fabric, and {} beside it {}", neighbour.file,
                    training.checkpoint ? "writes checkpoints" : "reads its data"),
        ""});
  }
  if (!uses) return;
  const auto storage_of = [](const Experiment& of) {
    const Json resolved = values_alone(resolved_cluster_json(of.cluster));
    return resolved.contains("storage") ? resolved.at("storage") : Json::object();
  };
  const std::string difference = first_difference(storage_of(experiment), storage_of(neighbour), "storage");
  if (difference.empty()) return;
  prediction.warnings.push_back(
      fmt::format("{}: its cluster.{} differs from that of {}, whose storage both use", neighbour.file,
                  difference, experiment.file));
}

/// Averaging comes once in many steps and meets anything of the other job.
void warn_about_averaging(const Experiment& experiment, Prediction& prediction) {
  if (experiment.training.sync.kind != SyncKind::local) return;
  prediction.warnings.push_back(fmt::format(
      "{}: its workers' averaging is taken as if the other job paused meanwhile", experiment.file));
}

/// The fabric of the first job with the nodes of both.
ClusterSpec cluster_of_both(const Experiment& experiment, const Experiment& neighbour) {
  ClusterSpec both = experiment.cluster;
  both.nodes += neighbour.cluster.nodes;
  both.gpus += neighbour.cluster.gpus;
  return both;
}

/// Numbers on the shared fabric of each job's GPUs.
struct SharedNumbers {
  std::vector<int> own, neighbour;
};

SharedNumbers shared_numbers(int own_nodes, int neighbour_nodes, int gpus_a_node, BesidePlacement placement) {
  SharedNumbers numbers;
  int own_left = own_nodes;
  int neighbour_left = neighbour_nodes;
  for (int node = 0; node < own_nodes + neighbour_nodes; ++node) {
    const bool turn = placement == BesidePlacement::after || node % 2 == 0;
    const bool is_own = own_left > 0 && (turn || neighbour_left == 0);
    (is_own ? own_left : neighbour_left) -= 1;
    std::vector<int>& list = is_own ? numbers.own : numbers.neighbour;
    for (int gpu = 0; gpu < gpus_a_node; ++gpu) list.push_back(node * gpus_a_node + gpu);
  }
  return numbers;
}

/// How one of the jobs sees the shared fabric: with every second node only half as many of its own meet at a
/// leaf.
ClusterShape shape_for(const ClusterSpec& both, int gpus, BesidePlacement placement) {
  ClusterShape shape = uncontended_shape(both);
  shape.gpus = gpus;
  if (placement == BesidePlacement::alternate) {
    if (shape.nodes_per_leaf > 1) shape.nodes_per_leaf /= 2;
    if (shape.nodes_per_pod > 1) shape.nodes_per_pod /= 2;
  }
  return shape;
}

}  // namespace

SimulationBeside simulate_with_neighbour(const Experiment& experiment, const PredictOptions& options,
                                         CalibrationStore& calibrations, Prediction& prediction) {
  const Experiment& neighbour = *options.beside;
  check_nodes(experiment, neighbour);
  check_storage(experiment, neighbour, prediction);
  const ClusterSpec both = cluster_of_both(experiment, neighbour);
  const BesidePlacement placement = options.beside_placement;
  Experiment own_there = experiment;
  Experiment neighbour_there = neighbour;
  own_there.cluster = neighbour_there.cluster = both;
  // Latencies that a job's file gives change its collectives' times (plan_of): here it is the fabric's file.
  neighbour_there.document["cluster"] = experiment.document.at("cluster");
  warn_about_fabric(experiment, neighbour, prediction);
  warn_about_averaging(experiment, prediction);
  warn_about_averaging(neighbour, prediction);
  try {
    own_there.shape = shape_for(both, experiment.shape.gpus, placement);
    neighbour_there.shape = shape_for(both, neighbour.shape.gpus, placement);
  } catch (const std::invalid_argument& error) {
    throw InputError(
        InputProblem{experiment.file, "/cluster/fabric", "", "",
                     fmt::format("with the nodes of {} as well: {}", neighbour.file, error.what())});
  }
  const StepPlan own_plan = plan_of(own_there, calibrations.models(experiment, options), own_there.shape);
  const StepPlan neighbour_plan =
      plan_of(neighbour_there, calibrations.models(neighbour, options), neighbour_there.shape);
  const SharedNumbers numbers = shared_numbers(experiment.cluster.nodes, neighbour.cluster.nodes,
                                               experiment.cluster.gpus_per_node(), placement);
  const SimulatedJob own_job{experiment.name, experiment.file, &own_plan, numbers.own};
  const SimulatedJob other_job{neighbour.name, neighbour.file, &neighbour_plan, numbers.neighbour};
  const Scope scope = options.full_scope ? Scope::full : Scope::folded;
  std::array<JobBeside, 2> jobs{JobBeside{own_job, simulate_step(own_job, both, scope)},
                                JobBeside{other_job, simulate_step(other_job, both, scope)}};
  std::array<LoopAddition, 2> alone;
  std::array<double, 2> step_alone_s{};
  for (size_t job = 0; job < 2; ++job) {
    alone[job] = simulate_loop(jobs[job].job, both, scope, jobs[job].alone.step);
    step_alone_s[job] = jobs[job].alone.step->timeline.makespan_s;
    if (alone[job].write) jobs[job].write_alone_s = alone[job].write->base();
  }
  const Topology topology = build_topology(both);
  const auto steps_of = [&](size_t job) {
    const StepPlan* plan = jobs[job].job.plan;
    return BesideWork{&jobs[job].job, [plan](Scope each) { return lower(*plan, each); }, step_alone_s[job]};
  };
  SimulationBeside result{simulate_beside(steps_of(0), steps_of(1), topology, scope), std::move(alone[0])};
  LoopAddition& loop = result.loop;
  const double together_s = result.steps.step->timeline.makespan_s;

  BesideUse use;
  use.name = neighbour.name;
  use.gpus = neighbour.shape.gpus;
  use.placement = placement;
  const auto checkpoint = static_cast<size_t>(BreakdownTerm::checkpoint_exposed);
  use.step_alone = seconds(step_alone_s[0] + loop.seconds());
  use.neighbour_alone = seconds(step_alone_s[1] + alone[1].seconds());
  use.checkpoint_alone = seconds(loop.breakdown[checkpoint]);
  use.neighbour_checkpoint_alone = seconds(alone[1].breakdown[checkpoint]);
  double neighbour_s = result.steps.neighbour_step_s;
  use.binding = links_that_bind(result.steps.links, jobs[0].alone.links, step_alone_s[0]);
  if (loop.write || alone[1].write) {
    const WorkloadGraph& graph = result.steps.step->graph;
    const StepTimeline& timeline = result.steps.step->timeline;
    const StepsBeside mean = simulate_checkpoints_beside(jobs, topology, scope);
    // What the mean step has beyond one beside the neighbour's passes.
    loop.breakdown = mean.breakdown[0];
    const Breakdown passes = breakdown_of_rank(graph, timeline, slowest_rank(graph, timeline));
    for (size_t term = 0; term < passes.size(); ++term)
      loop.breakdown[term] += loop.averaging[term] - passes[term];
    loop.contended = loop.contended || mean.contended;
    neighbour_s = std::accumulate(mean.breakdown[1].begin(), mean.breakdown[1].end(), 0.0);
    use.checkpoint_together = seconds(mean.breakdown[0][checkpoint]);
    use.neighbour_checkpoint_together = seconds(mean.breakdown[1][checkpoint]);
    for (const std::string& name : mean.binding) {
      if (std::find(use.binding.begin(), use.binding.end(), name) == use.binding.end())
        use.binding.push_back(name);
    }
  }
  use.step_together = seconds(together_s + loop.seconds());
  use.neighbour_together =
      seconds(neighbour_s + std::accumulate(alone[1].averaging.begin(), alone[1].averaging.end(), 0.0));
  prediction.beside = std::move(use);
  return result;
}

}  // namespace orrery
