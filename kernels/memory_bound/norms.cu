// Layer and RMS norm over rows of the hidden size.

#include <cmath>

#include "kernels/memory_bound/operation.cuh"
#include "kernels/memory_bound/primitives.cuh"

namespace orrery::kernels {

namespace {

constexpr float kEpsilon = 1e-5F;

/// y = (x - mean) / deviation * gain + bias of one row held in registers (RMS: no mean, no bias); mean and
/// 1/deviation are written for the backward. A row: 2 x columns bytes read and written, 8 (RMS: 4) of
/// statistics written; gain and bias are read once in all (they stay in the L2). 8 (RMS: 4) flops an element.
template <bool kRms, int kPacks>
__global__ void norm_forward_kernel(const bf16* __restrict__ x, const bf16* __restrict__ gain,
                                    const bf16* __restrict__ bias, bf16* __restrict__ y,
                                    float* __restrict__ means, float* __restrict__ inverses, int columns) {
  __shared__ float shared[2][32];
  const int row_packs = columns / kPack;
  const std::size_t first = blockIdx.x * static_cast<std::size_t>(row_packs);
  uint4 bits[kPacks];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    bits[p] = make_uint4(0, 0, 0, 0);
    if (i < row_packs) bits[p] = packs(x)[first + static_cast<std::size_t>(i)];
  }
  float values[kPacks][kPack];
  float mean[1] = {0.0F};
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    unpack(bits[p], values[p]);
#pragma unroll
    for (int k = 0; k < kPack; ++k) mean[0] += values[p][k];
  }
  if constexpr (kRms) {
    mean[0] = 0.0F;
  } else {
    block_reduce<Add>(mean, shared[0]);
    mean[0] /= static_cast<float>(columns);
  }
  float square[1] = {0.0F};
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      values[p][k] -= mean[0];
      square[0] += i < row_packs ? values[p][k] * values[p][k] : 0.0F;
    }
  }
  block_reduce<Add>(square, shared[1]);
  const float inverse = rsqrtf(square[0] / static_cast<float>(columns) + kEpsilon);
  if (threadIdx.x == 0) {
    inverses[blockIdx.x] = inverse;
    if constexpr (!kRms) means[blockIdx.x] = mean[0];
  }
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (i >= row_packs) continue;
    float scale[kPack], shift[kPack] = {};
    unpack(__ldg(packs(gain) + i), scale);
    if constexpr (!kRms) unpack(__ldg(packs(bias) + i), shift);
#pragma unroll
    for (int k = 0; k < kPack; ++k) values[p][k] = values[p][k] * inverse * scale[k] + shift[k];
    packs(y)[first + static_cast<std::size_t>(i)] = pack(values[p]);
  }
}

