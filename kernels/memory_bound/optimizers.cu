// Optimizer steps over many tensors in one launch, and the norm of the gradients.

#include <algorithm>
#include <cmath>

#include "kernels/memory_bound/operation.cuh"
#include "kernels/memory_bound/primitives.cuh"

namespace orrery::kernels {

namespace {

/// Where one parameter tensor's arrays lie: fp32 gradient, master weight and states, bf16 weight of the
/// model.
struct TensorArrays {
  const float* gradient;
  float* master;
  float* first;   ///< momentum, first moment, or sum of squares (adagrad)
  float* second;  ///< second moment
  float* update;  ///< lamb's update before its trust ratio
  bf16* weight;
  std::int64_t count;
};

/// A block's share of one tensor.
struct Chunk {
  std::int32_t tensor;
  std::int32_t number;
};

constexpr int kWide = 4;               // fp32 elements of one 16-byte access
constexpr int kChunkElements = 16384;  // 64 kB of each fp32 array a block

constexpr float kRate = 1e-3F, kDecay = 0.01F, kBeta1 = 0.9F, kBeta2 = 0.95F, kStable = 1e-8F,
                kMomentum = 0.9F;
constexpr float kCorrection1 = 1.0F - kBeta1,
                kCorrection2 = 1.0F - kBeta2;  // bias corrections of the first step

__device__ __forceinline__ void store_weight(bf16* weight, std::int64_t i, const float (&w)[kWide]) {
  reinterpret_cast<uint2*>(weight)[i] = make_uint2(pack_two(w[0], w[1]), pack_two(w[2], w[3]));
}

enum class Rule { sgd, momentum, adagrad, adam, adamw };

template <Rule kRule>
constexpr bool kHasFirst = kRule != Rule::sgd;
template <Rule kRule>
constexpr bool kHasSecond = kRule == Rule::adam || kRule == Rule::adamw;

/// One parameter's step; the states are updated in place.
///   sgd       w -= rate g                                        momentum  m = mu m + g, w -= rate m
///   adagrad   s += g^2, w -= rate g / (sqrt(s) + eps)
///   adam(w)   m, v: moving averages of g and g^2, w -= rate m' / (sqrt(v') + eps) with bias-corrected m',
///   v';
///             adam adds decay w to g before, adamw decay w to the step (Loshchilov and Hutter 2019)
template <Rule kRule, typename T>
__host__ __device__ __forceinline__ T stepped(T w, T g, T& m, T& v) {
  const T rate = static_cast<T>(kRate);
  if constexpr (kRule == Rule::sgd) {
    return w - rate * g;
  } else if constexpr (kRule == Rule::momentum) {
    m = static_cast<T>(kMomentum) * m + g;
    return w - rate * m;
  } else if constexpr (kRule == Rule::adagrad) {
    m += g * g;
    return w - rate * g / (sqrt(m) + static_cast<T>(kStable));
  } else {
    if constexpr (kRule == Rule::adam) g += static_cast<T>(kDecay) * w;
    m = static_cast<T>(kBeta1) * m + (static_cast<T>(1) - static_cast<T>(kBeta1)) * g;
    v = static_cast<T>(kBeta2) * v + (static_cast<T>(1) - static_cast<T>(kBeta2)) * g * g;
    T step = (m / static_cast<T>(kCorrection1)) /
             (sqrt(v / static_cast<T>(kCorrection2)) + static_cast<T>(kStable));
    if constexpr (kRule == Rule::adamw) step += static_cast<T>(kDecay) * w;
    return w - rate * step;
  }
}

constexpr int kStepUnroll = 2;

/// A step of all tensors: each block works on one chunk, two 16-byte groups of every array a thread in
/// flight. A parameter: gradient 4 bytes read, master 8 read and written, each fp32 state 8, bf16 weight 2
/// written: 14 (sgd), 22 (momentum, adagrad), 30 (adam, adamw); 2 to 14 flops.
template <Rule kRule>
__global__ void __launch_bounds__(kStreamThreads)
    step_kernel(const TensorArrays* __restrict__ tensors, const Chunk* __restrict__ chunks) {
  const Chunk chunk = chunks[blockIdx.x];
  const TensorArrays t = tensors[chunk.tensor];
  const std::int64_t begin = static_cast<std::int64_t>(chunk.number) * (kChunkElements / kWide);
  const std::int64_t end = min(begin + kChunkElements / kWide, t.count / kWide);
  for (std::int64_t base = begin + threadIdx.x; base < end; base += kStreamThreads * kStepUnroll) {
    float4 g[kStepUnroll], w[kStepUnroll], m[kStepUnroll], v[kStepUnroll];
#pragma unroll
    for (int u = 0; u < kStepUnroll; ++u) {
      const std::int64_t i = base + u * kStreamThreads;
      if (i >= end) continue;
      g[u] = reinterpret_cast<const float4*>(t.gradient)[i];
      w[u] = reinterpret_cast<const float4*>(t.master)[i];
      if constexpr (kHasFirst<kRule>) m[u] = reinterpret_cast<const float4*>(t.first)[i];
      if constexpr (kHasSecond<kRule>) v[u] = reinterpret_cast<const float4*>(t.second)[i];
    }
#pragma unroll
    for (int u = 0; u < kStepUnroll; ++u) {
      const std::int64_t i = base + u * kStreamThreads;
      if (i >= end) continue;
      float weights[kWide];
      weights[0] = stepped<kRule>(w[u].x, g[u].x, m[u].x, v[u].x);
      weights[1] = stepped<kRule>(w[u].y, g[u].y, m[u].y, v[u].y);
      weights[2] = stepped<kRule>(w[u].z, g[u].z, m[u].z, v[u].z);
      weights[3] = stepped<kRule>(w[u].w, g[u].w, m[u].w, v[u].w);
      reinterpret_cast<float4*>(t.master)[i] = make_float4(weights[0], weights[1], weights[2], weights[3]);
      if constexpr (kHasFirst<kRule>) reinterpret_cast<float4*>(t.first)[i] = m[u];
      if constexpr (kHasSecond<kRule>) reinterpret_cast<float4*>(t.second)[i] = v[u];
      store_weight(t.weight, i, weights);
    }
  }
}

/// Lamb's first pass: moments and the update before its trust ratio, and for each tensor the sums of squares
/// of weight and update. A parameter: gradient, master and states 16 bytes read, states and update 12
/// written; about 18 flops.
__global__ void __launch_bounds__(kStreamThreads)
    lamb_update_kernel(const TensorArrays* __restrict__ tensors, const Chunk* __restrict__ chunks,
                       float* __restrict__ squares) {
  __shared__ float shared[2 * 32];
  const Chunk chunk = chunks[blockIdx.x];
  const TensorArrays t = tensors[chunk.tensor];
  const std::int64_t begin = static_cast<std::int64_t>(chunk.number) * (kChunkElements / kWide);
  const std::int64_t end = min(begin + kChunkElements / kWide, t.count / kWide);
  float sums[2] = {0.0F, 0.0F};
#pragma unroll 2
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kStreamThreads) {
    const float4 g = reinterpret_cast<const float4*>(t.gradient)[i];
    const float4 w = reinterpret_cast<const float4*>(t.master)[i];
    float4 m = reinterpret_cast<const float4*>(t.first)[i];
    float4 v = reinterpret_cast<const float4*>(t.second)[i];
    const auto update_of = [](float weight, float slope, float& first, float& second) {
      first = kBeta1 * first + (1.0F - kBeta1) * slope;
      second = kBeta2 * second + (1.0F - kBeta2) * slope * slope;
      return (first / kCorrection1) / (sqrtf(second / kCorrection2) + kStable) + kDecay * weight;
    };
    const float4 u = make_float4(update_of(w.x, g.x, m.x, v.x), update_of(w.y, g.y, m.y, v.y),
                                 update_of(w.z, g.z, m.z, v.z), update_of(w.w, g.w, m.w, v.w));
    reinterpret_cast<float4*>(t.first)[i] = m;
    reinterpret_cast<float4*>(t.second)[i] = v;
    reinterpret_cast<float4*>(t.update)[i] = u;
    sums[0] += w.x * w.x + w.y * w.y + w.z * w.z + w.w * w.w;
    sums[1] += u.x * u.x + u.y * u.y + u.z * u.z + u.w * u.w;
  }
  block_reduce<Add, 2>(sums, shared);
  if (threadIdx.x < 2) atomicAdd(squares + 2 * chunk.tensor + threadIdx.x, sums[threadIdx.x]);
}

/// Lamb's second pass: w -= rate |w| / |update| update. A parameter: update and master 8 bytes read, master
/// and bf16 weight 6 written; 2 flops. (You et al. 2020, algorithm 2, with the identity as phi.)
__global__ void __launch_bounds__(kStreamThreads)
    lamb_apply_kernel(const TensorArrays* __restrict__ tensors, const Chunk* __restrict__ chunks,
                      const float* __restrict__ squares) {
  const Chunk chunk = chunks[blockIdx.x];
  const TensorArrays t = tensors[chunk.tensor];
  const float weight_norm = sqrtf(squares[2 * chunk.tensor]),
              update_norm = sqrtf(squares[2 * chunk.tensor + 1]);
  const float rate = weight_norm > 0.0F && update_norm > 0.0F ? kRate * weight_norm / update_norm : kRate;
  const std::int64_t begin = static_cast<std::int64_t>(chunk.number) * (kChunkElements / kWide);
  const std::int64_t end = min(begin + kChunkElements / kWide, t.count / kWide);
#pragma unroll 4
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kStreamThreads) {
    const float4 u = reinterpret_cast<const float4*>(t.update)[i];
    const float4 w = reinterpret_cast<const float4*>(t.master)[i];
    const float weights[kWide] = {w.x - rate * u.x, w.y - rate * u.y, w.z - rate * u.z, w.w - rate * u.w};
    reinterpret_cast<float4*>(t.master)[i] = make_float4(weights[0], weights[1], weights[2], weights[3]);
    store_weight(t.weight, i, weights);
  }
}

