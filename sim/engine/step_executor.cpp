#include "sim/engine/step_executor.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "sim/engine/tolerances.hpp"

namespace orrery {

namespace {

/// Events this close happen together, ends before starts: a chain of sums rounds to about 1e-13 s in a step
/// of minutes, and flows that follow one another must not meet because of it. Each keeps its own time.
constexpr double kSameInstant = 1e-12;
/// Demand above capacity by less than this is rounding (eight flows of an eighth each).
constexpr double kDemandTolerance = 1e-9;
/// A communication that took this much longer than alone was held up.
constexpr double kContendedFactor = 1.001;
/// A link asked for this share of its capacity is full; rounding leaves less.
constexpr double kFull = 1.0 - 1e-6;

}  // namespace

StepExecutor::StepExecutor(const WorkloadGraph& graph, const SharedResources& resources,
                           std::span<const FlowSpec> flows, FlowPlatform& platform, std::int64_t observed)
    : graph_(graph),
      resources_(resources),
      flows_(flows),
      platform_(platform),
      clock_(graph),
      waiting_for_(graph.predecessor_counts()),
      executions_(graph.communications.size(), 0),
      observed_(std::min(observed, static_cast<std::int64_t>(graph.tasks.size()))),
      observed_left_(observed_),
      use_(resources.resources().size()),
      wake_time_(kNever) {
  for (size_t i = 0; i < use_.size(); ++i) {
    use_[i].capacity = resources.resources()[i].capacity;
  }
  timeline_.start_s.assign(graph.tasks.size(), 0.0);
  timeline_.end_s.assign(graph.tasks.size(), 0.0);
}

void StepExecutor::EventHeap::push(const Event& event) {
  size_t at = events_.size();
  events_.push_back(event);
  while (at > 0) {
    const size_t parent = (at - 1) / 4;
    if (!(events_[parent] > event)) {
      break;
    }
    events_[at] = events_[parent];
    at = parent;
  }
  events_[at] = event;
}

void StepExecutor::EventHeap::pop() {
  const Event last = events_.back();
  events_.pop_back();
  const size_t size = events_.size();
  if (size == 0) {
    return;
  }
  size_t at = 0;
  for (size_t child = 1; child < size; child = 4 * at + 1) {
    const size_t end = std::min(child + 4, size);
    size_t least = child;
    for (size_t other = child + 1; other < end; ++other) {
      if (events_[least] > events_[other]) {
        least = other;
      }
    }
    if (!(last > events_[least])) {
      break;
    }
    events_[at] = events_[least];
    at = least;
  }
  events_[at] = last;
}

StepTimeline StepExecutor::run() {
  platform_.on_flow_end([this](std::int32_t task, std::span<const LostTime> lost) {
    const double now = platform_.now();
    slots_[static_cast<size_t>(slot_of(task))].lost.assign(lost.begin(), lost.end());
    events_.push({now, task, EventKind::shared_flow_end});
    wake_at(now);
  });
  for (size_t task = 0; task < graph_.tasks.size(); ++task) {
    if (waiting_for_[task] == 0) {
      start_task(static_cast<std::int32_t>(task), 0.0);
    }
  }
  advance();
  platform_.run();
  const auto tasks = static_cast<std::int64_t>(graph_.tasks.size());
  if (ended_ != tasks) {
    throw std::runtime_error(std::to_string(tasks - ended_) + " of " + std::to_string(tasks) +
                             " tasks of the step never ended");
  }
  return std::move(timeline_);
}

std::vector<LinkContention> StepExecutor::contention(double until) const {
  std::vector<LinkContention> result;
  for (size_t i = 0; i < use_.size(); ++i) {
    const double full_s =
        use_[i].full_s + (use_[i].full_since >= 0.0 ? std::max(0.0, until - use_[i].full_since) : 0.0);
    if (full_s > 0.0) {
      result.push_back({resources_.resources()[i].link, full_s, use_[i].held_s, use_[i].held});
    }
  }
  std::sort(result.begin(), result.end(),
            [](const LinkContention& a, const LinkContention& b) { return a.link < b.link; });
  return result;
}

/// Executes everything up to SimGrid's clock; beyond it while SimGrid has no flows of its own to bring
/// forward.
void StepExecutor::advance() {
  for (;;) {
    if (!to_share_.empty()) {
      if (platform_.now() < share_time_) {
        wake_at(share_time_);
        return;
      }
      share_flows(share_time_);
    }
    if (events_.empty()) {
      return;
    }
    const double next = events_.top().time;
    if (live_shared_ > 0 && next > platform_.now()) {
      wake_at(next);
      return;
    }
    execute_batch(next);
  }
}

void StepExecutor::wake_at(double time) {
  if (time >= wake_time_) {
    return;
  }
  wake_time_ = time;
  platform_.set_timer(time, [this, time] {
    if (time == wake_time_) {  // an earlier one has been set and has served since, otherwise
      wake_time_ = kNever;
      advance();
    }
  });
}

void StepExecutor::execute_batch(double now) {
  while (!events_.empty() && events_.top().time <= now + kSameInstant) {
    const Event event = events_.top();
    events_.pop();
    const auto task = static_cast<size_t>(event.task);
    switch (event.kind) {
      case EventKind::task_end:
        if (clock_.needed() && graph_.tasks[task].kind == TaskKind::segment &&
            !clock_.finish(event.task, event.time)) {
          break;  // its end has moved
        }
        end_task(event.task, event.time);
        break;
      case EventKind::latency_end:
        starting_.push_back(event.task);
        break;
      case EventKind::solo_flow_end:
        if (!slots_[static_cast<size_t>(slot_of(event.task))].shared) {
          release(event.task, event.time);
          end_task(event.task, event.time);
        }
        break;
      case EventKind::shared_flow_end: {
        const double flow_time = event.time - slots_[static_cast<size_t>(slot_of(event.task))].start;
        const double alone = communication_of(event.task).transfer.base();
        if (flow_time > kContendedFactor * alone) {
          (event.task < observed_ ? timeline_.contended : timeline_.others_contended) = true;
          if (event.task < observed_) note_held(event.task, alone);
        }
        --live_shared_;
        release(event.task, event.time);
        end_task(event.task, event.time);
        break;
      }
    }
  }
  std::sort(starting_.begin(), starting_.end());
  for (const std::int32_t task : starting_) {
    admit(task, now);
  }
  starting_.clear();
}

void StepExecutor::start_task(std::int32_t task, double now) {
  const Task& started = graph_.tasks[static_cast<size_t>(task)];
  timeline_.start_s[static_cast<size_t>(task)] = now;
  const auto index = static_cast<size_t>(started.index);
  if (started.kind == TaskKind::segment) {
    const double end =
        clock_.needed() ? clock_.start(task, now) : now + graph_.segments[index].duration.base();
    events_.push({end, task, EventKind::task_end});
    return;
  }
  const Communication& communication = graph_.communications[index];
  if (communication.slows > 1.0) {
    clock_.hold(task, now, moved_);
    push_moved_ends();
  }
  if (flows_[index].rate_bound > 0.0) {
    events_.push({now + communication.latency.base(), task, EventKind::latency_end});
  } else {
    events_.push({now + (communication.latency + communication.transfer).base(), task, EventKind::task_end});
  }
}

void StepExecutor::end_task(std::int32_t task, double end) {
  timeline_.end_s[static_cast<size_t>(task)] = end;
  timeline_.makespan_s = std::max(timeline_.makespan_s, end);
  ++ended_;
  const Task& ended = graph_.tasks[static_cast<size_t>(task)];
  if (ended.kind == TaskKind::communication) {
    if (task < observed_) ++executions_[static_cast<size_t>(ended.index)];
    if (graph_.communications[static_cast<size_t>(ended.index)].slows > 1.0) {
      clock_.release(task, end, moved_);
      push_moved_ends();
    }
  }
  for (const std::int32_t successor : graph_.successors_of(task)) {
    double& ready = timeline_.start_s[static_cast<size_t>(successor)];
    ready = std::max(ready, end);
    if (--waiting_for_[static_cast<size_t>(successor)] == 0) {
      start_task(successor, ready);
    }
  }
  if (task < observed_ && --observed_left_ == 0) timeline_.contention = contention(end);
}

void StepExecutor::push_moved_ends() {
  for (const SegmentClock::End& moved : moved_) {
    events_.push({moved.time, moved.task, EventKind::task_end});
  }
  moved_.clear();
}

/// Lets a flow onto its resources; it and the others of every resource that is now asked for too much are
/// noted for SimGrid.
void StepExecutor::admit(std::int32_t task, double now) {
  std::int32_t slot = static_cast<std::int32_t>(slots_.size());
  if (free_slots_.empty()) {
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  const std::int32_t index = graph_.tasks[static_cast<size_t>(task)].index;
  const double bound = flows_[static_cast<size_t>(index)].rate_bound;
  const auto shares = resources_.shares_of(index);
  Flow& flow = slots_[static_cast<size_t>(slot)];
  flow.task = task;
  flow.shared = false;
  flow.start = timeline_.start_s[static_cast<size_t>(task)] + communication_of(task).latency.base();
  flow.lost.clear();
  flow.place.resize(shares.size());
  waiting_for_[static_cast<size_t>(task)] = slot;
  for (size_t i = 0; i < shares.size(); ++i) {
    ResourceUse& use = use_[static_cast<size_t>(shares[i].resource)];
    flow.place[i] = static_cast<std::uint32_t>(use.flows.size());
    use.flows.emplace_back(slot, static_cast<std::uint32_t>(i));
    ++use.alone;
    use.demand += shares[i].weight * bound;
    if (use.demand < use.capacity * kFull) {
      continue;
    }
    if (use.full_since < 0.0) use.full_since = now;
  }
  for (const ResourceShare& each : shares) {
    const ResourceUse& use = use_[static_cast<size_t>(each.resource)];
    if (use.demand <= use.capacity * (1.0 + kDemandTolerance)) {
      continue;
    }
    share(slot, now);
    for (size_t i = 0; i < use.flows.size() && use.alone > 0; ++i) {
      share(use.flows[i].first, now);
    }
  }
  if (!flow.shared) {
    // Summed as the contention-free engine does, so that both give the same bytes.
    const double end = timeline_.start_s[static_cast<size_t>(task)] +
                       (communication_of(task).latency + communication_of(task).transfer).base();
    events_.push({end, task, EventKind::solo_flow_end});
  }
}

/// Notes a flow for the solver.
void StepExecutor::share(std::int32_t slot, double now) {
  Flow& flow = slots_[static_cast<size_t>(slot)];
  if (flow.shared) {
    return;
  }
  flow.shared = true;
  for (const ResourceShare& each : resources_.shares_of(graph_.tasks[static_cast<size_t>(flow.task)].index)) {
    --use_[static_cast<size_t>(each.resource)].alone;
  }
  to_share_.push_back(slot);
  share_time_ = now;
}

/// Counts what a flow lost where it lost it.
void StepExecutor::note_held(std::int32_t task, double alone_s) {
  for (const LostTime& lost : slots_[static_cast<size_t>(slot_of(task))].lost) {
    ResourceUse& use = use_[static_cast<size_t>(lost.resource)];
    use.held_s += lost.seconds;
    if (lost.seconds > (kContendedFactor - 1.0) * alone_s) ++use.held;
  }
}

void StepExecutor::release(std::int32_t task, double now) {
  const std::int32_t slot = slot_of(task);
  const std::int32_t index = graph_.tasks[static_cast<size_t>(task)].index;
  const double bound = flows_[static_cast<size_t>(index)].rate_bound;
  const auto shares = resources_.shares_of(index);
  Flow& flow = slots_[static_cast<size_t>(slot)];
  for (size_t i = 0; i < shares.size(); ++i) {
    ResourceUse& use = use_[static_cast<size_t>(shares[i].resource)];
    const auto last = use.flows.back();
    use.flows[flow.place[i]] = last;
    slots_[static_cast<size_t>(last.first)].place[last.second] = flow.place[i];
    use.flows.pop_back();
    if (!flow.shared) {
      --use.alone;
    }
    use.demand = use.flows.empty() ? 0.0 : use.demand - shares[i].weight * bound;
    if (use.full_since >= 0.0 && use.demand < use.capacity * kFull) {
      use.full_s += now - use.full_since;
      use.full_since = -1.0;
    }
  }
  free_slots_.push_back(slot);
}

/// Hands the noted flows to SimGrid with what they have left.
void StepExecutor::share_flows(double now) {
  std::sort(to_share_.begin(), to_share_.end(), [this](std::int32_t a, std::int32_t b) {
    return slots_[static_cast<size_t>(a)].task < slots_[static_cast<size_t>(b)].task;
  });
  for (const std::int32_t slot : to_share_) {
    const Flow& flow = slots_[static_cast<size_t>(slot)];
    const std::int32_t index = graph_.tasks[static_cast<size_t>(flow.task)].index;
    const FlowSpec& spec = flows_[static_cast<size_t>(index)];
    const double left = spec.wire_bytes - spec.rate_bound * std::max(0.0, now - flow.start);
    platform_.start_flow(flow.task, index, std::max(0.0, left));
    ++live_shared_;
  }
  to_share_.clear();
}

}  // namespace orrery
