// Row operators whose rows are reduced once: softmax of attention scores, cross-entropy over a vocabulary.

#include <cmath>

#include "kernels/memory_bound/operation.cuh"
#include "kernels/memory_bound/primitives.cuh"

namespace orrery::kernels {

namespace {

constexpr float kScale = 0.125F;  // of the scores: 1 / sqrt(64)

/// One row of scaled, causally masked scores to probabilities, the row held in registers: read once, written
/// once. Row r of a square of `columns` queries sees keys 0 .. r % columns; keys out of sight are read too
/// (the kernel with a mask as a tensor would) and written as zero. An element: 2 bytes read + 2 written, 5
/// flops.
template <int kPacks>
__global__ void softmax_forward_kernel(const bf16* __restrict__ x, bf16* __restrict__ y, int columns) {
  __shared__ float shared[2][32];
  const std::size_t row = blockIdx.x;
  const int row_packs = columns / kPack;
  const int last = static_cast<int>(row % static_cast<std::size_t>(columns));
  const uint4* in = packs(x) + row * static_cast<std::size_t>(row_packs);
  uint4 bits[kPacks];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (i < row_packs) bits[p] = in[i];
  }
  float values[kPacks][kPack];
  float largest[1] = {Largest::kNeutral};
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    if (i < row_packs) unpack(bits[p], values[p]);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const bool seen = i < row_packs && i * kPack + k <= last;
      values[p][k] = seen ? values[p][k] * kScale : -INFINITY;
      largest[0] = fmaxf(largest[0], values[p][k]);
    }
  }
  block_reduce<Largest>(largest, shared[0]);
  float sum[1] = {0.0F};
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      values[p][k] = __expf(values[p][k] - largest[0]);
      sum[0] += values[p][k];
    }
  }
  block_reduce<Add>(sum, shared[1]);
  const float inverse = 1.0F / sum[0];
  uint4* out = packs(y) + row * static_cast<std::size_t>(row_packs);
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < kPack; ++k) values[p][k] *= inverse;
    if (i < row_packs) out[i] = pack(values[p]);
  }
}

/// dx = scale y (dy - sum(y dy)) of one row. An element: 4 bytes read + 2 written, 5 flops.
template <int kPacks>
__global__ void softmax_backward_kernel(const bf16* __restrict__ y, const bf16* __restrict__ dy,
                                        bf16* __restrict__ dx, int columns) {
  __shared__ float shared[32];
  const int row_packs = columns / kPack;
  const std::size_t first = blockIdx.x * static_cast<std::size_t>(row_packs);
  uint4 y_bits[kPacks], dy_bits[kPacks];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    y_bits[p] = dy_bits[p] = make_uint4(0, 0, 0, 0);
    if (i < row_packs) {
      y_bits[p] = packs(y)[first + static_cast<std::size_t>(i)];
      dy_bits[p] = packs(dy)[first + static_cast<std::size_t>(i)];
    }
  }
  float dot[1] = {0.0F};
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    float values[kPack], slopes[kPack];
    unpack(y_bits[p], values);
    unpack(dy_bits[p], slopes);
#pragma unroll
    for (int k = 0; k < kPack; ++k) dot[0] += values[k] * slopes[k];
  }
  block_reduce<Add>(dot, shared);
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    float values[kPack], slopes[kPack];
    unpack(y_bits[p], values);
    unpack(dy_bits[p], slopes);
#pragma unroll
    for (int k = 0; k < kPack; ++k) values[k] *= kScale * (slopes[k] - dot[0]);
    if (i < row_packs) packs(dx)[first + static_cast<std::size_t>(i)] = pack(values);
  }
}

constexpr int kLossThreads = 512;
constexpr int kLossUnroll = 4;

