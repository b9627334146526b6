#include "sim/engine/event_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <random>
#include <vector>

#include "sim/engine/flow_ends.hpp"
#include "sim/engine/short_list.hpp"

namespace orrery {
namespace {

using Event = EventQueue::Event;

struct Later {
  bool operator()(const Event& a, const Event& b) const { return b < a; }
};

/// Takes events out of the queue and out of the standard library's, adding what `next` makes of each time.
void expect_the_order_of_a_heap(EventQueue& queue, std::vector<Event> first, int more,
                                const std::function<double(double)>& next) {
  std::priority_queue<Event, std::vector<Event>, Later> heap(Later(), first);
  for (const Event& event : first) queue.push(event);
  auto task = static_cast<std::int32_t>(first.size());
  while (!heap.empty()) {
    ASSERT_FALSE(queue.empty());
    const Event expected = heap.top();
    ASSERT_EQ(queue.top().time, expected.time);
    ASSERT_EQ(queue.top().task, expected.task);
    heap.pop();
    queue.pop();
    if (more-- > 0) {
      const Event added{next(expected.time), task++, EventQueue::Kind::task_end};
      heap.push(added);
      queue.push(added);
    }
  }
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueue, GivesTheOrderOfAHeapForTimesFarAndNearAndPast) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  std::vector<Event> first;
  for (std::int32_t task = 0; task < 3000; ++task) {
    first.push_back({std::exp(20.0 * unit(random) - 15.0), task, EventQueue::Kind::latency_end});
  }
  EventQueue queue;
  expect_the_order_of_a_heap(queue, first, 50'000, [&](double now) {
    const double kind = unit(random);
    if (kind < 0.1) return now;                         // at once
    if (kind < 0.15) return now - 1e-13;                // rounding sets it back
    if (kind < 0.2) return now + 1e3 * unit(random);    // far
    return now + std::exp(10.0 * unit(random) - 12.0);  // microseconds to a tenth of a second
  });
}

TEST(EventQueue, GivesEventsOfOneTimeByTask) {
  // Ranks in step: all at once, again and again.
  std::vector<Event> first;
  for (std::int32_t task = 999; task >= 0; --task) {
    first.push_back({0.0, task, EventQueue::Kind::task_end});
  }
  EventQueue queue;
  expect_the_order_of_a_heap(queue, first, 20'000, [](double now) { return now + 0.25; });
}

TEST(EventQueue, GivesTheOrderOfAHeapForEventsAddedTogether) {
  // Bursts at one time, as of flows that end together, of more events and of fewer than are sorted in at
  // once.
  std::mt19937_64 random(13);
  EventQueue queue;
  std::priority_queue<Event, std::vector<Event>, Later> heap;
  std::int32_t task = 0;
  double now = 0.0;
  for (int round = 0; round < 2'000; ++round) {
    std::vector<Event> burst;
    const double time = round % 3 == 0 ? now + 10.0 : now;  // in a bucket to come, or the present one
    for (size_t events = random() % 80; events > 0; --events) {
      burst.push_back({time, task++, EventQueue::Kind::shared_flow_end});
    }
    std::shuffle(burst.begin(), burst.end(), random);
    for (const Event& event : burst) heap.push(event);
    queue.push_all(burst);
    EXPECT_TRUE(burst.empty());
    for (size_t taken = random() % 80; taken > 0 && !heap.empty(); --taken) {
      ASSERT_EQ(queue.top().time, heap.top().time);
      ASSERT_EQ(queue.top().task, heap.top().task);
      now = heap.top().time;
      queue.pop();
      heap.pop();
    }
    ASSERT_EQ(queue.empty(), heap.empty());
  }
}

TEST(FlowEnds, GivesTheOrderOfAHeap) {
  // Ends that come one by one and hundreds at a time, at few different times.
  struct EndsLater {
    bool operator()(const FlowEnds::End& a, const FlowEnds::End& b) const { return a > b; }
  };
  std::mt19937_64 random(17);
  FlowEnds ends;
  std::priority_queue<FlowEnds::End, std::vector<FlowEnds::End>, EndsLater> heap;
  std::int32_t number = 0;
  for (int round = 0; round < 2'000; ++round) {
    std::vector<FlowEnds::End> added;
    for (size_t more = random() % 3 == 0 ? random() % 200 : 1; more > 0; --more) {
      added.push_back({static_cast<double>(random() % 50), number++, 0});
      heap.push(added.back());
    }
    ends.add(added);
    for (size_t taken = random() % 80; taken > 0 && !heap.empty(); --taken) {
      ASSERT_EQ(ends.front().time, heap.top().time);
      ASSERT_EQ(ends.front().number, heap.top().number);
      ends.pop();
      heap.pop();
    }
    ASSERT_EQ(ends.empty(), heap.empty());
  }
}

TEST(EventQueue, PutsTheEndAloneBeforeTheEndFromASolver) {
  EventQueue queue;
  queue.push({1.0, 3, EventQueue::Kind::shared_flow_end});
  queue.push({1.0, 3, EventQueue::Kind::solo_flow_end});
  EXPECT_EQ(queue.top().kind, EventQueue::Kind::solo_flow_end);
}

TEST(ShortList, HoldsWhatAVectorHolds) {
  std::mt19937_64 random(11);
  ShortList<int, 3> list;
  std::vector<int> vector;
  for (int i = 0; i < 20'000; ++i) {
    // Grows and shrinks past three elements many times.
    const bool grows = vector.empty() || random() % 100 < (i / 50 % 2 == 0 ? 60U : 40U);
    if (grows) {
      list.push_back(i);
      vector.push_back(i);
    } else {
      const size_t place = random() % vector.size();
      list[place] = list.back();
      vector[place] = vector.back();
      list.pop_back();
      vector.pop_back();
    }
    ASSERT_EQ(std::vector<int>(list.begin(), list.end()), vector);
  }
}

}  // namespace
}  // namespace orrery