/// Sum of squares of bf16 gradients, a partial sum a block. An element: 2 bytes read, 2 flops.
__global__ void __launch_bounds__(kStreamThreads)
    square_sum_kernel(const bf16* __restrict__ x, float* __restrict__ partial, std::size_t count) {
  __shared__ float shared[32];
  constexpr int kUnroll = 8;
  float sum[1] = {0.0F};
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * kStreamThreads;
  for (std::size_t base = static_cast<std::size_t>(blockIdx.x) * kStreamThreads + threadIdx.x; base < count;
       base += stride * kUnroll) {
    uint4 bits[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const std::size_t i = base + static_cast<std::size_t>(u) * stride;
      bits[u] = i < count ? packs(x)[i] : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      float values[kPack];
      unpack(bits[u], values);
#pragma unroll
      for (float value : values) sum[0] += value * value;
    }
  }
  block_reduce<Add>(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum[0];
}

/// The root of the sum of the partial sums: one block.
__global__ void root_of_sum_kernel(const float* __restrict__ partial, int count, float* __restrict__ norm) {
  __shared__ float shared[32];
  float sum[1] = {0.0F};
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x))
    sum[0] += partial[i];
  block_reduce<Add>(sum, shared);
  if (threadIdx.x == 0) *norm = sqrtf(sum[0]);
}

