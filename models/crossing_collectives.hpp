#pragma once

#include <string_view>
#include <vector>

#include "models/step_plan.hpp"

namespace orrery {

/// What the tensor, context or expert collectives inside layers put on the network for each second in which
/// they hold a rank up, where their groups cross scale-up domains. Averaged over the calls of a layer, the
/// embedding and the head: calls differ in size, hardly in rate.
struct CrossingTraffic {
  GroupKind group = GroupKind::tensor;
  Members members = Members::tensor;
  CollectiveOp op = CollectiveOp::all_gather;  ///< whose pattern most of the time follows
  int ranks = 1;
  double payload_per_s = 0;  ///< nccl-tests' size of an `op` with these bytes on the wire
  double latency_share = 0;  ///< of the exposed time: no byte flows
  std::string_view algorithm, protocol;
  Evidence evidence = Evidence::assumed;

  bool is(BreakdownTerm term) const { return exposed_term(group) == term; }
};

/// Tensor first, then context and experts; empty where all groups stay inside their domains: those
/// collectives meet nobody else's and remain pieces of their segments.
std::vector<CrossingTraffic> crossing_traffic(const StepPlan& plan);

/// Whether kinds of traffic meet on the NICs for more than the end of a step, so that either takes longer
/// than alone: gradients or parameters that are exchanged beside passes whose collectives cross domains,
/// gradients of every micro-batch beside a pipeline's sends, sends of two chains one way.
bool kinds_of_traffic_meet(const StepPlan& plan);

/// One stretch of a split segment: kernels (`segment` with pieces), then what the crossing collectives among
/// them take, by entry of crossing_traffic.
struct SplitStep {
  Segment segment;
  std::vector<double> exposed_s;
};

/// Takes the crossing collectives out of an expanded segment, `layers_a_step` layers at a time: within a
/// stretch the kernels come first and the collectives after them. The sum of all times stays.
std::vector<SplitStep> split_segment(const Segment& segment, const std::vector<CrossingTraffic>& traffic,
                                     int layers_a_step);

/// Layers to take together so that a step has no more than `most_tasks` tasks of this kind on `ranks` ranks.
int layers_a_step(const StepPlan& plan, int ranks, double most_tasks);

}  // namespace orrery
