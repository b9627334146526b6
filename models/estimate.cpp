#include "models/estimate.hpp"

#include <algorithm>
#include <cmath>

#include "models/crossing_collectives.hpp"
#include "models/loop_estimate.hpp"
#include "models/pass_order.hpp"
#include "models/step_walk.hpp"

namespace orrery {
namespace {

/// Adds up times instead of making tasks. Follows the same rules as the breakdown of a timeline: a gap before
/// a compute stretch belongs to the communications it waits for while they are in flight, else to the bubble.
class TimeSink {
 public:
  struct Handle {
    double end = -1.0;
    double start = 0.0;  ///< of a communication: since when its stream has been busy without a break
    int term = -1;       ///< exposed term of a communication; -1: compute
    explicit operator bool() const { return end >= 0.0; }
  };

  explicit TimeSink(const StepPlan& plan)
      : plan_(plan),
        compute_end_(static_cast<size_t>(plan.stages()), 0.0),
        last_end_(compute_end_),
        beside_(static_cast<size_t>(plan.stages())),
        gaps_(static_cast<size_t>(plan.stages())) {
    find_crossing_shares();
  }

  Handle compute(int stage, int segment, double from_s, double to_s, int /*chunk*/, int /*micro_batch*/,
                 std::initializer_list<Handle> after) {
    const auto s = static_cast<size_t>(stage);
    double start = 0.0;
    for (const Handle& handle : after) start = std::max(start, handle.end);
    const double gap_start = compute_end_[s];
    if (start > gap_start) attribute_gap(s, gap_start, start, after);
    const PlanSegment& source = plan_.segments[static_cast<size_t>(segment)];
    const double end = end_of_stretch(beside_[s], start, to_s - from_s, static_cast<size_t>(segment));
    const double slowed = end - start - (to_s - from_s);
    if (slowed > 0) {
      const bool forward = source.pass == PassKind::forward;
      gaps_[s][static_cast<size_t>(forward ? BreakdownTerm::forward : BreakdownTerm::backward)] +=
          slowed * (1.0 - source.recompute_share);
      gaps_[s][static_cast<size_t>(BreakdownTerm::recompute)] += slowed * source.recompute_share;
    }
    compute_end_[s] = end;
    last_end_[s] = std::max(last_end_[s], end);
    return {end, start, -1};
  }

  Handle exchange(int stage, const Exchange& exchange, int /*chunk*/, int /*micro_batch*/,
                  std::initializer_list<Handle> after) {
    const Handle result = communicate(exchange, after);
    const auto s = static_cast<size_t>(stage);
    last_end_[s] = std::max(last_end_[s], result.end);
    if (exchange.slows > 1.0) {
      const double length = (exchange.latency() + exchange.transfer()).base();
      beside_[s].spans.push_back({result.end - length, result.end, exchange.slows});
    }
    return result;
  }

  Handle exchange_between(int first, int last, const Exchange& exchange,
                          std::initializer_list<Handle> first_after,
                          std::initializer_list<Handle> last_after) {
    double start = 0.0;
    for (const Handle& handle : first_after) start = std::max(start, handle.end);
    for (const Handle& handle : last_after) start = std::max(start, handle.end);
    const Handle result{start + (exchange.latency() + exchange.transfer()).base(), start,
                        static_cast<int>(exposed_term(exchange.group))};
    for (const int stage : {first, last}) {
      last_end_[static_cast<size_t>(stage)] = std::max(last_end_[static_cast<size_t>(stage)], result.end);
    }
    return result;
  }

  Handle send(int from, int to, bool /*forward*/, const Exchange& exchange, int /*chunk*/,
              int /*micro_batch*/, std::initializer_list<Handle> after) {
    const Handle result = communicate(exchange, after);
    for (const int stage : {from, to}) {
      last_end_[static_cast<size_t>(stage)] = std::max(last_end_[static_cast<size_t>(stage)], result.end);
    }
    return result;
  }

