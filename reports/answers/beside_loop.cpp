#include "reports/answers/beside_loop.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "models/loop_plan.hpp"
#include "reports/answers/loop_simulation.hpp"

namespace orrery {
namespace {

/// Links whose flows lose less than this share of the time more than before, all flows together, bind no
/// more.
constexpr double kMoreHeld = 1e-3;

bool has(Doing doing, Doing part) { return doing == part || doing == Doing::steps_and_write; }

CheckpointRhythm rhythm_of(const SimulatedJob& job) {
  if (!job.plan->loop) return {};
  const CheckpointPlan& checkpoint = job.plan->loop->checkpoint;
  return {checkpoint.every, checkpoint.async, checkpoint.staging.base()};
}

/// What one job does for some time while the other does something.
struct Stretch {
  Pace pace;
  Breakdown breakdown{};  ///< of a step
  std::vector<LinkClassUse> links;
  bool contended = false;
};

class PairSimulation {
 public:
  PairSimulation(const std::array<JobBeside, 2>& jobs, const Topology& topology, Scope scope)
      : jobs_(jobs), topology_(topology), scope_(scope) {}

  StepsBeside run() {
    const std::array<RhythmTotals, 2> totals =
        alternate({rhythm_of(jobs_[0].job), rhythm_of(jobs_[1].job)}, [this](Doing first, Doing second) {
          return std::array<Pace, 2>{beside(0, first, second).pace, beside(1, second, first).pace};
        });
    StepsBeside result;
    for (const auto& [key, stretch] : known_) {
      const auto& [job, own, other] = key;
      const RhythmTotals& of = totals[job];
      const double share = of.steps_beside[static_cast<size_t>(own)][static_cast<size_t>(other)] / of.steps;
      Breakdown& breakdown = result.breakdown[job];
      for (size_t term = 0; term < breakdown.size(); ++term)
        breakdown[term] += share * stretch.breakdown[term];
      if (job != 0) continue;
      result.contended = result.contended || stretch.contended;
      add_binding(own, other, stretch, result.binding);
    }
    for (size_t job = 0; job < 2; ++job) {
      result.breakdown[job][static_cast<size_t>(BreakdownTerm::checkpoint_exposed)] +=
          totals[job].waited_a_step_s();
    }
    return result;
  }

 private:
  /// Of a checkpoint's bytes, those written in what is simulated.
  double write_share(size_t job, Doing own, Doing other) const {
    const double write_s = jobs_[job].write_alone_s;
    if (own == Doing::steps_and_write) return std::min(1.0, step_alone_s(job) / write_s);
    return has(other, Doing::steps) ? step_alone_s(1 - job) / write_s : 1.0;
  }
  double step_alone_s(size_t job) const { return jobs_[job].alone.step->timeline.makespan_s; }

  BesideWork work(size_t job, Doing own, Doing other) const {
    const StepPlan& plan = *jobs_[job].job.plan;
    if (own == Doing::steps)
      return {&jobs_[job].job, [&plan](Scope scope) { return lower(plan, scope); }, step_alone_s(job)};
    const double share = write_share(job, own, other);
    const double write_s = share * jobs_[job].write_alone_s;
    if (own == Doing::write)
      return {&jobs_[job].job, [&plan, share](Scope scope) { return lower_checkpoint(plan, scope, share); },
              write_s};
    return {&jobs_[job].job, [&plan, share](Scope scope) { return lower(plan, scope, share); },
            std::max(write_s, step_alone_s(job))};
  }

  const Stretch& beside(size_t job, Doing own, Doing other) {
    const auto key = std::tuple(job, own, other);
    const auto known = known_.find(key);
    if (known != known_.end()) return known->second;
    return known_.emplace(key, simulate(job, own, other)).first->second;
  }

  Stretch simulate(size_t job, Doing own, Doing other) {
    Stretch result;
    if (own == Doing::nothing) return result;
    const BesideWork first = work(job, own, other);
    const Simulation simulation = other == Doing::nothing
                                      ? simulate_graph(*first.job, topology_, scope_, first.graph_of)
                                      : simulate_beside(first, work(1 - job, other, own), topology_, scope_);
    if (simulation.full_scope) scope_ = Scope::full;
    const WorkloadGraph& graph = simulation.step->graph;
    StepTimeline timeline = simulation.step->timeline;
    result.links = simulation.links;
    result.contended = timeline.contended;
    if (has(own, Doing::write)) {
      const StepBesideWrite apart = without_write(graph, timeline);
      result.pace.write_s = apart.write_s / write_share(job, own, other);
      if (own == Doing::steps_and_write) timeline = apart.timeline;
    }
    if (!has(own, Doing::steps)) return result;
    result.pace.step_s = timeline.makespan_s;
    result.breakdown = breakdown_of_rank(graph, timeline, slowest_rank(graph, timeline));
    return result;
  }

  void add_binding(Doing own, Doing other, const Stretch& stretch, std::vector<std::string>& binding) {
    if (own == Doing::nothing || other == Doing::nothing) return;
    const Simulation alone = simulate_graph(jobs_[0].job, topology_, scope_, work(0, own, other).graph_of);
    for (std::string& name : links_that_bind(stretch.links, alone.links, alone.step->timeline.makespan_s)) {
      if (std::find(binding.begin(), binding.end(), name) == binding.end())
        binding.push_back(std::move(name));
    }
  }

  const std::array<JobBeside, 2>& jobs_;
  const Topology& topology_;
  Scope scope_;
  std::map<std::tuple<size_t, Doing, Doing>, Stretch> known_;
};

}  // namespace

StepsBeside simulate_checkpoints_beside(const std::array<JobBeside, 2>& jobs, const Topology& topology,
                                        Scope scope) {
  return PairSimulation(jobs, topology, scope).run();
}

std::vector<std::string> links_that_bind(const std::vector<LinkClassUse>& together,
                                         const std::vector<LinkClassUse>& alone, double alone_s) {
  std::vector<std::string> names;
  for (const LinkClassUse& link : together) {
    const auto same = std::find_if(alone.begin(), alone.end(),
                                   [&link](const LinkClassUse& other) { return other.name == link.name; });
    const double before = same == alone.end() ? 0.0 : same->held_s;
    if (link.held_s - before > kMoreHeld * alone_s) names.push_back(link.name);
  }
  return names;
}

}  // namespace orrery
