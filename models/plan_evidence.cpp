#include "models/plan_evidence.hpp"

#include <array>

namespace orrery {
namespace {

class ExchangeNotes {
 public:
  explicit ExchangeNotes(StepPlan& plan) : plan_(plan) {}

  void note(const Exchange& exchange, double times = 1.0) {
    if (!exchange.exists()) return;
    const auto term = static_cast<size_t>(exposed_term(exchange.group));
    plan_.term_evidence[term] = weaker(plan_.term_evidence[term], exchange.time.evidence);
    const double seconds = times * (exchange.latency() + exchange.transfer()).base();
    seconds_[term] += seconds;
    spread_s_[term] += seconds * exchange.time.relative_spread;
  }

  void finish() {
    for (size_t term = 0; term < seconds_.size(); ++term) {
      double& spread = plan_.communication_spread[term];
      if (spread == 0.0 && seconds_[term] > 0.0) spread = spread_s_[term] / seconds_[term];
    }
  }

 private:
  StepPlan& plan_;
  std::array<double, kBreakdownTerms> seconds_{}, spread_s_{};
};

}  // namespace

void note_exchange_evidence(StepPlan& plan) {
  ExchangeNotes notes(plan);
  for (const VirtualStage& stage : plan.virtual_stages) {
    notes.note(stage.reduce);
    notes.note(stage.replica_reduce);
    notes.note(stage.gather);
    notes.note(stage.expert_reduce);
    notes.note(stage.expert_replica_reduce);
    notes.note(stage.expert_gather);
  }
  for (const Exchange& send : plan.send_to_next) notes.note(send);
  for (const Exchange& send : plan.send_to_previous) notes.note(send);
  for (const Exchange& copies : plan.copies_reduce) notes.note(copies);
  const ShardedUnits& units = plan.sharded;
  for (const ShardedUnits::Unit& unit : units.units) {
    notes.note(unit.gather, unit.layers);
    notes.note(unit.reduce, unit.layers);
    notes.note(unit.replica_reduce, unit.layers);
    notes.note(unit.expert_gather, unit.layers);
    notes.note(unit.expert_reduce, unit.layers);
    notes.note(unit.expert_replica_reduce, unit.layers);
  }
  notes.note(units.root_gather);
  notes.note(units.root_reduce);
  notes.note(units.root_replica_reduce);
  notes.note(plan.tied_embedding_reduce);
  notes.finish();
  // The bubble is made of other stages' compute.
  Evidence& bubble = plan.term_evidence[static_cast<size_t>(BreakdownTerm::pipeline_bubble)];
  bubble = weaker(plan.term_evidence[static_cast<size_t>(BreakdownTerm::forward)],
                  plan.term_evidence[static_cast<size_t>(BreakdownTerm::backward)]);
}

}  // namespace orrery
