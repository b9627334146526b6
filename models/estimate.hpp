#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include "models/pass_order.hpp"
#include "models/step_plan.hpp"

namespace orrery {

/// All calls of one kind of communication in a step, on one rank: the slowest in an estimate.
struct CommunicationTotal {
  GroupKind group = GroupKind::data;
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 1;
  Bytes payload;  ///< of one call, nccl-tests' convention
  std::int64_t count = 0;
  Seconds total, exposed;
  std::string_view algorithm = "ring", protocol = "simple";
  double bus_bandwidth = 0;  ///< B/s
  Evidence evidence = Evidence::assumed;
  std::int64_t every = 1;  ///< steps from one to the next: beyond one, the rest is of the step that has it
};

struct StepEstimate {
  Seconds step_time;
  std::array<double, kBreakdownTerms> breakdown{};  ///< of the slowest rank, seconds; sums to step_time
  int slowest_stage = 0;
  std::vector<CommunicationTotal> communications;
};

/// Orders of passes by schedule, kept for reuse: a search asks for the same few again and again. Not
/// thread-safe.
class PassOrders {
 public:
  const std::vector<OrderedPass>& order(ScheduleKind kind, int stages, int chunks,
                                        std::int32_t micro_batches);

 private:
  std::map<std::tuple<ScheduleKind, int, int, std::int32_t>, std::vector<OrderedPass>> orders_;
};

/// The step without an engine: every link idle. Follows the schedule exactly for a step of few micro-batches;
/// beyond warm-up a pipeline is periodic, so a long step is two short ones extrapolated by the micro-batch.
StepEstimate estimate_step(const StepPlan& plan, PassOrders& orders);
StepEstimate estimate_step(const StepPlan& plan);

/// The collectives inside layers that one rank of a stage does in the whole step (those beside compute are in
/// the graph).
std::vector<CommunicationTotal> layer_communications(const StepPlan& plan, int stage);

}  // namespace orrery