/// The tensors of a model: `rows` of them with `columns` parameters each, in `slots` copies.
class ParameterSet {
 public:
  ParameterSet(const OperationSetup& s, int states, bool update)
      : shape_(s.shape),
        gradient_(Element::fp32, s.elements(), s.slots),
        master_(Element::fp32, s.elements(), s.slots),
        first_(Element::fp32, states > 0 ? s.elements() : kWide, s.slots),
        second_(Element::fp32, states > 1 ? s.elements() : kWide, s.slots),
        update_(Element::fp32, update ? s.elements() : kWide, s.slots),
        weight_(Element::bf16, s.elements(), s.slots),
        tensors_(sizeof(TensorArrays) * static_cast<std::size_t>(s.slots) *
                 static_cast<std::size_t>(s.shape.rows)) {
    gradient_.fill(s.seed, s.stream);
    master_.fill(s.seed + 1000, s.stream);
    first_.fill(s.seed + 2000, s.stream, 0.0F);  // as a run's first step has them
    second_.fill(s.seed + 3000, s.stream, 0.0F);
    std::vector<TensorArrays> tensors;
    for (int slot = 0; slot < s.slots; ++slot) {
      for (std::int64_t row = 0; row < s.shape.rows; ++row) {
        const std::int64_t at = row * s.shape.columns;
        tensors.push_back(
            {gradient_.as<float>(slot) + at, master_.as<float>(slot) + at,
             first_.as<float>(slot) + (states > 0 ? at : 0), second_.as<float>(slot) + (states > 1 ? at : 0),
             update_.as<float>(slot) + (update ? at : 0), weight_.as<bf16>(slot) + at, s.shape.columns});
      }
    }
    std::vector<Chunk> chunks;
    for (std::int64_t row = 0; row < s.shape.rows; ++row) {
      for (std::int64_t c = 0; c * kChunkElements < s.shape.columns; ++c) {
        chunks.push_back({static_cast<std::int32_t>(row), static_cast<std::int32_t>(c)});
      }
    }
    blocks_ = static_cast<unsigned>(chunks.size());
    chunks_ = DeviceBuffer(chunks.size() * sizeof(Chunk));
    cuda_check(cudaStreamSynchronize(s.stream));
    cuda_check(cudaMemcpy(tensors_.data(), tensors.data(), tensors_.bytes(), cudaMemcpyHostToDevice));
    cuda_check(cudaMemcpy(chunks_.data(), chunks.data(), chunks_.bytes(), cudaMemcpyHostToDevice));
    settle();
  }
  const TensorArrays* tensors(int slot) const {
    return tensors_.as<TensorArrays>() + static_cast<std::int64_t>(slot) * shape_.rows;
  }
  const Chunk* chunks() const { return chunks_.as<Chunk>(); }
  unsigned blocks() const { return blocks_; }
  const SlotArray& gradient() const { return gradient_; }
  const SlotArray& master() const { return master_; }
  const SlotArray& first() const { return first_; }
  const SlotArray& second() const { return second_; }
  const SlotArray& weight() const { return weight_; }

