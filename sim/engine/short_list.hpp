#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace orrery {

/// A list that lies in the object itself, beside what else its owner holds, as long as it has no more than N
/// elements: one cache line for the two where a step has hundreds of thousands of lists with a few elements
/// each.
template <typename T, std::size_t N>
class ShortList {
 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return away_ ? more_.get() : here_; }
  T* end() { return begin() + size_; }
  const T* begin() const { return away_ ? more_.get() : here_; }
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
    if (away_ && size_ <= N / 2) {  // comes back late, lest it go to and fro
      std::copy_n(more_.get(), size_, here_);
      away_ = 0;
    }
  }
  /// New elements have any value.
  void resize(std::size_t size) {
    if (size > (away_ ? capacity_ : N)) move_away(size);
    size_ = static_cast<std::uint32_t>(size);
  }

 private:
  void move_away(std::size_t size) {
    if (size > capacity_) {
      const std::size_t grown = std::max(size, std::size_t{2} * capacity_);
      std::unique_ptr<T[]> larger(new T[grown]);
      std::copy_n(begin(), size_, larger.get());
      more_ = std::move(larger);
      capacity_ = static_cast<std::uint32_t>(grown) & kMost;
    } else {
      std::copy_n(here_, size_, more_.get());
    }
    away_ = 1;
  }

  static constexpr std::uint32_t kMost = (std::uint32_t{1} << 31U) - 1;
  std::unique_ptr<T[]> more_;
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ : 31 = 0;  ///< of more_
  std::uint32_t away_ : 1 = 0;       ///< in more_
  T here_[N];
};

}  // namespace orrery
