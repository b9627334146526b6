#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/engine/flow_platform.hpp"
#include "sim/engine/segment_clock.hpp"
#include "sim/engine/shared_resources.hpp"
#include "sim/timeline/step_timeline.hpp"
#include "sim/workload/workload_graph.hpp"

namespace orrery {

/// A communication as the executor sees it.
struct FlowSpec {
  double wire_bytes = 0.0;
  double rate_bound = 0.0;  ///< wire bytes over the uncontended transfer time, B/s; 0 if nothing flows
};

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
/// Tasks from `observed` on are there for what they do to the others: what the timeline says of contention is
/// what the first ones met, up to the end of the last of them.
class StepExecutor {
 public:
  /// @param flows by communication
  StepExecutor(const WorkloadGraph& graph, const SharedResources& resources, std::span<const FlowSpec> flows,
               FlowPlatform& platform, std::int64_t observed);

  /// @throws std::runtime_error if some tasks could never start
  StepTimeline run();
  /// How often each communication was executed by observed tasks.
  std::span<const std::int64_t> executions() const { return executions_; }

 private:
  enum class EventKind : std::uint8_t { task_end, latency_end, solo_flow_end, shared_flow_end };
  struct Event {
    double time;
    std::int32_t task;
    EventKind kind;
    bool operator>(const Event& other) const {
      return time != other.time ? time > other.time : task > other.task;
    }
  };
  /// The earliest event on top. Four children a node: half the levels, and the children lie together.
  class EventHeap {
   public:
    bool empty() const { return events_.empty(); }
    const Event& top() const { return events_.front(); }
    void push(const Event& event);
    void pop();

   private:
    std::vector<Event> events_;
  };
  /// A flow in flight. Slots are used again.
  struct Flow {
    std::int32_t task = -1;
    bool shared = false;  // SimGrid has it
    double start = 0.0;
    std::vector<LostTime> lost;        // once the solver has ended it
    std::vector<std::uint32_t> place;  // by share of its communication: position in the resource's list
  };
  struct ResourceUse {
    double capacity = 0.0;     // of SharedResource
    double demand = 0.0;       // at the flows' bounds
    double full_since = -1.0;  // demand has reached the capacity; -1: not now
    double full_s = 0.0;       // how long it had before
    std::int32_t alone = 0;    // flows that no solver has
    double held_s = 0.0;       // see LinkContention
    std::int64_t held = 0;
    std::vector<std::pair<std::int32_t, std::uint32_t>> flows;  // slot, number of the share
  };

  void advance();
  void execute_batch(double now);
  void start_task(std::int32_t task, double now);
  void end_task(std::int32_t task, double end);
  void admit(std::int32_t task, double now);
  void release(std::int32_t task, double now);
  void note_held(std::int32_t task, double alone_s);
  void share(std::int32_t slot, double now);
  std::vector<LinkContention> contention(double until) const;
  void share_flows(double now);
  void wake_at(double time);
  void push_moved_ends();
  std::int32_t slot_of(std::int32_t task) const { return waiting_for_[static_cast<size_t>(task)]; }
  const Communication& communication_of(std::int32_t task) const {
    return graph_.communications[static_cast<size_t>(graph_.tasks[static_cast<size_t>(task)].index)];
  }

  const WorkloadGraph& graph_;
  const SharedResources& resources_;
  std::span<const FlowSpec> flows_;
  FlowPlatform& platform_;

  SegmentClock clock_;
  std::vector<SegmentClock::End> moved_;  // empty between calls
  StepTimeline timeline_;
  // By task: predecessors that have not ended; then the slot of its flow. One array: a big step's arrays do
  // not fit a cache.
  std::vector<std::int32_t> waiting_for_;
  std::vector<std::int64_t> executions_;
  std::int64_t ended_ = 0;
  std::int64_t observed_;
  std::int64_t observed_left_;  // that have not ended
  EventHeap events_;

  std::vector<ResourceUse> use_;
  std::vector<Flow> slots_;
  std::vector<std::int32_t> free_slots_;
  std::vector<std::int32_t> starting_;  // tasks whose latency has passed at this instant
  std::vector<std::int32_t> to_share_;  // slots of flows to hand to SimGrid at this instant
  double share_time_ = 0.0;
  std::int64_t live_shared_ = 0;
  double wake_time_;
};

}  // namespace orrery