 private:
  OperatorShape shape_;
  SlotArray gradient_, master_, first_, second_, update_, weight_;
  DeviceBuffer tensors_, chunks_;
  unsigned blocks_ = 0;
};

constexpr Tolerance kStepTolerance = {1e-6, 1e-5};  // a few roundings of fp32

template <Rule kRule>
class StepOperation : public Operation {
 public:
  explicit StepOperation(const OperationSetup& s)
      : set_(s, kHasSecond<kRule> ? 2 : (kHasFirst<kRule> ? 1 : 0), false) {}
  void launch(cudaStream_t stream, int slot) override {
    step_kernel<kRule><<<set_.blocks(), kStreamThreads, 0, stream>>>(set_.tensors(slot), set_.chunks());
    launch_check();
  }
  void check(cudaStream_t stream) override {
    // Two steps, so that the states of the second are not zero.
    const std::vector<double> g = set_.gradient().host();
    std::vector<double> w = set_.master().host(), m(w.size(), 0.0), v(w.size(), 0.0);
    for (int step = 0; step < 2; ++step) {
      launch(stream, 0);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] = stepped<kRule, double>(w[i], g[i], m[i], v[i]);
    }
    require_close("optimizer's master weights", set_.master().host(), w, kStepTolerance);
    require_close("optimizer's bf16 weights", set_.weight().host(), w, bf16_tolerance());
    if (kHasFirst<kRule>) require_close("optimizer's first state", set_.first().host(), m, kStepTolerance);
    if (kHasSecond<kRule>) require_close("optimizer's second state", set_.second().host(), v, kStepTolerance);
  }

 private:
  ParameterSet set_;
};

