#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace orrery {

/// Memory for arrays of many megabytes that are read and written at random. On Linux it asks for pages of
/// 2 MiB (madvise(2), MADV_HUGEPAGE): a processor knows where some 2,000 pages lie, 8 MiB of the usual ones,
/// and looks up all others in tables that are in memory themselves. Small arrays come from the heap.
template <typename T>
class LargeArrayAllocator {
 public:
  using value_type = T;
  LargeArrayAllocator() = default;
  template <typename U>
  LargeArrayAllocator(const LargeArrayAllocator<U>&) {}  // NOLINT(google-explicit-constructor)

  T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes < kLarge) return static_cast<T*>(::operator new(bytes, kAlignment));
    void* memory = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    // Where the system has no such pages the usual ones do.
    static_cast<void>(madvise(memory, bytes, MADV_HUGEPAGE));
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    if (count * sizeof(T) < kLarge) {
      ::operator delete(memory, kAlignment);
    } else {
      std::free(memory);
    }
  }
  template <typename U>
  bool operator==(const LargeArrayAllocator<U>&) const {
    return true;
  }

 private:
  static constexpr std::size_t kPage = std::size_t{1} << 21U;
  static constexpr std::size_t kLarge = 2 * kPage;
  static constexpr std::align_val_t kAlignment{std::max(alignof(T), alignof(std::max_align_t))};
};

template <typename T>
using LargeArray = std::vector<T, LargeArrayAllocator<T>>;

}  // namespace orrery
