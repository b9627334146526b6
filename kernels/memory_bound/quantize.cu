// Casts to 8 and 4 bits with their scales.

#include <cuda.h>
#include <cuda_fp8.h>
#if CUDA_VERSION >= 12080
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"  // inside the toolkit's header
#include <cuda_fp4.h>
#pragma GCC diagnostic pop
#endif

#include <algorithm>
#include <cmath>

#include "kernels/memory_bound/operation.cuh"
#include "kernels/memory_bound/primitives.cuh"
#include "kernels/memory_bound/scalar_functions.hpp"

namespace orrery::kernels {

namespace {

constexpr float kLargestE2m1 = 6.0F;

/// Two fp32 to two e4m3 bytes, saturated, the first in the low byte.
__device__ __forceinline__ std::uint32_t e4m3_two(float low, float high) {
  return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
}

__device__ __forceinline__ uint2 e4m3_pack(const float (&values)[kPack], float scale) {
  return make_uint2(
      e4m3_two(values[0] * scale, values[1] * scale) | (e4m3_two(values[2] * scale, values[3] * scale) << 16),
      e4m3_two(values[4] * scale, values[5] * scale) |
          (e4m3_two(values[6] * scale, values[7] * scale) << 16));
}

__device__ __forceinline__ float largest_of(const float (&values)[kPack]) {
  float largest = 0.0F;
#pragma unroll
  for (float value : values) largest = fmaxf(largest, fabsf(value));
  return largest;
}

/// Atomic maximum of numbers that are not negative: their bits are ordered as integers.
__device__ __forceinline__ void atomic_largest(float* place, float value) {
  atomicMax(reinterpret_cast<int*>(place), __float_as_int(value));
}

constexpr int kQuantizeUnroll = 4;

/// out = e4m3(scale x), the scale known (delayed scaling); the largest |x| is found on the way for the next
/// step. An element: 2 bytes read + 1 written, 2 flops.
__global__ void __launch_bounds__(kStreamThreads)
    quantize_fp8_kernel(const bf16* __restrict__ x, std::uint8_t* __restrict__ out, float scale,
                        float* __restrict__ largest, std::size_t count) {
  __shared__ float shared[32];
  const std::size_t first =
      static_cast<std::size_t>(blockIdx.x) * kStreamThreads * kQuantizeUnroll + threadIdx.x;
  uint4 bits[kQuantizeUnroll];
#pragma unroll
  for (int u = 0; u < kQuantizeUnroll; ++u) {
    const std::size_t i = first + static_cast<std::size_t>(u) * kStreamThreads;
    bits[u] = i < count ? packs(x)[i] : make_uint4(0, 0, 0, 0);
  }
  float top[1] = {0.0F};
#pragma unroll
  for (int u = 0; u < kQuantizeUnroll; ++u) {
    const std::size_t i = first + static_cast<std::size_t>(u) * kStreamThreads;
    float values[kPack];
    unpack(bits[u], values);
    top[0] = fmaxf(top[0], largest_of(values));
    if (i < count) reinterpret_cast<uint2*>(out)[i] = e4m3_pack(values, scale);
  }
  block_reduce<Largest>(top, shared);
  if (threadIdx.x == 0) atomic_largest(largest, top[0]);
}

constexpr int kTile = 64;

/// The same with a second copy, transposed: tiles of 64 x 64 through shared memory, 8 elements a thread and
/// load, 16-byte stores of 16 rows of one column. An element: 2 bytes read + 2 written, 2 flops.
__global__ void __launch_bounds__(kStreamThreads)
    quantize_fp8_transpose_kernel(const bf16* __restrict__ x, std::uint8_t* __restrict__ out,
                                  std::uint8_t* __restrict__ transposed, float scale,
                                  float* __restrict__ largest, std::int64_t rows, std::int64_t columns) {
  __shared__ std::uint8_t tile[kTile][kTile + 8];  // rows stay 8-byte aligned, columns spread over the banks
  __shared__ float shared[32];
  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.y) * kTile;
  const std::int64_t column0 = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int column_pack = static_cast<int>(threadIdx.x) % (kTile / kPack);
  const int row = static_cast<int>(threadIdx.x) / (kTile / kPack);  // 0 .. 31, and 32 below it
  uint4 bits[2];
#pragma unroll
  for (int u = 0; u < 2; ++u) {
    const std::int64_t at = (row0 + row + 32 * u) * columns + column0 + column_pack * kPack;
    bits[u] = *reinterpret_cast<const uint4*>(x + at);
  }
  float top[1] = {0.0F};
#pragma unroll
  for (int u = 0; u < 2; ++u) {
    float values[kPack];
    unpack(bits[u], values);
    top[0] = fmaxf(top[0], largest_of(values));
    const uint2 narrow = e4m3_pack(values, scale);
    const std::int64_t at = (row0 + row + 32 * u) * columns + column0 + column_pack * kPack;
    *reinterpret_cast<uint2*>(out + at) = narrow;
    *reinterpret_cast<uint2*>(&tile[row + 32 * u][column_pack * kPack]) = narrow;
  }
  block_reduce<Largest>(top, shared);  // its barrier also completes the tile: a block has 8 warps
  if (threadIdx.x == 0) atomic_largest(largest, top[0]);
  const int column = static_cast<int>(threadIdx.x) / 4;
  const int group = static_cast<int>(threadIdx.x) % 4 * 16;
  std::uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int j = 0; j < 16; ++j) {
    words[j / 4] |= static_cast<std::uint32_t>(tile[group + j][column]) << (8 * (j % 4));
  }
  *reinterpret_cast<uint4*>(transposed + (column0 + column) * rows + row0 + group) =
      make_uint4(words[0], words[1], words[2], words[3]);
}

