#include "sim/engine/step_executor.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "sim/engine/keep_fetches.hpp"
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
                           std::span<const FlowSpec> flows, std::int64_t observed)
    : graph_(graph),
      resources_(resources),
      clock_(graph),
      sent_(graph.communications.size()),
      observed_(std::min(observed, static_cast<std::int64_t>(graph.tasks.size()))),
      observed_left_(observed_),
      use_(resources.resources().size()),
      counts_(resources.resources().size()) {
  for (size_t i = 0; i < use_.size(); ++i) {
    use_[i].capacity = resources.resources()[i].capacity;
  }
  for (size_t i = 0; i < sent_.size(); ++i) {
    const Communication& communication = graph.communications[i];
    const auto shares = resources.shares_of(static_cast<std::int32_t>(i));
    sent_[i] = {.latency = communication.latency.base(),
                .uncontended = (communication.latency + communication.transfer).base(),
                .transfer = communication.transfer.base(),
                .wire_bytes = flows[i].wire_bytes,
                .rate_bound = flows[i].rate_bound,
                .slows = communication.slows > 1.0,
                .share_count = static_cast<std::uint32_t>(shares.size()),
                .shares = shares.data(),
                .binding_shares = static_cast<std::uint32_t>(
                    resources.binding_shares_of(static_cast<std::int32_t>(i)).size())};
  }
  // A task's predecessors, which come before it, count themselves: its state is made when the first does, and
  // these few are in the cache still when the task's own turn comes.
  tasks_.reserve(graph.tasks.size());
  for (size_t i = 0; i < graph.tasks.size(); ++i) {
    if (tasks_.size() == i) tasks_.emplace_back();
    TaskState& task = tasks_[i];
    const bool segment = graph.tasks[i].kind == TaskKind::segment;
    task.index = segment ? ~graph.tasks[i].index : graph.tasks[i].index;
    const auto successors = graph.successors_of(static_cast<std::int32_t>(i));
    task.successor_count = static_cast<std::int32_t>(successors.size());
    if (task.successor_count <= task.room()) {
      std::copy(successors.begin(), successors.end(), task.successors);
    }
    if (segment) task.successors[2] = graph.tasks[i].rank;
    for (const std::int32_t successor : successors) {
      while (tasks_.size() <= static_cast<size_t>(successor)) tasks_.emplace_back();
      ++state(successor).waiting_for;
    }
  }
}

std::vector<std::int64_t> StepExecutor::executions() const {
  std::vector<std::int64_t> result;
  for (const Sent& each : sent_) result.push_back(each.executions);
  return result;
}

namespace {

// How many events before it what an event needs is fetched: first its task, then what the task names, then
// what that names; far enough apart for what was asked for to have come.
constexpr size_t kTask = 24;
constexpr size_t kNamed = 18;
constexpr size_t kShares = 12;
constexpr size_t kResources = 6;
// How many events after the one that has added it to the present bucket.
constexpr size_t kSharesOfAdded = 2;
constexpr size_t kResourcesOfAdded = 4;

bool starts_flow(const EventQueue::Event& event) { return event.kind == EventQueue::Kind::latency_end; }
bool ends_flow(const EventQueue::Event& event) {
  return event.kind == EventQueue::Kind::solo_flow_end || event.kind == EventQueue::Kind::shared_flow_end;
}

}  // namespace

void StepExecutor::fetch_task(const EventQueue::Event& event) const {
  keep_fetches();
  __builtin_prefetch(&state(event.task));
}

void StepExecutor::fetch_named(const EventQueue::Event& event) const {
  keep_fetches();
  const TaskState& task = state(event.task);
  if (!task.is_segment()) {
    __builtin_prefetch(&sent(task.index));
  } else if (clock_.needed()) {
    __builtin_prefetch(clock_.state_of(task.rank()));
  }
  if (ends_flow(event)) __builtin_prefetch(&slots_[static_cast<size_t>(task.waiting_for)]);
  if (starts_flow(event)) return;
  for (const std::int32_t successor : task.few_successors()) __builtin_prefetch(&state(successor));
}

void StepExecutor::fetch_shares(const EventQueue::Event& event) const {
  keep_fetches();
  const TaskState& task = state(event.task);
  if (starts_flow(event) || ends_flow(event)) {
    const auto shares = shares_of(sent(task.index));
    __builtin_prefetch(shares.data());
    if (!shares.empty()) __builtin_prefetch(&shares.back());
  }
  if (starts_flow(event)) return;
  for (const std::int32_t successor : task.few_successors()) {
    const TaskState& next = state(successor);
    if (!next.is_segment()) {
      __builtin_prefetch(&sent(next.index));
    } else if (clock_.needed()) {
      __builtin_prefetch(clock_.state_of(next.rank()));
    }
  }
}

