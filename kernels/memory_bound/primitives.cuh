#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/harness/cuda.hpp"

namespace orrery::kernels {

using bf16 = __nv_bfloat16;

/// bf16 elements of one 16-byte access.
constexpr int kPack = 8;

/// 16 bytes of bf16 as fp32. A bf16 is the upper half of an fp32, the even element the lower half of a word.
__device__ __forceinline__ void unpack(const uint4& bits, float (&values)[kPack]) {
  const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    values[2 * i] = __uint_as_float(words[i] << 16);
    values[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000U);
  }
}

__device__ __forceinline__ std::uint32_t pack_two(float low, float high) {
  const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
  std::uint32_t bits = 0;
  memcpy(&bits, &two, sizeof bits);
  return bits;
}

/// fp32 rounded to bf16, to nearest.
__device__ __forceinline__ uint4 pack(const float (&values)[kPack]) {
  return make_uint4(pack_two(values[0], values[1]), pack_two(values[2], values[3]),
                    pack_two(values[4], values[5]), pack_two(values[6], values[7]));
}

__device__ __forceinline__ const uint4* packs(const bf16* data) {
  return reinterpret_cast<const uint4*>(data);
}
__device__ __forceinline__ uint4* packs(bf16* data) { return reinterpret_cast<uint4*>(data); }

/// Element-wise kernels: `Work` says what one index reads (`In load(i)`) and what it makes of it
/// (`void finish(i, in)`). Every thread issues all its kUnroll loads before the first result, so that with
/// 2048 threads an SM at least 32 kB x kUnroll x arrays are asked for at a time: more than the 18 kB (H100)
/// to 45 kB (B200) that bandwidth times latency wants.
constexpr int kStreamThreads = 256;

template <int kUnroll, typename Work>
__global__ void __launch_bounds__(kStreamThreads) stream_kernel(const Work work, std::size_t count) {
  const std::size_t first = static_cast<std::size_t>(blockIdx.x) * kStreamThreads * kUnroll + threadIdx.x;
  typename Work::In in[kUnroll];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::size_t i = first + static_cast<std::size_t>(u) * kStreamThreads;
    if (i < count) in[u] = work.load(i);
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::size_t i = first + static_cast<std::size_t>(u) * kStreamThreads;
    if (i < count) work.finish(i, in[u]);
  }
}

inline unsigned blocks_for(std::size_t count, std::size_t a_block) {
  return static_cast<unsigned>((count + a_block - 1) / a_block);
}

template <int kUnroll, typename Work>
void launch_stream(const Work& work, std::size_t count, cudaStream_t stream) {
  stream_kernel<kUnroll, Work>
      <<<blocks_for(count, static_cast<std::size_t>(kStreamThreads) * kUnroll), kStreamThreads, 0, stream>>>(
          work, count);
  launch_check();
}

struct Add {
  static constexpr float kNeutral = 0.0F;
  __device__ static float combine(float a, float b) { return a + b; }
};
struct Largest {
  static constexpr float kNeutral = -3.4e38F;
  __device__ static float combine(float a, float b) { return fmaxf(a, b); }
};

template <typename Combine>
__device__ __forceinline__ float warp_reduce(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = Combine::combine(value, __shfl_xor_sync(0xffffffffU, value, distance));
  }
  return value;
}

/// Reduces kValues numbers over a block of whole warps; every thread gets the results, added in the same
/// order.
/// @param shared  32 * kValues floats. A second call needs other memory, or a barrier before it.
template <typename Combine, int kValues>
__device__ __forceinline__ void block_reduce(float (&values)[kValues], float* shared) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = (static_cast<int>(blockDim.x) + 31) / 32;
#pragma unroll
  for (int v = 0; v < kValues; ++v) values[v] = warp_reduce<Combine>(values[v]);
  if (warps == 1) return;
  if (threadIdx.x % 32 == 0) {
#pragma unroll
    for (int v = 0; v < kValues; ++v) shared[warp * kValues + v] = values[v];
  }
  __syncthreads();
#pragma unroll
  for (int v = 0; v < kValues; ++v) {
    float sum = Combine::kNeutral;
    for (int w = 0; w < warps; ++w) sum = Combine::combine(sum, shared[w * kValues + v]);
    values[v] = sum;
  }
}

/// Threads for rows of `row_packs` packs when each thread holds up to `a_thread` of them: whole warps.
inline unsigned row_threads(std::int64_t row_packs, int a_thread) {
  const std::int64_t threads = (row_packs + a_thread - 1) / a_thread;
  return static_cast<unsigned>((threads + 31) / 32 * 32);
}

}  // namespace orrery::kernels
