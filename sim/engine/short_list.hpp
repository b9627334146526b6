#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace orrery {

/// A list that lies in the object itself, beside what else its owner holds, as long as it has no more than N
/// elements: one cache line for the two where a step has hundreds of thousands of lists with a few elements
/// each.
template <typename T, std::size_t N>
class ShortList {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return away_ ? more_->data() : here_; }
  T* end() { return begin() + size_; }
  const T* begin() const { return away_ ? more_->data() : here_; }
  const T* end() const { return begin() + size_; }
  T& operator[](std::size_t i) { return begin()[i]; }
  const T& operator[](std::size_t i) const { return begin()[i]; }
  const T& back() const { return begin()[size_ - 1]; }
  void push_back(const T& value) {
    resize(size_ + std::size_t{1});
    begin()[size_ - 1] = value;
  }
  void pop_back() {
    --size_;
    if (!away_) return;
    more_->pop_back();
    if (size_ <= N / 2) {  // comes back late, lest it go to and fro
      std::copy(more_->begin(), more_->end(), here_);
      away_ = false;
    }
  }
  /// New elements have any value.
  void resize(std::size_t size) {
    if (!away_ && size > N) {
      if (!more_) more_ = std::make_unique<std::vector<T>>();
      more_->assign(here_, here_ + size_);
      away_ = true;
    }
    if (away_) more_->resize(size);
    size_ = static_cast<std::uint32_t>(size);
  }

 private:
  std::unique_ptr<std::vector<T>> more_;
  std::uint32_t size_ = 0;
  bool away_ = false;  ///< in more_
  T here_[N];
};

}  // namespace orrery
