#include "sim/engine/event_queue.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {

namespace {

constexpr std::size_t kEventsABucket = 128;
constexpr std::size_t kEventsALine = 64 / sizeof(EventQueue::Event);
constexpr std::size_t kMostBuckets = 1U << 16U;
constexpr std::size_t kFewestAtOnce = 32;

bool later(const EventQueue::Event& a, const EventQueue::Event& b) { return b < a; }

}  // namespace

const EventQueue::Event& EventQueue::top() {
  if (next_ == sorted_.size() && late_.empty()) refill();
  if (late_.empty()) return sorted_[next_];
  return next_ < sorted_.size() && sorted_[next_] < late_.front() ? sorted_[next_] : late_.front();
}

void EventQueue::pop() {
  top();  // the bucket's turn may not have come yet
  --size_;
  if (late_.empty() || (next_ < sorted_.size() && sorted_[next_] < late_.front())) {
    ++next_;
    return;
  }
  std::pop_heap(late_.begin(), late_.end(), later);
  late_.pop_back();
}

bool EventQueue::push(const Event& event) {
  ++size_;
  const double bucket = bucket_of(event.time);
  if (bucket >= static_cast<double>(buckets_.size())) {
    far_.push_back(event);
    return false;
  }
  if (bucket >= static_cast<double>(bucket_)) {
    buckets_[static_cast<std::size_t>(bucket)].push_back(event);
    return false;
  }
  late_.push_back(event);
  std::push_heap(late_.begin(), late_.end(), later);
  return true;
}

void EventQueue::push_all(std::vector<Event>& events) {
  const bool now = std::all_of(events.begin(), events.end(), [this](const Event& event) {
    return bucket_of(event.time) < static_cast<double>(bucket_);
  });
  const std::size_t left = sorted_.size() - next_;
  if (!now || events.size() < kFewestAtOnce || events.size() < left / kFewestAtOnce) {
    for (const Event& event : events) push(event);
  } else {
    size_ += events.size();
    std::sort(events.begin(), events.end());
    sorted_.erase(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(next_));
    next_ = 0;
    sorted_.insert(sorted_.end(), events.begin(), events.end());
    std::inplace_merge(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(left), sorted_.end());
  }
  events.clear();
}

/// The next bucket's turn.
void EventQueue::refill() {
  sorted_.clear();
  next_ = 0;
  while (sorted_.empty()) {
    if (bucket_ == buckets_.size()) deal_out_far();
    std::swap(sorted_, buckets_[bucket_++]);
  }
  std::sort(sorted_.begin(), sorted_.end());
  began_bucket_ = true;
  if (bucket_ == buckets_.size()) return;
  // The next one has been filled bit by bit over a long time.
  const std::vector<Event>& next = buckets_[bucket_];
  for (std::size_t i = 0; i < next.size(); i += kEventsALine) __builtin_prefetch(&next[i]);
}

/// Buckets from the earliest of the far events on, so wide that about half of these fall into them.
void EventQueue::deal_out_far() {
  const auto earlier = [](const Event& a, const Event& b) { return a.time < b.time; };
  const auto middle = far_.begin() + static_cast<std::ptrdiff_t>(far_.size() / 2);
  std::nth_element(far_.begin(), middle, far_.end(), earlier);
  begin_ = std::min_element(far_.begin(), middle + 1, earlier)->time;
  const auto count = std::clamp<std::size_t>(far_.size() / kEventsABucket, 1, kMostBuckets);
  // At least so wide that a time's own rounding does not matter.
  const double width = std::max((middle->time - begin_) / static_cast<double>(count), 1e-9 * (1.0 + begin_));
  buckets_a_second_ = 1.0 / width;
  buckets_.resize(count);
  bucket_ = 0;
  std::erase_if(far_, [this](const Event& event) {
    const double bucket = bucket_of(event.time);
    if (bucket >= static_cast<double>(buckets_.size())) return false;
    buckets_[static_cast<std::size_t>(bucket)].push_back(event);
    return true;
  });
}

}  // namespace orrery
