#include "kernels/attention/reference.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>

namespace orrery::kernels {

namespace {

constexpr int kThreads = 128;

struct Strides {
  std::int64_t batch, head, position;
};

/// What every kernel here needs to know of the call.
struct Call {
  std::int64_t batch, seq_length, heads, kv_heads, head_dim, value_dim, window;
  bool causal;
  float scale;
  Strides q, k, v, o;
};

__device__ std::int64_t at(const Strides& s, std::int64_t batch, std::int64_t head, std::int64_t position) {
  return batch * s.batch + head * s.head + position * s.position;
}

__device__ bool in_sight(const Call& c, std::int64_t row, std::int64_t column) {
  return !(c.causal && column > row) && (c.window == 0 || column + c.window > row);
}

__device__ float value_of(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ float value_of(__half x) { return __half2float(x); }

template <typename A, typename B>
__device__ float dot(const A* a, const B* b, std::int64_t count) {
  float sum = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) sum += value_of(a[i]) * value_of(b[i]);
  return sum;
}

/// Sum over the block's threads; every thread gets it.
__device__ float block_total(float value, float* shared) {
  __syncthreads();
  shared[threadIdx.x] = value;
  __syncthreads();
  float sum = 0.0F;
  for (int i = 0; i < kThreads; ++i) sum += shared[i];
  return sum;
}

/// O and the statistics of query row (position x, head y, batch z).
template <typename T>
__global__ void forward_kernel(Call c, const T* q, const T* k, const T* v, float* o, float* statistics) {
  extern __shared__ float scores[];  // seq_length of them, then one a thread
  float* shared = scores + c.seq_length;
  const std::int64_t row = blockIdx.x, head = blockIdx.y, batch = blockIdx.z;
  const std::int64_t kv_head = head / (c.heads / c.kv_heads);
  for (std::int64_t j = threadIdx.x; j < c.seq_length; j += kThreads) {
    scores[j] = in_sight(c, row, j)
                    ? c.scale * dot(q + at(c.q, batch, head, row), k + at(c.k, batch, kv_head, j), c.head_dim)
                    : -INFINITY;
  }
  __syncthreads();
  float largest = -INFINITY;
  for (std::int64_t j = 0; j < c.seq_length; ++j) largest = fmaxf(largest, scores[j]);
  float sum = 0.0F;
  for (std::int64_t j = threadIdx.x; j < c.seq_length; j += kThreads) sum += expf(scores[j] - largest);
  sum = block_total(sum, shared);
  const float logarithm = largest + logf(sum);
  if (threadIdx.x == 0) statistics[(batch * c.heads + head) * c.seq_length + row] = logarithm;
  for (std::int64_t d = threadIdx.x; d < c.value_dim; d += kThreads) {
    float out = 0.0F;
    for (std::int64_t j = 0; j < c.seq_length; ++j) {
      if (in_sight(c, row, j))
        out += expf(scores[j] - logarithm) * value_of(v[at(c.v, batch, kv_head, j) + d]);
    }
    o[at(c.o, batch, head, row) + d] = out;
  }
}

/// dQ of one query row, and the row's sum of dO * O.
template <typename T>
__global__ void q_gradient_kernel(Call c, const T* q, const T* k, const T* v, const T* output_gradient,
                                  const float* o, const float* statistics, float* row_sums,
                                  float* q_gradient) {
  extern __shared__ float slopes[];
  float* shared = slopes + c.seq_length;
  const std::int64_t row = blockIdx.x, head = blockIdx.y, batch = blockIdx.z;
  const std::int64_t kv_head = head / (c.heads / c.kv_heads);
  const std::int64_t out = at(c.o, batch, head, row);
  float partial = 0.0F;
  for (std::int64_t d = threadIdx.x; d < c.value_dim; d += kThreads) {
    partial += value_of(output_gradient[out + d]) * o[out + d];
  }
  const float row_sum = block_total(partial, shared);
  const std::int64_t statistic = (batch * c.heads + head) * c.seq_length + row;
  if (threadIdx.x == 0) row_sums[statistic] = row_sum;
  for (std::int64_t j = threadIdx.x; j < c.seq_length; j += kThreads) {
    slopes[j] = 0.0F;
    if (!in_sight(c, row, j)) continue;
    const float score =
        c.scale * dot(q + at(c.q, batch, head, row), k + at(c.k, batch, kv_head, j), c.head_dim);
    const float slope = dot(output_gradient + out, v + at(c.v, batch, kv_head, j), c.value_dim);
    slopes[j] = c.scale * expf(score - statistics[statistic]) * (slope - row_sum);
  }
  __syncthreads();
  for (std::int64_t d = threadIdx.x; d < c.head_dim; d += kThreads) {
    float sum = 0.0F;
    for (std::int64_t j = 0; j < c.seq_length; ++j)
      sum += slopes[j] * value_of(k[at(c.k, batch, kv_head, j) + d]);
    q_gradient[at(c.q, batch, head, row) + d] = sum;
  }
}

/// dK and dV of one key row of one key head: over all queries of all query heads of its group.
template <typename T>
__global__ void kv_gradient_kernel(Call c, const T* q, const T* k, const T* v, const T* output_gradient,
                                   const float* statistics, const float* row_sums, float* k_gradient,
                                   float* v_gradient) {
  extern __shared__ float weights[];  // probability and slope of each query of the head at hand
  float* slopes = weights + c.seq_length;
  const std::int64_t column = blockIdx.x, kv_head = blockIdx.y, batch = blockIdx.z;
  const std::int64_t group = c.heads / c.kv_heads;
  for (std::int64_t d = threadIdx.x; d < c.head_dim; d += kThreads)
    k_gradient[at(c.k, batch, kv_head, column) + d] = 0.0F;
  for (std::int64_t d = threadIdx.x; d < c.value_dim; d += kThreads)
    v_gradient[at(c.v, batch, kv_head, column) + d] = 0.0F;
  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < c.seq_length; i += kThreads) {
      weights[i] = slopes[i] = 0.0F;
      if (!in_sight(c, i, column)) continue;
      const std::int64_t statistic = (batch * c.heads + head) * c.seq_length + i;
      const float score =
          c.scale * dot(q + at(c.q, batch, head, i), k + at(c.k, batch, kv_head, column), c.head_dim);
      const float slope =
          dot(output_gradient + at(c.o, batch, head, i), v + at(c.v, batch, kv_head, column), c.value_dim);
      weights[i] = expf(score - statistics[statistic]);
      slopes[i] = c.scale * weights[i] * (slope - row_sums[statistic]);
    }
    __syncthreads();
    for (std::int64_t d = threadIdx.x; d < c.head_dim; d += kThreads) {
      float sum = 0.0F;
      for (std::int64_t i = 0; i < c.seq_length; ++i)
        sum += slopes[i] * value_of(q[at(c.q, batch, head, i) + d]);
      k_gradient[at(c.k, batch, kv_head, column) + d] += sum;
    }
    for (std::int64_t d = threadIdx.x; d < c.value_dim; d += kThreads) {
      float sum = 0.0F;
      for (std::int64_t i = 0; i < c.seq_length; ++i) {
        sum += weights[i] * value_of(output_gradient[at(c.o, batch, head, i) + d]);
      }
      v_gradient[at(c.v, batch, kv_head, column) + d] += sum;
    }
  }
}