/// Loss and log of the sum of exponentials of one row of logits, in one pass: each thread keeps its running
/// maximum and the sum relative to it (Milakov and Gimelshein 2018). A row: 2 x columns bytes of logits and
/// an 8-byte label read, 8 bytes written; 4 flops an element.
__global__ void __launch_bounds__(kLossThreads)
    cross_entropy_forward_kernel(const bf16* __restrict__ logits, const std::int64_t* __restrict__ labels,
                                 float* __restrict__ loss, float* __restrict__ log_sum, int columns) {
  __shared__ float shared[2][32];
  const int row_packs = columns / kPack;
  const uint4* row = packs(logits) + blockIdx.x * static_cast<std::size_t>(row_packs);
  float largest = Largest::kNeutral, sum = 0.0F;
  for (int base = static_cast<int>(threadIdx.x); base < row_packs; base += kLossThreads * kLossUnroll) {
    uint4 bits[kLossUnroll];
#pragma unroll
    for (int u = 0; u < kLossUnroll; ++u) {
      if (base + u * kLossThreads < row_packs) bits[u] = row[base + u * kLossThreads];
    }
#pragma unroll
    for (int u = 0; u < kLossUnroll; ++u) {
      if (base + u * kLossThreads >= row_packs) continue;
      float values[kPack];
      unpack(bits[u], values);
      float top = values[0];
#pragma unroll
      for (int k = 1; k < kPack; ++k) top = fmaxf(top, values[k]);
      if (top > largest) {
        sum *= __expf(largest - top);
        largest = top;
      }
#pragma unroll
      for (int k = 0; k < kPack; ++k) sum += __expf(values[k] - largest);
    }
  }
  float top[1] = {largest};
  block_reduce<Largest>(top, shared[0]);
  float total[1] = {sum * __expf(largest - top[0])};
  block_reduce<Add>(total, shared[1]);
  if (threadIdx.x == 0) {
    const float logarithm = top[0] + logf(total[0]);
    const float label = __bfloat162float(logits[blockIdx.x * static_cast<std::size_t>(columns) +
                                                static_cast<std::size_t>(labels[blockIdx.x])]);
    log_sum[blockIdx.x] = logarithm;
    loss[blockIdx.x] = logarithm - label;
  }
}

/// dlogits = (exp(logits - log_sum) - [column is label]) dloss. A row: 2 x columns bytes and 16 of label, log
/// of the sum and dloss read, 2 x columns written; 3 flops an element. Blocks are pieces of rows.
__global__ void __launch_bounds__(kStreamThreads)
    cross_entropy_backward_kernel(const bf16* __restrict__ logits, const std::int64_t* __restrict__ labels,
                                  const float* __restrict__ log_sum, const float* __restrict__ loss_gradient,
                                  bf16* __restrict__ gradient, int columns) {
  const int row_packs = columns / kPack;
  const std::size_t row = blockIdx.y;
  const int first =
      static_cast<int>(blockIdx.x) * kStreamThreads * kLossUnroll + static_cast<int>(threadIdx.x);
  const std::size_t offset = row * static_cast<std::size_t>(row_packs);
  uint4 bits[kLossUnroll];
#pragma unroll
  for (int u = 0; u < kLossUnroll; ++u) {
    const int i = first + u * kStreamThreads;
    if (i < row_packs) bits[u] = packs(logits)[offset + static_cast<std::size_t>(i)];
  }
  const float logarithm = log_sum[row];
  const float slope = loss_gradient[row];
  const int label = static_cast<int>(labels[row]);
#pragma unroll
  for (int u = 0; u < kLossUnroll; ++u) {
    const int i = first + u * kStreamThreads;
    if (i >= row_packs) continue;
    float values[kPack];
    unpack(bits[u], values);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const float probability = __expf(values[k] - logarithm);
      values[k] = (probability - (i * kPack + k == label ? 1.0F : 0.0F)) * slope;
    }
    packs(gradient)[offset + static_cast<std::size_t>(i)] = pack(values);
  }
}

