#include <algorithm>

#include "models/step_plan.hpp"

namespace orrery {

std::array<double, kBreakdownTerms> segment_terms(const StepPlan& plan, int segment) {
  const PlanSegment& source = plan.segments[static_cast<size_t>(segment)];
  std::array<double, kBreakdownTerms> terms{};
  if (source.optimizer_of_stage >= 0) {
    return plan.optimizer[static_cast<size_t>(source.optimizer_of_stage)].by_term;
  }
  for (const PartRun& run : source.runs) {
    const PassCost& pass = plan.pass_cost(run, source.pass);
    for (size_t t = 0; t < terms.size(); ++t) terms[t] += run.count * pass.by_term[t];
  }
  double& expert = terms[static_cast<size_t>(BreakdownTerm::expert_comm_exposed)];
  if (source.paired) expert = 0;
  expert += source.pair_tail.base();
  terms[static_cast<size_t>(BreakdownTerm::backward)] += source.pair_slowed.base();
  terms[static_cast<size_t>(BreakdownTerm::pipeline_comm_exposed)] += source.send_tail.base();
  terms[static_cast<size_t>(BreakdownTerm::other)] += source.offload_tail.base();
  return terms;
}

Segment expand_segment(const StepPlan& plan, int segment, double from_s, double to_s) {
  const PlanSegment& source = plan.segments[static_cast<size_t>(segment)];
  Segment result;
  result.name = std::string(source.name);
  double at = 0;
  const auto take = [&](const PassCost& pass, int layer) {
    for (const Piece& piece : pass.pieces) {
      if (source.paired && piece.term == BreakdownTerm::expert_comm_exposed) continue;
      const double begin = std::max(at, from_s);
      at += piece.duration.base();
      const double end = std::min(at, to_s);
      if (end <= begin) continue;
      Piece cut = piece;
      cut.layer = layer;
      cut.duration = Seconds(end - begin);
      result.pieces.push_back(cut);
    }
  };
  if (source.optimizer_of_stage >= 0)
    take(plan.optimizer[static_cast<size_t>(source.optimizer_of_stage)], -1);
  const bool backwards = source.pass != PassKind::forward;
  for (const PartRun& run : source.runs) {
    const PassCost& pass = plan.pass_cost(run, source.pass);
    for (int i = 0; i < run.count; ++i) {
      const int layer = run.first_layer < 0 ? -1
                        : backwards         ? run.first_layer + run.count - 1 - i
                                            : run.first_layer + i;
      take(pass, layer);
    }
  }
  PassCost tail;
  if (source.pair_slowed > Seconds(0)) {
    tail.pieces.push_back(
        {"slowed_by_communication", BreakdownTerm::backward, source.pair_slowed, Evidence::interpolated, -1});
  }
  if (source.pair_tail > Seconds(0)) {
    tail.pieces.push_back({"expert communication of a pair", BreakdownTerm::expert_comm_exposed,
                           source.pair_tail, Evidence::assumed, -1});
  }
  if (source.offload_tail > Seconds(0)) {
    tail.pieces.push_back(
        {"activation offload", BreakdownTerm::other, source.offload_tail, Evidence::assumed, -1});
  }
  if (source.send_tail > Seconds(0)) {
    tail.pieces.push_back(
        {"pipeline send", BreakdownTerm::pipeline_comm_exposed, source.send_tail, Evidence::assumed, -1});
  }
  take(tail, -1);
  result.duration = Seconds(to_s - from_s);
  return result;
}

}  // namespace orrery
