#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/base/large_array.hpp"
#include "sim/engine/event_queue.hpp"
#include "sim/engine/flow_platform.hpp"
#include "sim/engine/flow_spec.hpp"
#include "sim/engine/segment_clock.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/engine/short_list.hpp"
#include "sim/timeline/step_timeline.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// Executes a graph: counts dependencies down, ends segments after their duration, and lets flows share
/// resources.
///
/// A communication waits for its latency and then sends its wire bytes as one fluid flow. While the flows on
/// each of its resources ask for no more than the capacity, max-min gives a flow its bound exactly, whatever
/// else happens, so its end is known in advance and needs no solver. As soon as a resource is asked for more,
/// all flows on it (with what they have left) go to a solver (SimGrid, or our own), which shares the
/// resources among them. Both are exact. So is the slowing of kernels beside a communication that holds SMs
/// (SegmentClock).
///
/// Where paths are hashed, ranks drift apart and each event finds its task, its communication and its links
/// at random among millions; so what an event needs of each lies in one cache line, and the lines of the
/// events that come next are fetched while the present one is executed.
///
/// Tasks from `observed` on are there for what they do to the others: what the timeline says of contention is
/// what the first ones met, up to the end of the last of them.
class StepExecutor {
 public:
  /// @param flows by communication
  StepExecutor(const WorkloadGraph& graph, const SharedResources& resources, std::span<const FlowSpec> flows,
               std::int64_t observed);

  /// Executes up to where a resource is first asked for more than it has.
  /// @returns whether none ever is, so that nothing is left to execute
  bool run_without_solver();
  /// Executes the rest with a solver whose clock has not started.
  void run_with(FlowPlatform& platform);
  /// What has been executed; it is moved from.
  /// @throws std::runtime_error if some tasks could never start
  StepTimeline take_timeline();
  /// How often each communication was executed by observed tasks.
  std::vector<std::int64_t> executions() const;

 private:
  using EventKind = EventQueue::Kind;
  /// What the executor needs of a task: half a cache line.
  struct alignas(32) TaskState {
    double start = 0.0;            // the latest end of its predecessors, until it starts
    std::int32_t waiting_for = 0;  // predecessors that have not ended; then the slot of its flow
    std::int32_t index = 0;        // of its communication; of its segment, complemented
    std::int32_t successor_count = 0;
    std::int32_t successors[3] = {};  // the last is a segment's rank; once it has ended, its end before that

    bool is_segment() const { return index < 0; }
    std::int32_t rank() const { return successors[2]; }
    /// Successors that there is room for; if a task has more, they are in the graph.
    std::int32_t room() const { return is_segment() ? 2 : 3; }
    void set_end(double end) {
      const auto halves = std::bit_cast<std::array<std::int32_t, 2>>(end);
      std::copy(halves.begin(), halves.end(), successors);
      successor_count = 0;
    }
    double end() const { return std::bit_cast<double>(std::array{successors[0], successors[1]}); }
    /// All of them, or none where there are too many.
    std::span<const std::int32_t> few_successors() const {
      return {successors, static_cast<size_t>(successor_count <= room() ? successor_count : 0)};
    }
  };
  /// What it needs of a communication: a cache line.
  struct alignas(64) Sent {
    double latency = 0.0;
    double uncontended = 0.0;  // latency and transfer
    double transfer = 0.0;
    double wire_bytes = 0.0;
    double rate_bound = 0.0;  // 0: nothing flows
    bool slows = false;
    bool contended = false;  // the last time that it flowed: where paths are hashed, the same ones meet again
    std::uint32_t share_count = 0;
    const ResourceShare* shares = nullptr;  // the binding ones first
    std::uint32_t binding_shares = 0;
    std::int32_t executions = 0;  // by observed tasks
  };
  /// A flow in flight. Slots are used again.
  struct alignas(64) Flow {
    std::int32_t task = -1;
    bool shared = false;  // a solver has it, and it is in no resource's list
    double start = 0.0;
    ShortList<std::uint32_t, 8> place;  // by share of its communication: position in the resource's list
  };
  struct OnResource {
    std::int32_t slot;
    std::uint32_t share;
  };
  /// A resource: a cache line where few flows are on it.
  struct alignas(64) ResourceUse {
    double capacity = 0.0;           // of SharedResource
    double demand = 0.0;             // at the flows' bounds
    std::int32_t flows = 0;          // on it
    bool full = false;               // demand has reached the capacity
    ShortList<OnResource, 3> alone;  // flows that no solver has
  };
  /// What is counted of it only while it is full.
  struct ResourceCount {
    double full_since = 0.0;  // if it is
    double full_s = 0.0;      // how long it had been before
    double held_s = 0.0;      // see LinkContention
    std::int64_t held = 0;
  };

