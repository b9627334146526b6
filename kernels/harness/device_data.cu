#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp8.h>

#include "kernels/harness/device_data.hpp"
#include "kernels/harness/random.hpp"

namespace orrery::kernels {
namespace {

constexpr unsigned kThreads = 256;

/// Blocks of a grid-stride loop over `count` items; every size is correct, this one fills the GPU.
unsigned blocks_for(std::size_t count) {
  const std::size_t blocks = (count + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < 4096 ? blocks : 4096);
}

template <typename Store>
__global__ void normal_kernel(Store store, std::size_t items, std::uint64_t seed, float deviation) {
  const std::size_t stride = std::size_t{blockDim.x} * gridDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < items; i += stride) {
    store(i, seed, deviation);
  }
}

struct StoreFloat {
  float* out;
  __device__ void operator()(std::size_t i, std::uint64_t seed, float deviation) const {
    out[i] = deviation * normal_at(seed, i);
  }
};

struct StoreHalf {
  __half* out;
  __device__ void operator()(std::size_t i, std::uint64_t seed, float deviation) const {
    const float value = deviation * normal_at(seed, i);
    out[i] = __float2half_rn(fminf(fmaxf(value, -65504.0F), 65504.0F));
  }
};

struct StoreBfloat {
  __nv_bfloat16* out;
  __device__ void operator()(std::size_t i, std::uint64_t seed, float deviation) const {
    out[i] = __float2bfloat16_rn(deviation * normal_at(seed, i));
  }
};

struct StoreE4m3 {
  std::uint8_t* out;
  __device__ void operator()(std::size_t i, std::uint64_t seed, float deviation) const {
    out[i] = __nv_cvt_float_to_fp8(deviation * normal_at(seed, i), __NV_SATFINITE, __NV_E4M3);
  }
};

/// One item is a byte: elements 2i (low half) and 2i + 1.
struct StoreE2m1 {
  std::uint8_t* out;
  std::size_t count;
  __device__ void operator()(std::size_t i, std::uint64_t seed, float deviation) const {
    const float low = deviation * normal_at(seed, 2 * i);
    const float high = 2 * i + 1 < count ? deviation * normal_at(seed, 2 * i + 1) : 0.0F;
    out[i] = __nv_cvt_float2_to_fp4x2(make_float2(low, high), __NV_E2M1, cudaRoundNearest);
  }
};

template <typename Store>
void launch_normal(Store store, std::size_t items, std::uint64_t seed, float deviation, cudaStream_t stream) {
  if (items == 0) return;
  normal_kernel<<<blocks_for(items), kThreads, 0, stream>>>(store, items, seed, deviation);
  launch_check();
}

__global__ void integers_kernel(std::int32_t* out, std::size_t count, std::uint64_t seed,
                                std::uint32_t bound) {
  const std::size_t stride = std::size_t{blockDim.x} * gridDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    out[i] = static_cast<std::int32_t>(integer_at(seed, i, bound));
  }
}

__global__ void bytes_kernel(std::uint8_t* out, std::size_t count, std::uint64_t seed, std::uint32_t lowest,
                             std::uint32_t bound) {
  const std::size_t stride = std::size_t{blockDim.x} * gridDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    out[i] = static_cast<std::uint8_t>(lowest + integer_at(seed, i, bound));
  }
}

}  // namespace

void fill_normal(void* data, Element element, std::size_t count, std::uint64_t seed, cudaStream_t stream,
                 float deviation) {
  switch (element) {
    case Element::fp32:
      launch_normal(StoreFloat{static_cast<float*>(data)}, count, seed, deviation, stream);
      return;
    case Element::fp16:
      launch_normal(StoreHalf{static_cast<__half*>(data)}, count, seed, deviation, stream);
      return;
    case Element::bf16:
      launch_normal(StoreBfloat{static_cast<__nv_bfloat16*>(data)}, count, seed, deviation, stream);
      return;
    case Element::e4m3:
      launch_normal(StoreE4m3{static_cast<std::uint8_t*>(data)}, count, seed, deviation, stream);
      return;
    case Element::e2m1:
      launch_normal(StoreE2m1{static_cast<std::uint8_t*>(data), count}, (count + 1) / 2, seed, deviation,
                    stream);
      return;
  }
}

void fill_integers(std::int32_t* data, std::size_t count, std::uint64_t seed, std::uint32_t bound,
                   cudaStream_t stream) {
  if (count == 0) return;
  integers_kernel<<<blocks_for(count), kThreads, 0, stream>>>(data, count, seed, bound);
  launch_check();
}

void fill_bytes(std::uint8_t* data, std::size_t count, std::uint64_t seed, std::uint8_t lowest,
                std::uint8_t highest, cudaStream_t stream) {
  if (count == 0) return;
  const auto bound = static_cast<std::uint32_t>(highest - lowest + 1);
  bytes_kernel<<<blocks_for(count), kThreads, 0, stream>>>(data, count, seed, lowest, bound);
  launch_check();
}

void overwrite(const DeviceBuffer& buffer, cudaStream_t stream) {
  // The driver's memset writes through the L2 as a kernel does, at the memory's rate.
  cuda_check(cudaMemsetAsync(buffer.data(), 0, buffer.bytes(), stream));
}

std::vector<double> host_values(const void* device_data, Element element, std::size_t count) {
  std::vector<std::byte> bytes(bytes_of(element, count));
  cuda_check(cudaDeviceSynchronize());
  cuda_check(cudaMemcpy(bytes.data(), device_data, bytes.size(), cudaMemcpyDeviceToHost));
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = decode_element(element, bytes.data(), i);
  return values;
}

}  // namespace orrery::kernels
