#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/lowering.hpp"
#include "models/step_plan.hpp"
#include "reports/answers/prediction.hpp"
#include "topologies/cluster_spec.hpp"

namespace orrery {

/// A job on a fabric.
struct SimulatedJob {
  std::string name;
  std::string file;  ///< as messages name it
  const StepPlan* plan = nullptr;
  std::vector<int> gpu_of;  ///< by the plan's GPU numbers: the fabric's; empty: the same
  bool contends = true;     ///< false: every communication has its links to itself
};

/// What simulating a step gave.
struct Simulation {
  std::shared_ptr<SimulatedStep> step;  ///< the job's own graph and timeline, up to the end of its step
  /// Of the whole fabric over that time, a neighbour's bytes included; held_s is what this job's flows lost.
  std::vector<LinkClassUse> links;
  bool full_scope = false;        ///< what was simulated in the end
  std::string note;               ///< why that is not what was asked for; may be empty
  double neighbour_step_s = 0.0;  ///< mean of the neighbour's works that ended in that time (else its first)
};

/// Tasks up to which a folded step whose twins differ is simulated with every GPU instead. 2,432 GPUs of a
/// deep pipeline have 5.7 million and take 5 s and 0.5 GiB.
inline constexpr std::int64_t kMostTasksUnfolded = 16'000'000;
/// Tasks of a job beside another, all repetitions together.
inline constexpr std::int64_t kMostNeighbourTasks = 20'000'000;

/// Simulates one step. Folded, if something contends and the twins meet unlike bottlenecks on this fabric
/// (first_uneven_communication), every GPU is simulated as long as that stays below kMostTasksUnfolded.
/// @throws InputError beyond that, and where the fabric has no path between GPUs of a group
Simulation simulate_step(const SimulatedJob& job, const ClusterSpec& cluster, Scope scope);

/// The same for any part of a job's work.
/// @param graph_of the work in a scope, in the plan's GPU numbers
Simulation simulate_graph(const SimulatedJob& job, const Topology& topology, Scope scope,
                          const std::function<WorkloadGraph(Scope)>& graph_of);

/// A job's work beside another's.
struct BesideWork {
  const SimulatedJob* job = nullptr;
  std::function<WorkloadGraph(Scope)> graph_of;  ///< in the plan's GPU numbers
  double alone_s = 0.0;                          ///< its length without the other
};

/// Simulates a job's work while a neighbour repeats its own on the same fabric.
/// @throws InputError as simulate_step
Simulation simulate_beside(const BesideWork& work, const BesideWork& neighbour, const Topology& topology,
                           Scope scope);

}  // namespace orrery
