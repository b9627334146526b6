#include "reports/answers/beside.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace orrery {
namespace {

/// Links whose flows lose less than this share of the step more than before, all flows together, bind no
/// more.
constexpr double kMoreHeld = 1e-3;

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

Simulation simulate_with_neighbour(const Experiment& experiment, const PredictOptions& options,
                                   CalibrationStore& calibrations, Prediction& prediction) {
  const Experiment& neighbour = *options.beside;
  check_nodes(experiment, neighbour);
  const ClusterSpec both = cluster_of_both(experiment, neighbour);
  const BesidePlacement placement = options.beside_placement;
  Experiment own_there = experiment;
  Experiment neighbour_there = neighbour;
  own_there.cluster = neighbour_there.cluster = both;
  // Latencies that a job's file gives change its collectives' times (plan_of): here it is the fabric's file.
  neighbour_there.document["cluster"] = experiment.document.at("cluster");
  warn_about_fabric(experiment, neighbour, prediction);
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
  const Simulation own_alone = simulate_step(own_job, both, scope);
  const Simulation other_alone = simulate_step(other_job, both, scope);
  const double own_alone_s = own_alone.step->timeline.makespan_s;
  const double other_alone_s = other_alone.step->timeline.makespan_s;
  Simulation together = simulate_beside(own_job, other_job, own_alone_s, other_alone_s, both, scope);

  BesideUse use;
  use.name = neighbour.name;
  use.gpus = neighbour.shape.gpus;
  use.placement = placement;
  use.step_alone = seconds(own_alone_s);
  use.step_together = seconds(together.step->timeline.makespan_s);
  use.neighbour_alone = seconds(other_alone_s);
  use.neighbour_together = seconds(together.neighbour_step_s);
  for (const LinkClassUse& link : together.links) {
    const auto alone = std::find_if(own_alone.links.begin(), own_alone.links.end(),
                                    [&link](const LinkClassUse& other) { return other.name == link.name; });
    const double before = alone == own_alone.links.end() ? 0.0 : alone->held_s;
    if (link.held_s - before > kMoreHeld * own_alone_s) use.binding.push_back(link.name);
  }
  prediction.beside = std::move(use);
  return together;
}

}  // namespace orrery