/// mxfp8: each 32 elements of a row share a power of two (ue8m0), the smallest with which none saturates.
/// Four lanes hold a block. An element: 2 bytes read + 1 written, and a scale byte for 32; 2 flops.
struct QuantizeMxfp8 {
  struct In {
    uint4 a;
  };
  const bf16* x;
  std::uint8_t* out;
  std::uint8_t* scales;
  __device__ In load(std::size_t i) const { return {packs(x)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float values[kPack];
    unpack(v.a, values);
    float largest = largest_of(values);
    // Whole blocks of 32 elements end together: the lanes of one are all here or all gone.
    const unsigned lanes = 0xfU << (threadIdx.x % 32 / 4 * 4);
    largest = fmaxf(largest, __shfl_xor_sync(lanes, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(lanes, largest, 2));
    // largest = 1.m 2^e and 448 = 1.75 2^8: the scale is 2^(e - 8), twice that if 1.m exceeds 1.75.
    const std::uint32_t top = __float_as_uint(largest);
    const int raised = (top & 0x7fffffU) > 0x600000U ? 1 : 0;
    const int exponent = max(static_cast<int>(top >> 23) - 8 + raised, 0);
    const float inverse = __uint_as_float(static_cast<std::uint32_t>(254 - exponent) << 23);
    reinterpret_cast<uint2*>(out)[i] = e4m3_pack(values, inverse);
    if (i % 4 == 0) scales[i / 4] = static_cast<std::uint8_t>(exponent);
  }
};

#if CUDA_VERSION >= 12080
/// nvfp4: each 16 elements of a row share an e4m3 scale, chosen so that the largest becomes 6; a scale of the
/// whole tensor (known, as delayed scaling has it) brings the block scales into e4m3's range. Two lanes hold
/// a block. An element: 2 bytes read + 1/2 written, and a scale byte for 16; 2 flops.
struct QuantizeNvfp4 {
  struct In {
    uint4 a;
  };
  const bf16* x;
  std::uint8_t* out;
  std::uint8_t* scales;
  float tensor_scale;
  __device__ In load(std::size_t i) const { return {packs(x)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float values[kPack];
    unpack(v.a, values);
    float largest = largest_of(values);
    const unsigned lanes = 0x3U << (threadIdx.x % 32 / 2 * 2);
    largest = fmaxf(largest, __shfl_xor_sync(lanes, largest, 1));
    const __nv_fp8_e4m3 scale(largest * (1.0F / kLargestE2m1) * tensor_scale);
    const float stored = static_cast<float>(scale);
    const float inverse = stored > 0.0F ? tensor_scale / stored : 0.0F;
    std::uint32_t word = 0;
#pragma unroll
    for (int k = 0; k < kPack / 2; ++k) {
      const float2 two = make_float2(values[2 * k] * inverse, values[2 * k + 1] * inverse);
      word |= static_cast<std::uint32_t>(__nv_cvt_float2_to_fp4x2(two, __NV_E2M1, cudaRoundNearest))
              << (8 * k);
    }
    reinterpret_cast<std::uint32_t*>(out)[i] = word;
    if (i % 2 == 0) scales[i / 2] = scale.__x;
  }
};
#endif

double largest_magnitude(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// e4m3 of |value| <= 448: rounding is half of 2^-3 relative, half of 2^-9 among the subnormal numbers; fp32
/// products before it may turn a tie.
constexpr Tolerance kE4m3Tolerance = {0x1p-10 * 1.001, 0x1p-4 * 1.001};

template <bool kTranspose>
class QuantizeFp8Operation : public Operation {
 public:
  explicit QuantizeFp8Operation(const OperationSetup& s)
      : shape_(s.shape),
        x_(Element::bf16, s.elements(), s.slots),
        out_(Element::e4m3, s.elements(), s.slots),
        transposed_(Element::e4m3, kTranspose ? s.elements() : kTile, s.slots),
        largest_(Element::fp32, 1, 1) {
    x_.fill(s.seed, s.stream);
    largest_.zero(s.stream);
    if (kTranspose && (s.shape.rows % kTile != 0 || s.shape.columns % kTile != 0)) {
      throw std::invalid_argument("quantize_fp8_transpose works on multiples of 64 rows and columns");
    }
  }
  void launch(cudaStream_t stream, int slot) override {
    if constexpr (kTranspose) {
      const dim3 grid(static_cast<unsigned>(shape_.columns / kTile),
                      static_cast<unsigned>(shape_.rows / kTile));
      quantize_fp8_transpose_kernel<<<grid, kStreamThreads, 0, stream>>>(
          x_.as<bf16>(slot), out_.as<std::uint8_t>(slot), transposed_.as<std::uint8_t>(slot), kTensorScale,
          largest_.as<float>(0), shape_.rows, shape_.columns);
    } else {
      const std::size_t count = x_.count() / kPack;
      quantize_fp8_kernel<<<blocks_for(count, static_cast<std::size_t>(kStreamThreads) * kQuantizeUnroll),
                            kStreamThreads, 0, stream>>>(x_.as<bf16>(slot), out_.as<std::uint8_t>(slot),
                                                         kTensorScale, largest_.as<float>(0), count);
    }
    launch_check();
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> x = x_.host(), out = out_.host();
    std::vector<double> expected = x;
    for (double& value : expected) {
      value = std::clamp(value * static_cast<double>(kTensorScale), -448.0, 448.0);
    }
    require_close("quantize_fp8", out, expected, kE4m3Tolerance);
    require_close("quantize_fp8's maximum", largest_.host(), {largest_magnitude(x)}, {0.0, 0.0});
    if (!kTranspose) return;
    const auto rows = static_cast<std::size_t>(shape_.rows),
               columns = static_cast<std::size_t>(shape_.columns);
    std::vector<double> turned(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) turned[i % columns * rows + i / columns] = out[i];
    require_close("quantize_fp8's transpose", transposed_.host(), turned, {0.0, 0.0});
  }

 private:
  static constexpr float kTensorScale = 64.0F;
  OperatorShape shape_;
  SlotArray x_, out_, transposed_, largest_;
};

class QuantizeMxfp8Operation : public Operation {
 public:
  explicit QuantizeMxfp8Operation(const OperationSetup& s)
      : x_(Element::bf16, s.elements(), s.slots),
        out_(Element::e4m3, s.elements(), s.slots),
        scales_(Element::e4m3, s.elements() / kBlock, s.slots) {
    x_.fill(s.seed, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<4>(
        QuantizeMxfp8{x_.as<bf16>(slot), out_.as<std::uint8_t>(slot), scales_.as<std::uint8_t>(slot)},
        x_.count() / kPack, stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> x = x_.host();
    std::vector<double> restored = out_.host(), expected_scales, scales;
    std::vector<std::uint8_t> raw(scales_.count());
    cuda_check(cudaMemcpy(raw.data(), scales_.as<void>(0), raw.size(), cudaMemcpyDeviceToHost));
    std::vector<double> scaled(x.size());
    for (std::size_t block = 0; block < raw.size(); ++block) {
      const auto first = x.begin() + static_cast<std::ptrdiff_t>(block * kBlock);
      expected_scales.push_back(mxfp8_scale_bits(largest_magnitude({first, first + kBlock})));
      scales.push_back(raw[block]);
      for (std::size_t i = block * kBlock; i < (block + 1) * kBlock; ++i)
        scaled[i] = x[i] / decode_ue8m0(raw[block]);
    }
    require_close("quantize_mxfp8's scales", scales, expected_scales, {0.0, 0.0});
    require_close("quantize_mxfp8", restored, scaled, kE4m3Tolerance);
  }

 private:
  static constexpr std::size_t kBlock = 32;
  SlotArray x_, out_, scales_;
};

#if CUDA_VERSION >= 12080
class QuantizeNvfp4Operation : public Operation {
 public:
  explicit QuantizeNvfp4Operation(const OperationSetup& s)
      : x_(Element::bf16, s.elements(), s.slots),
        out_(Element::e2m1, s.elements(), s.slots),
        scales_(Element::e4m3, s.elements() / kBlock, s.slots) {
    x_.fill(s.seed, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<4>(QuantizeNvfp4{x_.as<bf16>(slot), out_.as<std::uint8_t>(slot),
                                   scales_.as<std::uint8_t>(slot), kTensorScale},
                     x_.count() / kPack, stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> x = x_.host(), out = out_.host(), scales = scales_.host();
    std::vector<double> expected_scales, scaled(x.size());
    for (std::size_t block = 0; block < scales.size(); ++block) {
      const auto first = x.begin() + static_cast<std::ptrdiff_t>(block * kBlock);
      expected_scales.push_back(largest_magnitude({first, first + kBlock}) / 6.0 *
                                static_cast<double>(kTensorScale));
      for (std::size_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
        // A block scale that was rounded down lets the largest element reach beyond 6, where it saturates.
        scaled[i] = std::clamp(x[i] * static_cast<double>(kTensorScale) / scales[block], -6.0, 6.0);
      }
    }
    require_close("quantize_nvfp4's scales", scales, expected_scales, kE4m3Tolerance);
    // e2m1 rounds to 0 .5 1 1.5 2 3 4 6: by at most 1/4 up to 2, then by at most a quarter of the value
    // below.
    require_close("quantize_nvfp4", out, scaled, {0.251, 0.2});
  }

 private:
  static constexpr std::size_t kBlock = 16;
  static constexpr float kTensorScale = 448.0F * 6.0F / 8.0F;  // as if the tensor's largest magnitude were 8
  SlotArray x_, out_, scales_;
};
#endif

}  // namespace

std::vector<OperatorEntry> quantize_operators() {
  std::vector<OperatorEntry> entries = {
      operator_entry<QuantizeFp8Operation<false>>("quantize_fp8", false),
      operator_entry<QuantizeFp8Operation<true>>("quantize_fp8_transpose", false),
      operator_entry<QuantizeMxfp8Operation>("quantize_mxfp8", false),
  };
#if CUDA_VERSION >= 12080
  entries.push_back(operator_entry<QuantizeNvfp4Operation>("quantize_nvfp4", false));
#endif
  return entries;
}

}  // namespace orrery::kernels