  void advance();
  void execute_batch(double now);
  void start_task(std::int32_t task, double now);
  void end_task(std::int32_t task, double end);
  void admit(std::int32_t task, double now);
  void release(std::int32_t task, double now);
  void note_held(std::int32_t task, double alone_s);
  void share(std::int32_t slot, double now);
  void leave_list(ResourceUse& use, std::uint32_t place);
  std::vector<LinkContention> contention(double until) const;
  void share_flows(double now);
  void push_moved_ends();
  void fetch_ahead();
  void fetch_first() const;
  void fetch_task(const EventQueue::Event& event) const;
  void fetch_named(const EventQueue::Event& event) const;
  void fetch_shares(const EventQueue::Event& event) const;
  void fetch_resources(const EventQueue::Event& event) const;
  void push(const EventQueue::Event& event);
  TaskState& state(std::int32_t task) { return tasks_[static_cast<size_t>(task)]; }
  const TaskState& state(std::int32_t task) const { return tasks_[static_cast<size_t>(task)]; }
  Flow& flow(std::int32_t slot) { return slots_[static_cast<size_t>(slot)]; }
  Sent& sent(std::int32_t communication) { return sent_[static_cast<size_t>(communication)]; }
  const Sent& sent(std::int32_t communication) const { return sent_[static_cast<size_t>(communication)]; }
  static std::span<const ResourceShare> shares_of(const Sent& sent) {
    return {sent.shares, sent.share_count};
  }
  static std::span<const ResourceShare> binding_shares_of(const Sent& sent) {
    return {sent.shares, sent.binding_shares};
  }

  const WorkloadGraph& graph_;
  const SharedResources& resources_;
  FlowPlatform* platform_ = nullptr;  // none until a resource has been asked for more than it has

  SegmentClock clock_;
  std::vector<SegmentClock::End> moved_;  // empty between calls
  StepTimeline timeline_;
  LargeArray<TaskState> tasks_;
  LargeArray<Sent> sent_;  // by communication
  std::int64_t ended_ = 0;
  std::int64_t observed_;
  std::int64_t observed_left_;  // that have not ended
  EventQueue events_;
  /// Events of the present bucket that the last few events have added, by the event: what these need is
  /// fetched while others are executed. Others still than fit do without.
  struct Added {
    EventQueue::Event events[2];
    std::uint32_t count = 0;
  };
  std::array<Added, 8> added_;
  std::size_t executed_ = 0;  // modulo the size of added_, the entry of the present event

  LargeArray<ResourceUse> use_;
  std::vector<ResourceCount> counts_;  // by resource
  LargeArray<Flow> slots_;
  std::vector<ShortList<LostTime, 2>> lost_;  // by slot; of a flow that the solver has ended
  std::vector<std::int32_t> free_slots_;
  std::vector<EventQueue::Event> flows_ended_;  // by the solver, until advance()
  std::vector<std::int32_t> starting_;          // tasks whose latency has passed at this instant
  struct ToShare {
    std::int32_t task, slot;
    bool operator<(const ToShare& other) const { return task < other.task; }
  };
  std::vector<ToShare> to_share_;  // flows to hand to the solver at this instant
  double share_time_ = 0.0;
  std::int64_t live_shared_ = 0;
};

}  // namespace orrery