  Handle storage(int stage, const StorageAccess& access, std::initializer_list<Handle> after) {
    double start = 0.0;
    for (const Handle& handle : after) start = std::max(start, handle.end);
    const auto s = static_cast<size_t>(stage);
    const double end = start + access.total().base();
    last_end_[s] = std::max(last_end_[s], end);
    return {end, start, static_cast<int>(access.term)};
  }

  double makespan() const { return *std::max_element(last_end_.begin(), last_end_.end()); }
  double last_end(size_t stage) const { return last_end_[stage]; }
  double compute_end(size_t stage) const { return compute_end_[stage]; }
  const std::array<double, kBreakdownTerms>& gaps(size_t stage) const { return gaps_[stage]; }

 private:
  /// When communications that hold SMs are in flight on a stage; they follow one another on one stream.
  struct Beside {
    struct Span {
      double start, end, slows;
    };
    std::vector<Span> spans;
    size_t next = 0;  ///< those before it are over for good
  };

  /// End of `work` seconds of compute from `start` on, the kernels among it slowed for exactly as long as a
  /// communication runs beside them: (1 + share (slows - 1)) times as long. A walk issues what can run beside
  /// a stretch before the stretch.
  static double end_of_compute(Beside& beside, double start, double work, double kernel_share) {
    while (beside.next < beside.spans.size() && beside.spans[beside.next].end <= start) ++beside.next;
    double at = start;
    double left = work;
    for (size_t i = beside.next; i < beside.spans.size() && left > 0; ++i) {
      const Beside::Span& span = beside.spans[i];
      const double free = std::max(0.0, span.start - at);
      if (free >= left) break;
      left -= free;
      at += free;
      const double slowness = 1.0 + kernel_share * (span.slows - 1.0);
      const double done = std::min(left, std::max(0.0, span.end - at) / slowness);
      left -= done;
      at += done * slowness;
    }
    return at + left;
  }

  /// What of a segment are collectives that the lowering takes out of it, a layer's after its kernels
  /// (split_segment): communication that runs beside the one is not beside the other.
  struct Crossing {
    double share = 0;  ///< of the segment's time
    int layers = 1;
  };

  void find_crossing_shares() {
    const std::vector<CrossingTraffic> traffic = crossing_traffic(plan_);
    if (traffic.empty()) return;
    crossing_.resize(plan_.segments.size());
    for (size_t segment = 0; segment < crossing_.size(); ++segment) {
      const PlanSegment& source = plan_.segments[segment];
      if (source.duration <= Seconds(0) || source.optimizer_of_stage >= 0) continue;
      const auto terms = segment_terms(plan_, static_cast<int>(segment));
      double seconds = 0;
      for (const CrossingTraffic& each : traffic) {
        seconds += terms[static_cast<size_t>(exposed_term(each.group))];
      }
      crossing_[segment].share = seconds / source.duration.base();
      int layers = 0;
      for (const PartRun& run : source.runs) layers += run.first_layer < 0 ? 0 : run.count;
      crossing_[segment].layers = std::max(1, layers);
    }
  }

  /// End of `work` seconds of a segment from `start` on.
  double end_of_stretch(Beside& beside, double start, double work, size_t segment) const {
    const PlanSegment& source = plan_.segments[segment];
    const double crossing = crossing_.empty() ? 0.0 : crossing_[segment].share;
    if (crossing <= 0.0 || beside.next == beside.spans.size()) {
      return end_of_compute(beside, start, work, source.kernel_share);
    }
    const double part = work / source.duration.base();
    const int layers = std::max(1, static_cast<int>(std::lround(part * crossing_[segment].layers)));
    const double kernels = work * (1.0 - crossing) / layers;
    const double share = crossing < 1.0 ? std::min(1.0, source.kernel_share / (1.0 - crossing)) : 0.0;
    double at = start;
    for (int layer = 0; layer < layers; ++layer) {
      at = end_of_compute(beside, at, kernels, share) + work * crossing / layers;
    }
    return at;
  }

