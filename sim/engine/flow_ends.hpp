#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace orrery {

/// When flows end at their present rates, earliest first; of the same time the one of the lowest number.
///
/// A heap, and a sorted list beside it: where a solve changes as many flows as there are ends, because they
/// all started at once, sorting these once costs less than a heap's way up and down for each.
class FlowEnds {
 public:
  struct End {
    double time;
    std::int32_t number;    ///< of the flow, to the solver
    std::uint32_t version;  ///< of the end: one that has moved stays until its turn
    bool operator>(const End& other) const {
      return time != other.time ? time > other.time : number > other.number;
    }
  };

  bool empty() const { return sorted_.empty() && heap_.empty(); }
  /// The earliest. Call it while not empty.
  const End& front() const { return front_is_sorted() ? sorted_.back() : heap_.front(); }
  void pop();
  void add(std::span<const End> ends);
  /// Ends to fetch what they will need: the one `after` places behind the earliest, or those of a heap that
  /// it may be.
  std::span<const End> soon(std::size_t after, std::size_t or_before) const {
    if (front_is_sorted()) {
      if (after >= sorted_.size()) return {};
      return std::span(sorted_).subspan(sorted_.size() - 1 - after, 1);
    }
    const std::size_t first = std::min(after, heap_.size());
    return std::span(heap_).subspan(first, std::min(or_before, heap_.size()) - first);
  }

 private:
  bool front_is_sorted() const {
    return !sorted_.empty() && (heap_.empty() || heap_.front() > sorted_.back());
  }

  std::vector<End> sorted_;  ///< the earliest last
  std::vector<End> heap_;
};

}  // namespace orrery