void StepExecutor::fetch_resources(const EventQueue::Event& event) const {
  keep_fetches();
  if (!starts_flow(event) && !ends_flow(event)) return;
  const Sent& communication = sent(state(event.task).index);
  const auto shares = shares_of(communication);
  for (const ResourceShare& share : shares.first(std::min<size_t>(shares.size(), 8))) {
    __builtin_prefetch(&use_[static_cast<size_t>(share.resource)]);
  }
  if (communication.contended && starts_flow(event)) {
    platform_->expect_flow(binding_shares_of(communication));
  }
}

void StepExecutor::push(const EventQueue::Event& event) {
  if (!events_.push(event)) return;
  Added& added = added_[executed_ % added_.size()];
  if (added.count == std::size(added.events)) return;
  added.events[added.count++] = event;
  fetch_named(event);
}

/// Events that come soon find what they need in the cache.
void StepExecutor::fetch_ahead() {
  keep_fetches();
  if (const EventQueue::Event* event = events_.soon(kTask)) fetch_task(*event);
  if (const EventQueue::Event* event = events_.soon(kNamed)) fetch_named(*event);
  if (const EventQueue::Event* event = events_.soon(kShares)) fetch_shares(*event);
  if (const EventQueue::Event* event = events_.soon(kResources)) fetch_resources(*event);
  const auto for_added = [this](size_t before, void (StepExecutor::*fetch)(const EventQueue::Event&) const) {
    const Added& added = added_[(executed_ - before) % added_.size()];
    for (size_t i = 0; i < added.count; ++i) (this->*fetch)(added.events[i]);
  };
  for_added(kSharesOfAdded, &StepExecutor::fetch_shares);
  for_added(kResourcesOfAdded, &StepExecutor::fetch_resources);
  ++executed_;
  added_[executed_ % added_.size()].count = 0;
}

/// The same for the first events of a bucket, which nobody has seen coming: all tasks, then all that they
/// name, and so on, so that the memory brings many at a time.
void StepExecutor::fetch_first() const {
  keep_fetches();
  const auto first = [this](size_t count, void (StepExecutor::*fetch)(const EventQueue::Event&) const) {
    for (size_t i = 0; i < count; ++i) {
      const EventQueue::Event* event = events_.soon(i);
      if (event == nullptr) return;
      (this->*fetch)(*event);
    }
  };
  first(kTask, &StepExecutor::fetch_task);
  first(kNamed, &StepExecutor::fetch_named);
  first(kShares, &StepExecutor::fetch_shares);
  first(kResources, &StepExecutor::fetch_resources);
}

bool StepExecutor::run_without_solver() {
  for (size_t task = 0; task < tasks_.size(); ++task) {
    if (tasks_[task].waiting_for == 0) {
      start_task(static_cast<std::int32_t>(task), 0.0);
    }
  }
  advance();
  return to_share_.empty();
}

void StepExecutor::run_with(FlowPlatform& platform) {
  platform_ = &platform;
  platform.on_flow_end([this](std::int32_t task, std::span<const LostTime> lost) {
    const double now = platform_->now();
    auto& kept = lost_[static_cast<size_t>(state(task).waiting_for)];
    kept.resize(lost.size());
    std::copy(lost.begin(), lost.end(), kept.begin());
    flows_ended_.push_back({now, task, EventKind::shared_flow_end});
    platform_->set_alarm(now);
  });
  platform.on_expected_end([this](std::int32_t task, std::int32_t communication) {
    __builtin_prefetch(&state(task));
    __builtin_prefetch(&sent(communication));
    for (const ResourceShare& share : resources_.shares_of(communication)) {
      __builtin_prefetch(&use_[static_cast<size_t>(share.resource)]);
    }
    keep_fetches();
  });
  platform.on_alarm([this] { advance(); });
  advance();
  platform.run();
}

StepTimeline StepExecutor::take_timeline() {
  const auto tasks = static_cast<std::int64_t>(graph_.tasks.size());
  if (ended_ != tasks) {
    throw std::runtime_error(std::to_string(tasks - ended_) + " of " + std::to_string(tasks) +
                             " tasks of the step never ended");
  }
  timeline_.start_s.reserve(tasks_.size());
  timeline_.end_s.reserve(tasks_.size());
  for (const TaskState& task : tasks_) {
    timeline_.start_s.push_back(task.start);
    timeline_.end_s.push_back(task.end());
  }
  return std::move(timeline_);
}

