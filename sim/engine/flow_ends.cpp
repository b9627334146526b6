#include "sim/engine/flow_ends.hpp"

#include <algorithm>
#include <functional>

namespace orrery {

namespace {

/// Fewer ends than this go to the heap one by one.
constexpr std::size_t kFewest = 32;

}  // namespace

void FlowEnds::pop() {
  if (front_is_sorted()) {
    sorted_.pop_back();
    return;
  }
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  heap_.pop_back();
}

void FlowEnds::add(std::span<const End> ends) {
  // At least as many as there are: each end is so sorted again a few times at most.
  if (ends.size() >= kFewest && ends.size() >= sorted_.size() + heap_.size()) {
    sorted_.insert(sorted_.end(), heap_.begin(), heap_.end());
    sorted_.insert(sorted_.end(), ends.begin(), ends.end());
    heap_.clear();
    std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
    return;
  }
  for (const End& end : ends) {
    heap_.push_back(end);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
}

}  // namespace orrery