class LambOperation : public Operation {
 public:
  explicit LambOperation(const OperationSetup& s)
      : shape_(s.shape),
        set_(s, 2, true),
        squares_(Element::fp32, 2 * static_cast<std::size_t>(s.shape.rows), 1) {}
  int launches() const override { return 2; }
  void launch(cudaStream_t stream, int slot) override {
    squares_.zero(stream);
    lamb_update_kernel<<<set_.blocks(), kStreamThreads, 0, stream>>>(set_.tensors(slot), set_.chunks(),
                                                                     squares_.as<float>(0));
    launch_check();
    lamb_apply_kernel<<<set_.blocks(), kStreamThreads, 0, stream>>>(set_.tensors(slot), set_.chunks(),
                                                                    squares_.as<float>(0));
    launch_check();
  }
  void check(cudaStream_t stream) override {
    const std::vector<double> g = set_.gradient().host();
    std::vector<double> w = set_.master().host();
    launch(stream, 0);
    const auto columns = static_cast<std::size_t>(shape_.columns);
    for (std::size_t first = 0; first < w.size(); first += columns) {
      double weights = 0.0, updates = 0.0;
      std::vector<double> update(columns);
      for (std::size_t c = 0; c < columns; ++c) {
        // From zero states the bias-corrected moments of the first step are g and g^2.
        const double slope = g[first + c];
        update[c] = slope / (std::abs(slope) + static_cast<double>(kStable)) +
                    static_cast<double>(kDecay) * w[first + c];
        weights += w[first + c] * w[first + c];
        updates += update[c] * update[c];
      }
      const double rate = static_cast<double>(kRate) * std::sqrt(weights / updates);
      for (std::size_t c = 0; c < columns; ++c) w[first + c] -= rate * update[c];
    }
    require_close("lamb's master weights", set_.master().host(), w, {1e-5, 1e-5});
    require_close("lamb's bf16 weights", set_.weight().host(), w, bf16_tolerance());
  }

 private:
  OperatorShape shape_;
  ParameterSet set_;
  SlotArray squares_;
};

class GradientNormOperation : public Operation {
 public:
  explicit GradientNormOperation(const OperationSetup& s)
      : x_(Element::bf16, s.elements(), s.slots),
        blocks_(
            std::min(blocks_for(s.elements() / kPack, kStreamThreads), static_cast<unsigned>(s.sms) * 8U)),
        partial_(Element::fp32, blocks_, 1),
        norm_(Element::fp32, 1, 1) {
    x_.fill(s.seed, s.stream);
  }
  int launches() const override { return 2; }
  void launch(cudaStream_t stream, int slot) override {
    square_sum_kernel<<<blocks_, kStreamThreads, 0, stream>>>(x_.as<bf16>(slot), partial_.as<float>(0),
                                                              x_.count() / kPack);
    launch_check();
    root_of_sum_kernel<<<1, 1024, 0, stream>>>(partial_.as<float>(0), static_cast<int>(blocks_),
                                               norm_.as<float>(0));
    launch_check();
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    double sum = 0.0;
    for (const double value : x_.host()) sum += value * value;
    require_close("gradient_norm", norm_.host(), {std::sqrt(sum)}, {0.0, 1e-5});
  }

 private:
  SlotArray x_;
  unsigned blocks_;
  SlotArray partial_, norm_;
};

}  // namespace

std::vector<OperatorEntry> optimizer_operators() {
  return {
      operator_entry<StepOperation<Rule::sgd>>("sgd", false),
      operator_entry<StepOperation<Rule::momentum>>("momentum", false),
      operator_entry<StepOperation<Rule::adagrad>>("adagrad", false),
      operator_entry<StepOperation<Rule::adam>>("adam", false),
      operator_entry<StepOperation<Rule::adamw>>("adamw", false),
      operator_entry<LambOperation>("lamb", false),
      operator_entry<GradientNormOperation>("gradient_norm", false),
  };
}

}  // namespace orrery::kernels