std::vector<LinkContention> StepExecutor::contention(double until) const {
  std::vector<LinkContention> result;
  for (size_t i = 0; i < use_.size(); ++i) {
    const ResourceCount& count = counts_[i];
    const double full_s = count.full_s + (use_[i].full ? std::max(0.0, until - count.full_since) : 0.0);
    if (full_s > 0.0) {
      result.push_back({resources_.resources()[i].link, full_s, count.held_s, count.held});
    }
  }
  std::sort(result.begin(), result.end(),
            [](const LinkContention& a, const LinkContention& b) { return a.link < b.link; });
  return result;
}

/// Executes everything up to the solver's clock; beyond it while the solver has no flows to bring forward,
/// and as long as none is needed.
void StepExecutor::advance() {
  if (!flows_ended_.empty()) events_.push_all(flows_ended_);
  for (;;) {
    if (!to_share_.empty()) {
      if (platform_ == nullptr) return;
      if (!platform_->pass_to(share_time_)) {
        platform_->set_alarm(share_time_);
        return;
      }
      share_flows(share_time_);
    }
    if (events_.empty()) {
      return;
    }
    const double next = events_.top().time;
    if (live_shared_ > 0 && !platform_->pass_to(next)) {
      platform_->set_alarm(next);
      return;
    }
    execute_batch(next);
  }
}

