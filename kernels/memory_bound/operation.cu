#include "kernels/memory_bound/operation.cuh"

namespace orrery::kernels {

namespace {

constexpr std::size_t kAlign = 256;

}  // namespace

SlotArray::SlotArray(Element element, std::size_t count, int slots)
    : element_(element),
      count_(count),
      slots_(slots),
      stride_((bytes_of(element, count) + kAlign - 1) / kAlign * kAlign),
      buffer_(stride_ * static_cast<std::size_t>(slots)) {}

void SlotArray::fill(std::uint64_t seed, cudaStream_t stream, float deviation) const {
  for (int slot = 0; slot < slots_; ++slot) {
    fill_normal(as<void>(slot), element_, count_, seed + static_cast<std::uint64_t>(slot), stream, deviation);
  }
}

void SlotArray::zero(cudaStream_t stream) const {
  cuda_check(cudaMemsetAsync(buffer_.data(), 0, buffer_.bytes(), stream));
}

}  // namespace orrery::kernels