  static Handle communicate(const Exchange& exchange, std::initializer_list<Handle> after) {
    double start = 0.0;
    for (const Handle& handle : after) start = std::max(start, handle.end);
    // Right behind another communication: who waits for this one waited for that one too.
    double waits_since = start;
    for (const Handle& handle : after) {
      if (handle.term >= 0 && handle.end >= start) waits_since = std::min(waits_since, handle.start);
    }
    return {start + (exchange.latency() + exchange.transfer()).base(), waits_since,
            static_cast<int>(exposed_term(exchange.group))};
  }

  /// The part of [from, to) in which an awaited communication was in flight is that communication's, the rest
  /// idle.
  void attribute_gap(size_t stage, double from, double to, std::initializer_list<Handle> after) {
    auto& gaps = gaps_[stage];
    double at = to;  // backwards: the communication that ends last held the rank last
    while (at > from) {
      const Handle* holder = nullptr;
      double holds_from = from;
      for (const Handle& handle : after) {
        if (handle.term < 0 || handle.end < at || handle.start >= at) continue;
        if (holder == nullptr || handle.start < holder->start) holder = &handle;
      }
      if (holder != nullptr) {
        holds_from = std::max(from, holder->start);
        gaps[static_cast<size_t>(holder->term)] += at - holds_from;
        at = holds_from;
        continue;
      }
      // Nothing in flight just before `at`: idle down to the next earlier end of a communication.
      double idle_to = from;
      for (const Handle& handle : after) {
        if (handle.term >= 0 && handle.end < at) idle_to = std::max(idle_to, handle.end);
      }
      gaps[static_cast<size_t>(idle_term())] += at - idle_to;
      at = idle_to;
    }
  }

  BreakdownTerm idle_term() const {
    return plan_.stages() > 1 ? BreakdownTerm::pipeline_bubble : BreakdownTerm::other;
  }