/// Calls `launch` with the number of packs a thread holds as a constant: 1 to 8, so that a block has at most
/// 512 threads up to 32768 columns.
template <typename Launch>
void with_packs_a_thread(std::int64_t row_packs, Launch launch) {
  if (row_packs <= 128) return launch(std::integral_constant<int, 1>());
  if (row_packs <= 1024) return launch(std::integral_constant<int, 2>());
  if (row_packs <= 2048) return launch(std::integral_constant<int, 4>());
  if (row_packs <= 4096) return launch(std::integral_constant<int, 8>());
  throw std::invalid_argument("rows of more than 32768 columns");
}

template <bool kBackward>
class SoftmaxOperation : public Operation {
 public:
  explicit SoftmaxOperation(const OperationSetup& s)
      : shape_(s.shape),
        x_(Element::bf16, s.elements(), s.slots),
        dy_(Element::bf16, kBackward ? s.elements() : kPack, s.slots),
        y_(Element::bf16, s.elements(), s.slots) {
    x_.fill(s.seed, s.stream, kBackward ? 0.1F : 8.0F);  // backward: stands for the probabilities
    dy_.fill(s.seed + 1000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    const auto columns = static_cast<int>(shape_.columns);
    with_packs_a_thread(shape_.columns / kPack, [&](auto a_thread) {
      const auto blocks = static_cast<unsigned>(shape_.rows);
      const unsigned threads = row_threads(shape_.columns / kPack, a_thread);
      if constexpr (kBackward) {
        softmax_backward_kernel<a_thread><<<blocks, threads, 0, stream>>>(
            x_.as<bf16>(slot), dy_.as<bf16>(slot), y_.as<bf16>(slot), columns);
      } else {
        softmax_forward_kernel<a_thread>
            <<<blocks, threads, 0, stream>>>(x_.as<bf16>(slot), y_.as<bf16>(slot), columns);
      }
    });
    launch_check();
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> x = x_.host(), dy = dy_.host();
    std::vector<double> expected(x.size(), 0.0);
    const auto columns = static_cast<std::size_t>(shape_.columns);
    const auto scale = static_cast<double>(kScale);
    for (std::size_t row = 0; row < x.size() / columns; ++row) {
      const double* in = x.data() + row * columns;
      double* out = expected.data() + row * columns;
      double sum = 0.0;
      if (kBackward) {
        for (std::size_t c = 0; c < columns; ++c) sum += in[c] * dy[row * columns + c];
        for (std::size_t c = 0; c < columns; ++c) out[c] = scale * in[c] * (dy[row * columns + c] - sum);
      } else {
        for (std::size_t c = 0; c <= row % columns; ++c) sum += out[c] = std::exp(scale * in[c]);
        for (std::size_t c = 0; c <= row % columns; ++c) out[c] /= sum;
      }
    }
    require_close(kBackward ? "softmax backward" : "softmax", y_.host(), expected, bf16_tolerance());
  }

 private:
  OperatorShape shape_;
  SlotArray x_, dy_, y_;
};

template <bool kBackward>
class CrossEntropyOperation : public Operation {
 public:
  explicit CrossEntropyOperation(const OperationSetup& s)
      : shape_(s.shape),
        logits_(Element::bf16, s.elements(), s.slots),
        gradient_(Element::bf16, kBackward ? s.elements() : kPack, s.slots),
        labels_(Element::fp32, 2 * static_cast<std::size_t>(s.shape.rows), 1),
        loss_(Element::fp32, static_cast<std::size_t>(s.shape.rows), 1),
        log_sum_(Element::fp32, static_cast<std::size_t>(s.shape.rows), 1) {
    logits_.fill(s.seed, s.stream, 2.0F);
    const auto rows = static_cast<std::size_t>(s.shape.rows);
    for (std::size_t row = 0; row < rows; ++row) {
      host_labels_.push_back(
          static_cast<std::int64_t>((row * 7919 + s.seed) % static_cast<std::size_t>(s.shape.columns)));
    }
    cuda_check(cudaMemcpyAsync(labels_.as<void>(0), host_labels_.data(), rows * sizeof(std::int64_t),
                               cudaMemcpyHostToDevice, s.stream));
    loss_.fill(s.seed + 1000, s.stream);  // backward: the loss's gradient
    // Of normal logits with deviation 2 the sum of exponentials is about columns * e^2.
    const std::vector<float> log_sums(
        rows, static_cast<float>(std::log(static_cast<double>(s.shape.columns)) + 2.0));
    cuda_check(cudaMemcpyAsync(log_sum_.as<void>(0), log_sums.data(), rows * sizeof(float),
                               cudaMemcpyHostToDevice, s.stream));
    cuda_check(cudaStreamSynchronize(s.stream));
  }
  void launch(cudaStream_t stream, int slot) override {
    const auto columns = static_cast<int>(shape_.columns);
    const auto rows = static_cast<unsigned>(shape_.rows);
    if constexpr (kBackward) {
      const dim3 grid(blocks_for(static_cast<std::size_t>(columns / kPack),
                                 static_cast<std::size_t>(kStreamThreads) * kLossUnroll),
                      rows);
      cross_entropy_backward_kernel<<<grid, kStreamThreads, 0, stream>>>(
          logits_.as<bf16>(slot), labels_.as<std::int64_t>(0), log_sum_.as<float>(0), loss_.as<float>(0),
          gradient_.as<bf16>(slot), columns);
    } else {
      cross_entropy_forward_kernel<<<rows, kLossThreads, 0, stream>>>(
          logits_.as<bf16>(slot), labels_.as<std::int64_t>(0), loss_.as<float>(0), log_sum_.as<float>(0),
          columns);
    }
    launch_check();
  }
  void check(cudaStream_t stream) override {
    const std::vector<double> logits = logits_.host(), given = loss_.host(), given_sum = log_sum_.host();
    launch(stream, 0);
    const auto columns = static_cast<std::size_t>(shape_.columns);
    std::vector<double> loss, log_sum, gradient(kBackward ? logits.size() : 0);
    for (std::size_t row = 0; row < host_labels_.size(); ++row) {
      const double* in = logits.data() + row * columns;
      const auto label = static_cast<std::size_t>(host_labels_[row]);
      double sum = 0.0;
      for (std::size_t c = 0; c < columns; ++c) {
        sum += std::exp(in[c]);
        if (kBackward) {
          gradient[row * columns + c] =
              (std::exp(in[c] - given_sum[row]) - (c == label ? 1.0 : 0.0)) * given[row];
        }
      }
      log_sum.push_back(std::log(sum));
      loss.push_back(std::log(sum) - in[label]);
    }
    if (kBackward) {
      require_close("cross_entropy backward", gradient_.host(), gradient, bf16_tolerance());
      return;
    }
    // fp32 sums of up to 152k exponentials with a relative error of 2^-21 each (__expf near its argument's
    // bound).
    require_close("cross_entropy's log of the sum", log_sum_.host(), log_sum, {1e-4, 1e-5});
    require_close("cross_entropy's loss", loss_.host(), loss, {1e-4, 1e-5});
  }

 private:
  OperatorShape shape_;
  SlotArray logits_, gradient_, labels_, loss_, log_sum_;
  std::vector<std::int64_t> host_labels_;
};

}  // namespace

std::vector<OperatorEntry> row_operators() {
  return {
      operator_entry<SoftmaxOperation<false>>("softmax", false),
      operator_entry<SoftmaxOperation<true>>("softmax", true),
      operator_entry<CrossEntropyOperation<false>>("cross_entropy", false),
      operator_entry<CrossEntropyOperation<true>>("cross_entropy", true),
  };
}

}  // namespace orrery::kernels