/// With xhat = (x - mean) / deviation and g = dy gain:
///   dx = (g - mean(g) - xhat mean(g xhat)) / deviation   (RMS: without mean(g))
/// and the sums over rows of dy xhat (gain) and dy (bias). Blocks stay and take every gridDim-th row; a
/// thread keeps the same columns throughout and so their sums in registers, writes them once, and
/// norm_backward_sum adds up the blocks. The next row's loads are issued before this row's reduction. A row:
/// 4 x columns bytes and 8 (RMS: 4) of statistics read, 2 x columns written; 14 (RMS: 10) flops an element.
template <bool kRms, int kPacks>
__global__ void __launch_bounds__(1024)
    norm_backward_kernel(const bf16* __restrict__ dy, const bf16* __restrict__ x,
                         const bf16* __restrict__ gain, const float* __restrict__ means,
                         const float* __restrict__ inverses, bf16* __restrict__ dx,
                         float* __restrict__ partial, std::int64_t rows, int columns) {
  constexpr int kSums = kRms ? 1 : 2;
  __shared__ float shared[2][32 * 2];
  const int row_packs = columns / kPack;
  float gain_sum[kPacks][kPack] = {}, bias_sum[kPacks][kPack] = {};
  uint4 dy_bits[kPacks], x_bits[kPacks];
  const auto load = [&](std::int64_t row) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      dy_bits[p] = x_bits[p] = make_uint4(0, 0, 0, 0);
      if (row < rows && i < row_packs) {
        const std::size_t at =
            static_cast<std::size_t>(row) * static_cast<std::size_t>(row_packs) + static_cast<std::size_t>(i);
        dy_bits[p] = packs(dy)[at];
        x_bits[p] = packs(x)[at];
      }
    }
  };
  load(blockIdx.x);
  int parity = 0;
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x, parity ^= 1) {
    const float mean = kRms ? 0.0F : means[row];
    const float inverse = inverses[row];
    uint4 dy_now[kPacks], x_now[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      dy_now[p] = dy_bits[p];
      x_now[p] = x_bits[p];
    }
    load(row + gridDim.x);
    float sums[2] = {0.0F, 0.0F};  // of g xhat and of g
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      if (i >= row_packs) continue;
      float slope[kPack], value[kPack], scale[kPack];
      unpack(dy_now[p], slope);
      unpack(x_now[p], value);
      unpack(__ldg(packs(gain) + i), scale);
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const float hat = (value[k] - mean) * inverse;
        const float g = slope[k] * scale[k];
        sums[0] += g * hat;
        sums[1] += g;
        gain_sum[p][k] += slope[k] * hat;
        if constexpr (!kRms) bias_sum[p][k] += slope[k];
      }
    }
    block_reduce<Add, 2>(sums, shared[parity]);
    const float hat_mean = sums[0] / static_cast<float>(columns);
    const float g_mean = kRms ? 0.0F : sums[1] / static_cast<float>(columns);
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      if (i >= row_packs) continue;
      float slope[kPack], value[kPack], scale[kPack];
      unpack(dy_now[p], slope);
      unpack(x_now[p], value);
      unpack(__ldg(packs(gain) + i), scale);
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        const float hat = (value[k] - mean) * inverse;
        slope[k] = (slope[k] * scale[k] - g_mean - hat * hat_mean) * inverse;
      }
      packs(dx)[static_cast<std::size_t>(row) * static_cast<std::size_t>(row_packs) +
                static_cast<std::size_t>(i)] = pack(slope);
    }
  }
  float* mine = partial + static_cast<std::size_t>(blockIdx.x) * kSums * static_cast<std::size_t>(columns);
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (i >= row_packs) continue;
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      mine[i * kPack + k] = gain_sum[p][k];
      if constexpr (!kRms) mine[columns + i * kPack + k] = bias_sum[p][k];
    }
  }
}