  const StepPlan& plan_;
  std::vector<double> compute_end_, last_end_;
  std::vector<Beside> beside_;      // by stage
  std::vector<Crossing> crossing_;  // by segment; empty: no collective leaves its domain
  std::vector<std::array<double, kBreakdownTerms>> gaps_;
};

/// What a walk over some number of micro-batches gives; linear in that number once the pipeline is periodic.
struct Walked {
  double makespan = 0;
  std::vector<double> last_end, compute_end;
  std::vector<std::array<double, kBreakdownTerms>> gaps;
};

Walked walk(const StepPlan& plan, PassOrders& orders, std::int32_t micro_batches) {
  static const std::vector<OrderedPass> kNone;
  TimeSink sink(plan);
  const auto& order = plan.sharded.enabled ? kNone
                                           : orders.order(plan.parallel.schedule, plan.stages(),
                                                          plan.parallel.interleave, micro_batches);
  StepWalk<TimeSink>(plan, sink).run(order, micro_batches);
  Walked result;
  result.makespan = sink.makespan();
  for (size_t stage = 0; stage < static_cast<size_t>(plan.stages()); ++stage) {
    result.last_end.push_back(sink.last_end(stage));
    result.compute_end.push_back(sink.compute_end(stage));
    result.gaps.push_back(sink.gaps(stage));
  }
  return result;
}

/// Micro-batches of a step with split backwards that is followed to its end.
constexpr std::int32_t kWalkedWhole = 512;
/// Micro-batches that are walked one by one where they are not all alike.
constexpr std::int32_t kMostWalked = 4096;

}  // namespace

std::optional<ShortSteps> short_steps(const StepPlan& plan) {
  // GPipe holds every micro-batch at once and has one period a micro-batch too, after its fill. A period of
  // the interleaved schedule is `stages` micro-batches.
  const std::int32_t period = plan.sharded.enabled ? 1 : plan.stages();
  // Where weight gradients fill the gaps, unequal stages drain a stage's slack of work by their difference
  // only: the period begins late, and shorter steps are walked whole.
  const std::int32_t late = splits_backward(plan.parallel.schedule) ? kWalkedWhole : 0;
  const std::int32_t fill = std::max(3 * plan.stages(), late / period * period);
  const std::int32_t warm_up = plan.sharded.enabled ? 2 : fill + plan.micro_batches % plan.stages();
  // What runs beside the step from its start on slows some micro-batches and not others.
  const bool periodic = !plan.loop || plan.loop->sync.push.empty();
  if (plan.micro_batches <= warm_up + 2 * period || (!periodic && plan.micro_batches <= kMostWalked)) {
    return std::nullopt;
  }
  return ShortSteps{warm_up, warm_up + period, static_cast<double>(plan.micro_batches - warm_up) / period};
}

namespace {

/// Walks the whole step if it is short, else two short steps one period apart.
Walked walk_or_extrapolate(const StepPlan& plan, PassOrders& orders) {
  const std::optional<ShortSteps> steps = short_steps(plan);
  if (!steps) return walk(plan, orders, plan.micro_batches);
  Walked first = walk(plan, orders, steps->first);
  const Walked second = walk(plan, orders, steps->second);
  const auto lengthen = [&steps](double& at_first, double at_second) {
    at_first = steps->extrapolate(at_first, at_second);
  };
  lengthen(first.makespan, second.makespan);
  for (size_t stage = 0; stage < first.gaps.size(); ++stage) {
    lengthen(first.last_end[stage], second.last_end[stage]);
    lengthen(first.compute_end[stage], second.compute_end[stage]);
    for (size_t term = 0; term < first.gaps[stage].size(); ++term) {
      lengthen(first.gaps[stage][term], second.gaps[stage][term]);
    }
  }
  return first;
}

/// The virtual stages of a stage.
std::vector<int> virtual_stages_of(const StepPlan& plan, int stage) {
  std::vector<int> result;
  result.reserve(static_cast<size_t>(plan.placement.chunks()));
  for (int chunk = 0; chunk < plan.placement.chunks(); ++chunk) {
    result.push_back(plan.placement.virtual_stage(stage, chunk));
  }
  return result;
}

/// How often a rank of `stage` runs each part in a step, forward and backward alike: one run a part and kind,
/// first_layer of no meaning.
std::vector<PartRun> part_counts(const StepPlan& plan, int stage) {
  std::vector<PartRun> counts;
  for (const int v : virtual_stages_of(plan, stage)) {
    for (const PartRun& run : plan.virtual_stages[static_cast<size_t>(v)].runs) {
      const auto known = std::find_if(counts.begin(), counts.end(), [&run](const PartRun& count) {
        return count.part == run.part && count.kind == run.kind;
      });
      if (known == counts.end()) {
        counts.push_back(run);
      } else {
        known->count += run.count;
      }
    }
  }
  return counts;
}

/// Seconds of a stage's own pieces over the step, by term.
std::array<double, kBreakdownTerms> own_terms(const StepPlan& plan, int stage) {
  std::array<double, kBreakdownTerms> terms = plan.optimizer[static_cast<size_t>(stage)].by_term;
  const auto add = [&](int segment, double times) {
    const std::array<double, kBreakdownTerms> once = segment_terms(plan, segment);
    for (size_t t = 0; t < terms.size(); ++t) terms[t] += times * once[t];
  };
  for (const int v : virtual_stages_of(plan, stage)) {
    for (const SegmentUse& use : plan.virtual_stages[static_cast<size_t>(v)].uses) {
      add(use.segment, static_cast<double>(use.times));
    }
  }
  return terms;
}

double sum(const std::array<double, kBreakdownTerms>& terms) {
  double total = 0;
  for (const double term : terms) total += term;
  return total;
}

void add_exchange(std::vector<CommunicationTotal>& list, const Exchange& exchange, std::int64_t times) {
  if (!exchange.exists() || times <= 0) return;
  const std::int64_t calls = times * exchange.calls;
  for (CommunicationTotal& known : list) {
    if (known.group == exchange.group && known.op == exchange.op && known.ranks == exchange.ranks &&
        known.payload == exchange.payload) {
      known.count += calls;
      known.total += exchange.time.total() * static_cast<double>(calls);
      return;
    }
  }
  list.push_back({exchange.group, exchange.op, exchange.ranks, exchange.payload, calls,
                  exchange.time.total() * static_cast<double>(calls), Seconds(0), exchange.time.algorithm,
                  exchange.time.protocol, exchange.time.evidence});
}

/// Communications beside compute of one rank of a stage, with their unexposed totals.
std::vector<CommunicationTotal> exchanges_of(const StepPlan& plan, int stage) {
  std::vector<CommunicationTotal> list;
  const std::int64_t micro_batches = plan.micro_batches;
  if (plan.loop && !plan.loop->sync.push.empty()) {
    add_exchange(list, plan.loop->sync.push[static_cast<size_t>(stage)], 1);
    add_exchange(list, plan.loop->sync.pull[static_cast<size_t>(stage)], 1);
  }
  if (plan.sharded.enabled) {
    const ShardedUnits& units = plan.sharded;
    for (const ShardedUnits::Unit& unit : units.units) {
      const bool last = &unit == &units.unit(units.unit_of_layer.size() - 1);
      const int kept = units.keeps_last && last ? 1 : 0;
      add_exchange(list, unit.gather, micro_batches * (2 * unit.layers - kept));
      add_exchange(list, unit.reduce, micro_batches * unit.layers);
      add_exchange(list, unit.replica_reduce, micro_batches * unit.layers);
      add_exchange(list, unit.expert_gather, micro_batches * (2 * unit.layers - kept));
      add_exchange(list, unit.expert_reduce, micro_batches * unit.layers);
      add_exchange(list, unit.expert_replica_reduce, micro_batches * unit.layers);
    }
    add_exchange(list, units.root_gather, micro_batches);
    add_exchange(list, units.root_reduce, micro_batches);
    add_exchange(list, units.root_replica_reduce, micro_batches);
    return list;
  }
  const std::int64_t passes = plan.chain_micro_batches();
  const PipelinePlacement& place = plan.placement;
  for (const int v : virtual_stages_of(plan, stage)) {
    const VirtualStage& here = plan.virtual_stages[static_cast<size_t>(v)];
    const auto buckets = static_cast<std::int64_t>(here.buckets());
    const std::int64_t times = plan.reduce_every_micro_batch ? passes : 1;
    add_exchange(list, here.reduce, buckets * times);
    add_exchange(list, here.replica_reduce, buckets * times);
    add_exchange(list, here.gather, static_cast<std::int64_t>(here.bucket_needed_s.size()));
    const auto expert_buckets = static_cast<std::int64_t>(here.expert_buckets());
    add_exchange(list, here.expert_reduce, expert_buckets * times);
    add_exchange(list, here.expert_replica_reduce, expert_buckets * times);
    add_exchange(list, here.expert_gather, static_cast<std::int64_t>(here.expert_needed_s.size()));
    // A rank waits for what it receives as for what it sends: both are its calls.
    for (const int neighbour : {v + 1, v - 1}) {
      if (neighbour > v ? place.is_last(v) : place.is_first(v)) continue;
      const int other = place.stage_of(neighbour);
      if (other == stage) continue;
      add_exchange(list, plan.send_between(stage, other), passes);
      add_exchange(list, plan.send_between(other, stage), passes);
    }
  }
  if (stage == 0 || stage + 1 == plan.stages()) add_exchange(list, plan.tied_embedding_reduce, 1);
  if (!plan.copies_reduce.empty()) {
    const int pair = std::min(stage, plan.stages() - 1 - stage);
    add_exchange(list, plan.copies_reduce[static_cast<size_t>(pair)], 1);
  }
  return list;
}

/// Shares the exposed seconds of a term among its communications in proportion to their totals.
void share_exposed(std::vector<CommunicationTotal>& list,
                   const std::array<double, kBreakdownTerms>& exposed) {
  std::array<double, kBreakdownTerms> totals{};
  for (const auto& c : list) totals[static_cast<size_t>(exposed_term(c.group))] += c.total.base();
  for (auto& c : list) {
    const auto term = static_cast<size_t>(exposed_term(c.group));
    if (totals[term] > 0) c.exposed = c.total * std::clamp(exposed[term] / totals[term], 0.0, 1.0);
  }
}

}  // namespace

const std::vector<OrderedPass>& PassOrders::order(ScheduleKind kind, int stages, int chunks,
                                                  std::int32_t micro_batches) {
  const auto key = std::tuple(kind, stages, chunks, micro_batches);
  const auto known = orders_.find(key);
  if (known != orders_.end()) return known->second;
  return orders_.emplace(key, execution_order(make_schedule(kind, stages, chunks, micro_batches)))
      .first->second;
}

double CommunicationTotal::bus_bandwidth() const {
  if (total <= Seconds(0)) return 0.0;
  return payload.base() * static_cast<double>(count) * bus_factor(op, ranks) / total.base();
}

std::vector<CommunicationTotal> inline_communications(const StepPlan& plan, int stage) {
  std::vector<CommunicationTotal> list;
  const auto add = [&](const std::vector<InlineCommunication>& communications, double passes) {
    for (const InlineCommunication& c : communications) {
      if (c.ranks <= 1) continue;
      const auto count = static_cast<std::int64_t>(passes) * c.count;
      auto known = std::find_if(list.begin(), list.end(), [&](const CommunicationTotal& e) {
        return e.group == c.group && e.op == c.op && e.ranks == c.ranks && e.payload == c.payload;
      });
      if (known == list.end()) {
        list.push_back({c.group, c.op, c.ranks, c.payload, 0, Seconds(0), Seconds(0), c.each.algorithm,
                        c.each.protocol, c.each.evidence});
        known = list.end() - 1;
      }
      known->count += count;
      known->total += c.each.total() * static_cast<double>(count);
      known->exposed += c.exposed * passes;
    }
  };
  for (const PartRun& run : part_counts(plan, stage)) {
    add(plan.costs->cost_of(run.part, run.kind).communications,
        static_cast<double>(run.count) * plan.chain_micro_batches());
  }
  add(plan.optimizer_communications[static_cast<size_t>(stage)], 1.0);
  return list;
}

void match_exposed(const std::array<double, kBreakdownTerms>& breakdown, GroupKind group,
                   std::vector<CommunicationTotal>& lines) {
  Seconds all;
  for (const CommunicationTotal& line : lines) {
    if (line.group == group) all += line.exposed;
  }
  if (all <= Seconds(0)) return;
  const Seconds wanted(breakdown[static_cast<size_t>(exposed_term(group))]);
  const double share = wanted / all;
  if (share <= 1.0) {
    for (CommunicationTotal& line : lines) {
      if (line.group == group) line.exposed *= share;
    }
    return;
  }
  // A line that is in flight no longer than its share of a longer wait leaves the rest of it to the others.
  for (bool full = true; full;) {
    full = false;
    Seconds of_full, of_others;
    for (const CommunicationTotal& line : lines) {
      if (line.group == group) (line.exposed < line.total ? of_others : of_full) += line.exposed;
    }
    if (of_others <= Seconds(0)) return;
    const double longer = std::max(1.0, (wanted - of_full) / of_others);
    for (CommunicationTotal& line : lines) {
      if (line.group != group || line.exposed >= line.total || line.exposed * longer < line.total) continue;
      line.exposed = line.total;
      full = true;
    }
    if (full) continue;
    for (CommunicationTotal& line : lines) {
      if (line.group == group && line.exposed < line.total) line.exposed *= longer;
    }
  }
}

void match_exposed_inside(const std::array<double, kBreakdownTerms>& breakdown,
                          std::vector<CommunicationTotal>& lines) {
  for (const GroupKind group : kInsideLayers) {
    match_exposed(breakdown, group, lines);
  }
}

namespace {

StepEstimate estimate_passes_in(const StepPlan& plan, PassOrders& orders) {
  const Walked walked = walk_or_extrapolate(plan, orders);
  StepEstimate result;
  // The slowest rank ends last; among equals the one with the most compute (what slowest_rank does with a
  // timeline).
  double most = -1;
  for (size_t stage = 0; stage < walked.last_end.size(); ++stage) {
    if (walked.last_end[stage] < walked.makespan * (1 - 1e-12)) continue;
    const double own = sum(own_terms(plan, static_cast<int>(stage)));
    if (own > most) {
      most = own;
      result.slowest_stage = static_cast<int>(stage);
    }
  }
  const auto slowest = static_cast<size_t>(result.slowest_stage);
  std::array<double, kBreakdownTerms> exposed = walked.gaps[slowest];
  // After its last compute the rank waits for its own communication (the parameter gather).
  exposed[static_cast<size_t>(BreakdownTerm::data_comm_exposed)] +=
      std::max(0.0, walked.makespan - walked.compute_end[slowest]);
  result.breakdown = own_terms(plan, result.slowest_stage);
  for (size_t term = 0; term < exposed.size(); ++term) result.breakdown[term] += exposed[term];
  // The sum is the step to round-off; say the sum, so that the parts add up exactly.
  result.step_time = Seconds(sum(result.breakdown));
  result.communications = exchanges_of(plan, result.slowest_stage);
  // The exposed share of an overlapped send is part of its pass.
  const auto pipeline = static_cast<size_t>(BreakdownTerm::pipeline_comm_exposed);
  exposed[pipeline] = result.breakdown[pipeline];
  share_exposed(result.communications, exposed);
  std::vector<CommunicationTotal> inside = inline_communications(plan, result.slowest_stage);
  match_exposed_inside(result.breakdown, inside);
  result.communications.insert(result.communications.end(), inside.begin(), inside.end());
  return result;
}

}  // namespace

void replace_breakdown(const StepPlan& plan, const std::array<double, kBreakdownTerms>& breakdown,
                       const std::array<double, kGroupKinds>& stretch, StepEstimate& estimate) {
  estimate.breakdown = breakdown;
  estimate.step_time = Seconds(sum(breakdown));
  const auto longer = [&stretch](const CommunicationTotal& line) {
    return stretch[static_cast<size_t>(line.group)];
  };
  std::vector<CommunicationTotal> inside = inline_communications(plan, estimate.slowest_stage);
  std::array<double, kBreakdownTerms> exposed = breakdown;
  for (CommunicationTotal& line : inside) {
    if (line.group == GroupKind::data) {  // an optimizer's, alone on its links
      exposed[static_cast<size_t>(exposed_term(line.group))] -= line.exposed.base();
      continue;
    }
    // What hides beside kernels is not on the network in the engines either.
    line.total += line.exposed * (longer(line) - 1.0);
  }
  match_exposed_inside(breakdown, inside);
  estimate.communications = exchanges_of(plan, estimate.slowest_stage);
  for (CommunicationTotal& line : estimate.communications) line.total *= longer(line);
  share_exposed(estimate.communications, exposed);
  estimate.communications.insert(estimate.communications.end(), inside.begin(), inside.end());
}

StepEstimate estimate_passes(const StepPlan& plan) {
  PassOrders orders;
  return estimate_passes_in(plan, orders);
}

StepEstimate estimate_step(const StepPlan& plan, PassOrders& orders) {
  StepEstimate result = estimate_passes_in(plan, orders);
  if (plan.loop) add_loop(plan, result);
  return result;
}

StepEstimate estimate_step(const StepPlan& plan) {
  PassOrders orders;
  return estimate_step(plan, orders);
}

}  // namespace orrery