void StepExecutor::execute_batch(double now) {
  while (!events_.empty() && events_.top().time <= now + kSameInstant) {
    const EventQueue::Event event = events_.top();
    if (events_.began_bucket()) fetch_first();
    events_.pop();
    fetch_ahead();
    const TaskState& task = state(event.task);
    switch (event.kind) {
      case EventKind::task_end:
        if (clock_.needed() && task.is_segment() && !clock_.finish(event.task, task.rank(), event.time)) {
          break;  // its end has moved
        }
        end_task(event.task, event.time);
        break;
      case EventKind::latency_end:
        starting_.push_back(event.task);
        break;
      case EventKind::solo_flow_end:
        // Not if a solver has had it since, be it in flight or ended and its slot another's.
        if (const Flow& ending = flow(task.waiting_for); ending.task == event.task && !ending.shared) {
          release(event.task, event.time);
          end_task(event.task, event.time);
        }
        break;
      case EventKind::shared_flow_end: {
        const double flow_time = event.time - flow(task.waiting_for).start;
        const double alone = sent(task.index).transfer;
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
  TaskState& started = state(task);
  started.start = now;
  if (started.is_segment()) {
    const std::int32_t segment = ~started.index;
    const double end = clock_.needed() ? clock_.start(task, started.rank(), segment, now)
                                       : now + graph_.segments[static_cast<size_t>(segment)].duration.base();
    push({end, task, EventKind::task_end});
    return;
  }
  const Sent& communication = sent(started.index);
  if (communication.slows) {
    clock_.hold(task, now, moved_);
    push_moved_ends();
  }
  if (communication.rate_bound > 0.0) {
    push({now + communication.latency, task, EventKind::latency_end});
  } else {
    push({now + communication.uncontended, task, EventKind::task_end});
  }
}

void StepExecutor::end_task(std::int32_t task, double end) {
  timeline_.makespan_s = std::max(timeline_.makespan_s, end);
  ++ended_;
  TaskState& ended = state(task);
  if (!ended.is_segment()) {
    Sent& communication = sent(ended.index);
    if (task < observed_) ++communication.executions;
    if (communication.slows) {
      clock_.release(task, end, moved_);
      push_moved_ends();
    }
  }
  const auto successors =
      ended.successor_count <= ended.room() ? ended.few_successors() : graph_.successors_of(task);
  for (const std::int32_t successor : successors) {
    TaskState& next = state(successor);
    next.start = std::max(next.start, end);
    if (--next.waiting_for == 0) {
      start_task(successor, next.start);
    }
  }
  ended.set_end(end);
  if (task < observed_ && --observed_left_ == 0) timeline_.contention = contention(end);
}

void StepExecutor::push_moved_ends() {
  for (const SegmentClock::End& moved : moved_) {
    push({moved.time, moved.task, EventKind::task_end});
  }
  moved_.clear();
}

/// Lets a flow onto its resources; it and the others of every resource that is now asked for too much are
/// noted for the solver.
void StepExecutor::admit(std::int32_t task, double now) {
  std::int32_t slot = static_cast<std::int32_t>(slots_.size());
  if (free_slots_.empty()) {
    slots_.emplace_back();
    lost_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  TaskState& admitted = state(task);
  admitted.waiting_for = slot;
  Sent& communication = sent(admitted.index);
  const double bound = communication.rate_bound;
  const auto shares = shares_of(communication);
  Flow& started = flow(slot);
  started.task = task;
  started.shared = false;
  started.start = admitted.start + communication.latency;
  started.place.resize(shares.size());
  size_t listed = 0;
  bool too_much = false;
  for (const ResourceShare& each : shares) {
    ResourceUse& use = use_[static_cast<size_t>(each.resource)];
    ++use.flows;
    use.demand += each.weight * bound;
    too_much |= use.demand > use.capacity * (1.0 + kDemandTolerance);
    if (!too_much) {
      started.place[listed] = static_cast<std::uint32_t>(use.alone.size());
      use.alone.push_back({slot, static_cast<std::uint32_t>(listed)});
      ++listed;
    }
    if (use.demand < use.capacity * kFull || use.full) {
      continue;
    }
    use.full = true;
    counts_[static_cast<size_t>(each.resource)].full_since = now;
  }
  communication.contended = too_much;
  if (!too_much) {
    // Summed as the contention-free engine does, so that both give the same bytes.
    push({admitted.start + communication.uncontended, task, EventKind::solo_flow_end});
    return;
  }
  for (const ResourceShare& each : shares.first(listed)) {
    use_[static_cast<size_t>(each.resource)].alone.pop_back();
  }
  started.shared = true;
  to_share_.push_back({task, slot});
  share_time_ = now;
  for (const ResourceShare& each : shares) {
    const ResourceUse& use = use_[static_cast<size_t>(each.resource)];
    if (use.demand <= use.capacity * (1.0 + kDemandTolerance)) {
      continue;
    }
    while (!use.alone.empty()) share(use.alone.back().slot, now);
  }
}

/// Notes a flow that was alone for the solver.
void StepExecutor::share(std::int32_t slot, double now) {
  Flow& shared = flow(slot);
  const auto shares = shares_of(sent(state(shared.task).index));
  for (size_t i = 0; i < shares.size(); ++i) {
    leave_list(use_[static_cast<size_t>(shares[i].resource)], shared.place[i]);
  }
  shared.shared = true;
  to_share_.push_back({shared.task, slot});
  share_time_ = now;
}

/// Takes out the flow at a place of a resource's list; the last one moves there.
inline void StepExecutor::leave_list(ResourceUse& use, std::uint32_t place) {
  const OnResource last = use.alone.back();
  use.alone[place] = last;
  flow(last.slot).place[last.share] = place;
  use.alone.pop_back();
}

/// Counts what a flow lost where it lost it.
void StepExecutor::note_held(std::int32_t task, double alone_s) {
  for (const LostTime& lost : lost_[static_cast<size_t>(state(task).waiting_for)]) {
    ResourceCount& count = counts_[static_cast<size_t>(lost.resource)];
    count.held_s += lost.seconds;
    if (lost.seconds > (kContendedFactor - 1.0) * alone_s) ++count.held;
  }
}

void StepExecutor::release(std::int32_t task, double now) {
  const std::int32_t slot = state(task).waiting_for;
  const Sent& communication = sent(state(task).index);
  const auto shares = shares_of(communication);
  Flow& ended = flow(slot);
  for (size_t i = 0; i < shares.size(); ++i) {
    ResourceUse& use = use_[static_cast<size_t>(shares[i].resource)];
    if (!ended.shared) leave_list(use, ended.place[i]);
    use.demand = --use.flows == 0 ? 0.0 : use.demand - shares[i].weight * communication.rate_bound;
    if (use.full && use.demand < use.capacity * kFull) {
      ResourceCount& count = counts_[static_cast<size_t>(shares[i].resource)];
      count.full_s += now - count.full_since;
      use.full = false;
    }
  }
  ended.task = -1;
  free_slots_.push_back(slot);
}

/// Hands the noted flows to the solver with what they have left.
void StepExecutor::share_flows(double now) {
  std::sort(to_share_.begin(), to_share_.end());
  for (const auto& [task, slot] : to_share_) {
    const Flow& shared = flow(slot);
    const std::int32_t index = state(task).index;
    const Sent& spec = sent(index);
    const double left = spec.wire_bytes - spec.rate_bound * std::max(0.0, now - shared.start);
    platform_->start_flow({task, index, std::max(0.0, left), spec.rate_bound, binding_shares_of(spec)});
    ++live_shared_;
  }
  to_share_.clear();
}

}  // namespace orrery