/// out[c] = sum over blocks of partial[block][c]: 32 columns a block of 32 x 8 threads.
__global__ void norm_backward_sum(const float* __restrict__ partial, bf16* __restrict__ out, int blocks,
                                  int width) {
  __shared__ float shared[8][33];
  const int column = static_cast<int>(blockIdx.x) * 32 + static_cast<int>(threadIdx.x);
  float sum = 0.0F;
  if (column < width) {
    for (int b = static_cast<int>(threadIdx.y); b < blocks; b += 8) {
      sum += partial[static_cast<std::size_t>(b) * static_cast<std::size_t>(width) +
                     static_cast<std::size_t>(column)];
    }
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (int y = 1; y < 8; ++y) sum += shared[y][threadIdx.x];
  out[column] = __float2bfloat16(sum);
}

template <bool kRms>
class NormForwardOperation : public Operation {
 public:
  explicit NormForwardOperation(const OperationSetup& s)
      : shape_(s.shape),
        x_(Element::bf16, s.elements(), s.slots),
        y_(Element::bf16, s.elements(), s.slots),
        gain_(Element::bf16, static_cast<std::size_t>(s.shape.columns), 1),
        bias_(Element::bf16, static_cast<std::size_t>(s.shape.columns), 1),
        means_(Element::fp32, static_cast<std::size_t>(s.shape.rows), 1),
        inverses_(Element::fp32, static_cast<std::size_t>(s.shape.rows), 1) {
    x_.fill(s.seed, s.stream);
    gain_.fill(s.seed + 1, s.stream);
    bias_.fill(s.seed + 2, s.stream);
    means_.zero(s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    const std::int64_t row_packs = shape_.columns / kPack;
    if (row_packs <= 1024) {
      run<2>(stream, slot);
    } else if (row_packs <= 2048) {
      run<4>(stream, slot);
    } else {
      throw std::invalid_argument("norms of more than 16384 columns");
    }
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> x = x_.host(), gain = gain_.host(), bias = bias_.host();
    const auto columns = static_cast<std::size_t>(shape_.columns);
    std::vector<double> expected(x.size()), means, inverses;
    for (std::size_t first = 0; first < x.size(); first += columns) {
      double mean = 0.0, square = 0.0;
      for (std::size_t c = 0; c < columns && !kRms; ++c) mean += x[first + c] / static_cast<double>(columns);
      for (std::size_t c = 0; c < columns; ++c) {
        square += (x[first + c] - mean) * (x[first + c] - mean) / static_cast<double>(columns);
      }
      const double inverse = 1.0 / std::sqrt(square + static_cast<double>(kEpsilon));
      for (std::size_t c = 0; c < columns; ++c) {
        expected[first + c] = (x[first + c] - mean) * inverse * gain[c] + (kRms ? 0.0 : bias[c]);
      }
      means.push_back(mean);
      inverses.push_back(inverse);
    }
    const std::string name = kRms ? "rmsnorm" : "layernorm";
    require_close(name, y_.host(), expected, bf16_tolerance(4.0));
    require_close(name + "'s means", means_.host(), means, {1e-5, 1e-5});
    require_close(name + "'s inverse deviations", inverses_.host(), inverses, {0.0, 1e-5});
  }

 private:
  template <int kPacks>
  void run(cudaStream_t stream, int slot) {
    norm_forward_kernel<kRms, kPacks>
        <<<static_cast<unsigned>(shape_.rows), row_threads(shape_.columns / kPack, kPacks), 0, stream>>>(
            x_.as<bf16>(slot), gain_.as<bf16>(0), bias_.as<bf16>(0), y_.as<bf16>(slot), means_.as<float>(0),
            inverses_.as<float>(0), static_cast<int>(shape_.columns));
    launch_check();
  }

  OperatorShape shape_;
  SlotArray x_, y_, gain_, bias_, means_, inverses_;
};

template <bool kRms>
class NormBackwardOperation : public Operation {
 public:
  explicit NormBackwardOperation(const OperationSetup& s)
      : shape_(s.shape),
        blocks_(resident_blocks(s)),
        dy_(Element::bf16, s.elements(), s.slots),
        x_(Element::bf16, s.elements(), s.slots),
        dx_(Element::bf16, s.elements(), s.slots),
        gain_(Element::bf16, static_cast<std::size_t>(s.shape.columns), 1),
        means_(Element::fp32, static_cast<std::size_t>(s.shape.rows), 1),
        inverses_(Element::fp32, static_cast<std::size_t>(s.shape.rows), 1),
        partial_(Element::fp32,
                 static_cast<std::size_t>(blocks_) * kSums * static_cast<std::size_t>(s.shape.columns), 1),
        sums_(Element::bf16, kSums * static_cast<std::size_t>(s.shape.columns), 1) {
    dy_.fill(s.seed, s.stream);
    x_.fill(s.seed + 1000, s.stream);
    gain_.fill(s.seed + 2000, s.stream);
    means_.fill(s.seed + 2001, s.stream, 0.1F);
    inverses_.fill(s.seed + 2002, s.stream);
  }
  int launches() const override { return 2; }
  void launch(cudaStream_t stream, int slot) override {
    if (shape_.columns / kPack <= 1024) {
      run<1>(stream, slot);
    } else if (shape_.columns / kPack <= 2048) {
      run<2>(stream, slot);
    } else {
      throw std::invalid_argument("norms of more than 16384 columns");
    }
    const auto width = static_cast<int>(shape_.columns) * kSums;
    norm_backward_sum<<<static_cast<unsigned>((width + 31) / 32), dim3(32, 8), 0, stream>>>(
        partial_.as<float>(0), sums_.as<bf16>(0), blocks_, width);
    launch_check();
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> dy = dy_.host(), x = x_.host(), gain = gain_.host(), means = means_.host(),
                              inverses = inverses_.host();
    const auto columns = static_cast<std::size_t>(shape_.columns);
    std::vector<double> expected(x.size()), sums(kSums * columns, 0.0);
    for (std::size_t first = 0, row = 0; first < x.size(); first += columns, ++row) {
      const double mean = kRms ? 0.0 : means[row];
      double hat_mean = 0.0, g_mean = 0.0;
      for (std::size_t c = 0; c < columns; ++c) {
        const double hat = (x[first + c] - mean) * inverses[row];
        hat_mean += dy[first + c] * gain[c] * hat / static_cast<double>(columns);
        if (!kRms) g_mean += dy[first + c] * gain[c] / static_cast<double>(columns);
        sums[c] += dy[first + c] * hat;
        if (!kRms) sums[(kSums - 1) * columns + c] += dy[first + c];
      }
      for (std::size_t c = 0; c < columns; ++c) {
        const double hat = (x[first + c] - mean) * inverses[row];
        expected[first + c] = (dy[first + c] * gain[c] - g_mean - hat * hat_mean) * inverses[row];
      }
    }
    const std::string name = kRms ? "rmsnorm backward" : "layernorm backward";
    require_close(name, dx_.host(), expected, bf16_tolerance(8.0));
    // Sums over the rows of terms of size 1.
    require_close(name + "'s sums over rows", sums_.host(), sums,
                  bf16_tolerance(std::sqrt(static_cast<double>(shape_.rows))));
  }

 private:
  static constexpr std::size_t kSums = kRms ? 1 : 2;

  /// As many blocks as fit on the GPU at a time, and no more than rows.
  static int resident_blocks(const OperationSetup& s) {
    const std::int64_t row_packs = s.shape.columns / kPack;
    int on_sm = 0;
    if (row_packs <= 1024) {
      cuda_check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
          &on_sm, norm_backward_kernel<kRms, 1>, static_cast<int>(row_threads(row_packs, 1)), 0));
    } else {
      cuda_check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
          &on_sm, norm_backward_kernel<kRms, 2>, static_cast<int>(row_threads(row_packs, 2)), 0));
    }
    const std::int64_t resident = static_cast<std::int64_t>(on_sm > 0 ? on_sm : 1) * s.sms;
    return static_cast<int>(resident < s.shape.rows ? resident : s.shape.rows);
  }

  template <int kPacks>
  void run(cudaStream_t stream, int slot) {
    norm_backward_kernel<kRms, kPacks>
        <<<static_cast<unsigned>(blocks_), row_threads(shape_.columns / kPack, kPacks), 0, stream>>>(
            dy_.as<bf16>(slot), x_.as<bf16>(slot), gain_.as<bf16>(0), means_.as<float>(0),
            inverses_.as<float>(0), dx_.as<bf16>(slot), partial_.as<float>(0), shape_.rows,
            static_cast<int>(shape_.columns));
    launch_check();
  }

  OperatorShape shape_;
  int blocks_;
  SlotArray dy_, x_, dx_, gain_, means_, inverses_, partial_, sums_;
};

}  // namespace

std::vector<OperatorEntry> norm_operators() {
  return {
      operator_entry<NormForwardOperation<false>>("layernorm", false),
      operator_entry<NormBackwardOperation<false>>("layernorm", true),
      operator_entry<NormForwardOperation<true>>("rmsnorm", false),
      operator_entry<NormBackwardOperation<true>>("rmsnorm", true),
  };
}

}  // namespace orrery::kernels
