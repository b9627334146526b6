#include "reports/answers/nic_estimate.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "models/loop_estimate.hpp"
#include "models/lowering.hpp"
#include "sim/engine/engine.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {
namespace {

/// Collectives of layers that a walked step may have as tasks of their own: milliseconds.
constexpr double kMostCrossingTasksOfEstimate = 2e4;

struct SharedStep {
  Breakdown breakdown{};
  bool contended = false;
  int slowest = 0;
  /// Of the slowest rank's communications, by kind of group: with the NICs shared, and alone.
  std::array<double, kGroupKinds> shared_s{}, alone_s{};
};

class NicSharing {
 public:
  NicSharing(const StepPlan& plan, const std::function<Traffic(const WorkloadGraph&)>& traffic, bool uneven)
      : plan_(plan), traffic_(traffic), steps_(short_steps(plan)) {
    if (uneven && tasks_of_all_gpus() <= kMostTasksOfUnevenEstimate) scope_ = Scope::full;
  }

  SharedStep run() const {
    if (!steps_) return share(plan_.micro_batches, -1);
    SharedStep second = share(steps_->second, -1);
    if (!second.contended) return second;
    const SharedStep first = share(steps_->first, second.slowest);
    for (size_t term = 0; term < second.breakdown.size(); ++term) {
      // An extrapolated share of nearly nothing may fall below it.
      second.breakdown[term] =
          std::max(0.0, steps_->extrapolate(first.breakdown[term], second.breakdown[term]));
    }
    return second;
  }

  int stage_of(int rank) const {
    return scope_ == Scope::full ? rank / (plan_.parallel.gpus() / plan_.stages()) : rank;
  }

 private:
  WorkloadGraph graph_of(std::int32_t micro_batches, Scope scope) const {
    return lower_passes(plan_, scope, micro_batches, kMostCrossingTasksOfEstimate);
  }

  std::int64_t tasks_of_all_gpus() const {
    const WorkloadGraph folded = graph_of(steps_ ? steps_->second : plan_.micro_batches, Scope::folded);
    return static_cast<std::int64_t>(folded.tasks.size()) * (plan_.parallel.gpus() / plan_.stages());
  }

  /// @param rank  whose step to tell; -1: the slowest one's
  SharedStep share(std::int32_t micro_batches, int rank) const {
    const WorkloadGraph graph = graph_of(micro_batches, scope_);
    const StepTimeline timeline = run_max_min(graph, traffic_(graph));
    SharedStep result;
    result.contended = timeline.contended;
    result.slowest = rank < 0 ? slowest_rank(graph, timeline) : rank;
    result.breakdown = breakdown_of_rank(graph, timeline, result.slowest);
    for (const CommunicationUse& use : communication_use(graph, timeline, result.slowest)) {
      const Communication& what = graph.communications[static_cast<size_t>(use.communication)];
      if (what.storage != StorageUse::none) continue;
      const auto kind = static_cast<size_t>(what.group);
      result.shared_s[kind] += use.total_s;
      result.alone_s[kind] += static_cast<double>(use.count) * (what.latency + what.transfer).base();
    }
    return result;
  }

  const StepPlan& plan_;
  const std::function<Traffic(const WorkloadGraph&)>& traffic_;
  std::optional<ShortSteps> steps_;
  Scope scope_ = Scope::folded;
};

}  // namespace

StepEstimate estimate_sharing(const StepPlan& plan,
                              const std::function<Traffic(const WorkloadGraph&)>& traffic, bool uneven,
                              bool& contended) {
  StepEstimate result = estimate_passes(plan);
  const NicSharing sharing(plan, traffic, uneven);
  const SharedStep shared = sharing.run();
  contended = shared.contended;
  if (shared.contended) {
    std::array<double, kGroupKinds> stretch{};
    for (size_t kind = 0; kind < stretch.size(); ++kind) {
      stretch[kind] = shared.alone_s[kind] > 0.0 ? shared.shared_s[kind] / shared.alone_s[kind] : 1.0;
    }
    result.slowest_stage = sharing.stage_of(shared.slowest);
    replace_breakdown(plan, shared.breakdown, stretch, result);
  }
  if (plan.loop) add_loop(plan, result);
  return result;
}

}  // namespace orrery
