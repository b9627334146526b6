#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace orrery {

/// The events of a step, earliest first; of the same time the one of the lowest task.
///
/// A queue of buckets in time (a ladder queue of one rung: Tang, Goh and Thng, ACM TOMACS 15(3), 2005). What
/// is near lies in buckets of equal width, unsorted; a bucket is sorted when its turn comes, and what is
/// added to it after that goes through a small heap. What is far waits in one list and is dealt into buckets
/// when they have run out, of a width such that half of it falls into them. An event is so moved a few times
/// and touches a few cache lines, however many there are: a heap of a whole step's events reads one at each
/// of its levels. Any time may be added, also one that has passed.
class EventQueue {
 public:
  enum class Kind : std::uint8_t { task_end, latency_end, solo_flow_end, shared_flow_end };
  struct Event {
    double time;
    std::int32_t task;
    Kind kind;
    bool operator<(const Event& other) const {
      if (time != other.time) return time < other.time;
      return task != other.task ? task < other.task : kind < other.kind;
    }
  };

  bool empty() const { return size_ == 0; }
  /// The earliest. Call it while not empty.
  const Event& top();
  void pop();
  /// @returns whether the bucket whose turn it is has it: soon() does not know of it then
  bool push(const Event& event);
  /// The same for many that happen together: sorted in at once where their bucket's turn has come. Empties
  /// the list.
  void push_all(std::vector<Event>& events);
  /// True once after top() or pop() has begun a bucket: soon() knows its events from there on.
  bool began_bucket() { return std::exchange(began_bucket_, false); }
  /// An event that comes soon after the earliest, to fetch what it will need; null if none is known.
  const Event* soon(std::size_t after) const {
    return next_ + after < sorted_.size() ? &sorted_[next_ + after] : nullptr;
  }

 private:
  /// Number of the bucket of a time; below zero for a time before the first, beyond the last for what is far.
  double bucket_of(double time) const { return (time - begin_) * buckets_a_second_; }
  void refill();
  void deal_out_far();

  std::size_t size_ = 0;
  std::vector<Event> sorted_;  ///< the bucket whose turn it is, from next_ on
  std::size_t next_ = 0;
  bool began_bucket_ = false;
  std::vector<Event> late_;  ///< a heap: added to a bucket whose turn has come
  std::vector<std::vector<Event>> buckets_;
  std::size_t bucket_ = 0;  ///< the first whose turn has not come
  double begin_ = 0.0;
  double buckets_a_second_ = 0.0;
  std::vector<Event> far_;
};

}  // namespace orrery