Strides strides_of(AttentionLayout layout, const AttentionCase& shape, std::int64_t heads,
                   std::int64_t width) {
  const auto s = attention_strides(layout, shape.batch, heads, shape.seq_length, width);
  return {s[0], s[1], s[2]};
}

template <typename T>
void run(const AttentionCase& shape, AttentionLayout layout, const AttentionOperands& operands,
         const AttentionReference& reference, cudaStream_t stream) {
  Call c{shape.batch,
         shape.seq_length,
         shape.heads,
         shape.kv_heads,
         shape.head_dim,
         shape.value_dim,
         shape.window,
         shape.causal,
         1.0F / std::sqrt(static_cast<float>(shape.head_dim)),
         strides_of(layout, shape, shape.heads, shape.head_dim),
         strides_of(layout, shape, shape.kv_heads, shape.head_dim),
         strides_of(layout, shape, shape.kv_heads, shape.value_dim),
         strides_of(layout, shape, shape.heads, shape.value_dim)};
  const auto* q = static_cast<const T*>(operands.q);
  const auto* k = static_cast<const T*>(operands.k);
  const auto* v = static_cast<const T*>(operands.v);
  const dim3 rows(static_cast<unsigned>(shape.seq_length), static_cast<unsigned>(shape.heads),
                  static_cast<unsigned>(shape.batch));
  const auto shared = static_cast<std::size_t>(shape.seq_length + kThreads) * sizeof(float);
  forward_kernel<T><<<rows, kThreads, shared, stream>>>(c, q, k, v, reference.o.as<float>(),
                                                        reference.statistics.as<float>());
  launch_check();
  if (!shape.backward) return;
  const auto* gradient = static_cast<const T*>(operands.output_gradient);
  const DeviceBuffer row_sums(reference.statistics.bytes());
  q_gradient_kernel<T><<<rows, kThreads, shared, stream>>>(
      c, q, k, v, gradient, reference.o.as<float>(), reference.statistics.as<float>(), row_sums.as<float>(),
      reference.q_gradient.as<float>());
  launch_check();
  const dim3 columns(rows.x, static_cast<unsigned>(shape.kv_heads), rows.z);
  kv_gradient_kernel<T>
      <<<columns, kThreads, 2 * static_cast<std::size_t>(shape.seq_length) * sizeof(float), stream>>>(
          c, q, k, v, gradient, reference.statistics.as<float>(), row_sums.as<float>(),
          reference.k_gradient.as<float>(), reference.v_gradient.as<float>());
  launch_check();
  cuda_check(cudaStreamSynchronize(stream));  // row_sums goes
}

}  // namespace

AttentionReference::AttentionReference(const AttentionCase& shape) {
  const AttentionSizes n = attention_sizes(shape);
  const auto floats = [](std::int64_t count) {
    return DeviceBuffer(static_cast<std::size_t>(count) * sizeof(float));
  };
  o = floats(n.o);
  statistics = floats(n.rows);
  if (!shape.backward) return;
  q_gradient = floats(n.q);
  k_gradient = floats(n.k);
  v_gradient = floats(n.v);
}

void run_attention_reference(const AttentionCase& shape, AttentionLayout layout,
                             const AttentionOperands& operands, const AttentionReference& reference,
                             cudaStream_t stream) {
  if (shape.element == Element::bf16) {
    run<__nv_bfloat16>(shape, layout, operands, reference, stream);
  } else {
    run<__half>(shape, layout, operands, reference, stream);
  }
}

}  // namespace orrery::kernels
