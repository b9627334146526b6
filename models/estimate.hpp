#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
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
  Evidence evidence = Evidence::assumed;
  std::int64_t every = 1;  ///< steps from one to the next: beyond one, the rest is of the step that has it

  /// B/s in nccl-tests' convention, of the bytes of all calls in the time that they are in flight: others on
  /// their links, checks before them and what gathers their slices count.
  double bus_bandwidth() const;
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

/// Two short steps whose difference, `periods` times, leads from the first to a plan's own: beyond warm-up a
/// pipeline is periodic.
struct ShortSteps {
  std::int32_t first = 0, second = 0;  ///< micro-batches
  double periods = 0;
  double extrapolate(double at_first, double at_second) const {
    return at_first + (at_second - at_first) * periods;
  }
};
/// Of a plan whose step is not short itself.
std::optional<ShortSteps> short_steps(const StepPlan& plan);

/// The step without an engine: every link idle. Follows the schedule exactly for a step of few micro-batches;
/// beyond warm-up a pipeline is periodic, so a long step is two short ones extrapolated by the micro-batch.
StepEstimate estimate_step(const StepPlan& plan, PassOrders& orders);
StepEstimate estimate_step(const StepPlan& plan);
/// The same without what surrounds the passes (StepPlan::loop, but for servers reached beside them).
StepEstimate estimate_passes(const StepPlan& plan);

/// Gives an estimate of the passes another breakdown: its step, and its calls, which together take `stretch`
/// times as long by the group's kind.
void replace_breakdown(const StepPlan& plan, const std::array<double, kBreakdownTerms>& breakdown,
                       const std::array<double, kGroupKinds>& stretch, StepEstimate& estimate);

/// The collectives inside layers and the optimizer that one rank of a stage does in the whole step (those
/// beside compute are in the graph).
std::vector<CommunicationTotal> inline_communications(const StepPlan& plan, int stage);
/// The groups whose collectives are inside layers.
inline constexpr std::array kInsideLayers = {GroupKind::tensor, GroupKind::context, GroupKind::expert};
/// What a breakdown says of a group's exposed seconds, shared among lines in proportion to those they have.
void match_exposed(const std::array<double, kBreakdownTerms>& breakdown, GroupKind group,
                   std::vector<CommunicationTotal>& lines);
/// The same of the groups inside layers: some of what their lines wait for hides in DualPipe's pairs, or is
/// the time of a communication that ends later.
void match_exposed_inside(const std::array<double, kBreakdownTerms>& breakdown,
                          std::vector<CommunicationTotal>& lines);

}  // namespace orrery
