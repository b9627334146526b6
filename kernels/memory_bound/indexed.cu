// Rows picked, added or moved by an index: embeddings, and tokens on their way to experts and back.

#include <algorithm>
#include <cmath>

#include "kernels/harness/random.hpp"
#include "kernels/memory_bound/operation.cuh"
#include "kernels/memory_bound/primitives.cuh"

namespace orrery::kernels {

namespace {

/// y[row] = table[index[row]]. A row: 2 x columns bytes of the table and an 8-byte index read, 2 x columns
/// written; no flop. As an element-wise kernel over packs, so that short rows do not leave threads idle.
struct Gather {
  using In = uint4;
  const bf16* table;
  const std::int64_t* index;
  bf16* y;
  std::uint32_t row_packs;
  __device__ In load(std::size_t i) const {
    const std::size_t row = i / row_packs;
    return packs(table)[static_cast<std::size_t>(__ldg(index + row)) * row_packs + (i - row * row_packs)];
  }
  __device__ void finish(std::size_t i, const In& v) const { packs(y)[i] = v; }
};

/// Adds 8 bf16 to memory, each element atomically.
__device__ __forceinline__ void atomic_add_pack(uint4* place, const uint4& bits) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.noftz.v4.bf16x2 [%0], {%1, %2, %3, %4};" ::"l"(place), "r"(bits.x),
               "r"(bits.y), "r"(bits.z), "r"(bits.w)
               : "memory");
#else
  auto* pairs = reinterpret_cast<__nv_bfloat162*>(place);
  __nv_bfloat162 values[4];
  memcpy(values, &bits, sizeof values);
#pragma unroll
  for (int k = 0; k < 4; ++k) atomicAdd(pairs + k, values[k]);
#endif
}

/// gradient[index[row]] += dy[row], bf16, in the L2's atomic units. A row: 2 x columns bytes of dy and an
/// 8-byte index read, the table's row read and written; 1 flop an element.
struct ScatterAdd {
  using In = uint4;
  const bf16* dy;
  const std::int64_t* index;
  bf16* gradient;
  std::uint32_t row_packs;
  __device__ In load(std::size_t i) const { return packs(dy)[i]; }
  __device__ void finish(std::size_t i, const In& v) const {
    const std::size_t row = i / row_packs;
    atomic_add_pack(
        packs(gradient) + static_cast<std::size_t>(__ldg(index + row)) * row_packs + (i - row * row_packs),
        v);
  }
};

/// out[place[token * copies + c]] = x[token]: tokens sorted by expert. A token: 2 x columns bytes read once,
/// copies x (2 x columns written, 4 of index read).
struct Permute {
  using In = uint4;
  const bf16* x;
  const std::int32_t* place;
  bf16* out;
  std::uint32_t row_packs;
  int copies;
  __device__ In load(std::size_t i) const { return packs(x)[i]; }
  __device__ void finish(std::size_t i, const In& v) const {
    const std::size_t row = i / row_packs;
    const std::size_t column = i - row * row_packs;
    for (int c = 0; c < copies; ++c) {
      const auto to = static_cast<std::size_t>(
          __ldg(place + row * static_cast<std::size_t>(copies) + static_cast<std::size_t>(c)));
      packs(out)[to * row_packs + column] = v;
    }
  }
};

/// y[token] = sum over c of weight[token, c] x[place[token * copies + c]] (permute's backward: weights of 1).
/// A token: copies x (2 x columns bytes and 4 of index read, 4 of weight), 2 x columns written; 2 flops a
/// copied element (1 without weights). The copies' loads are issued together, up to 8 at a time.
template <bool kWeighted>
struct Combine {
  struct In {};
  const bf16* x;
  const std::int32_t* place;
  const float* weight;
  bf16* y;
  std::uint32_t row_packs;
  int copies;
  __device__ In load(std::size_t) const { return {}; }
  __device__ void finish(std::size_t i, const In&) const {
    constexpr int kTogether = 8;
    const std::size_t row = i / row_packs;
    const std::size_t column = i - row * row_packs;
    float sum[kPack] = {};
    for (int base = 0; base < copies; base += kTogether) {
      uint4 bits[kTogether];
      float weights[kTogether];
#pragma unroll
      for (int u = 0; u < kTogether; ++u) {
        if (base + u >= copies) break;
        const std::size_t copy = row * static_cast<std::size_t>(copies) + static_cast<std::size_t>(base + u);
        bits[u] = packs(x)[static_cast<std::size_t>(__ldg(place + copy)) * row_packs + column];
        weights[u] = kWeighted ? __ldg(weight + copy) : 1.0F;
      }
#pragma unroll
      for (int u = 0; u < kTogether; ++u) {
        if (base + u >= copies) break;
        float values[kPack];
        unpack(bits[u], values);
#pragma unroll
        for (int k = 0; k < kPack; ++k) sum[k] += weights[u] * values[k];
      }
    }
    packs(y)[i] = pack(sum);
  }
};

constexpr int kMostPacks = 8;  // of a thread: rows of up to 16384 columns in 256 threads

/// Backward of the weighted combine: dx[place] = weight dy[token], dweight = dy[token] . x[place]. A block
/// works on a token, dy in registers. A token: 2 x columns bytes of dy read, copies x (2 x columns and 8 of
/// index and weight read, 2 x columns and 4 of dweight written); 3 flops a copied element.
template <int kPacks>
__global__ void __launch_bounds__(kStreamThreads)
    combine_backward_kernel(const bf16* __restrict__ dy, const bf16* __restrict__ x,
                            const std::int32_t* __restrict__ place, const float* __restrict__ weight,
                            bf16* __restrict__ dx, float* __restrict__ weight_gradient, int columns,
                            int copies) {
  __shared__ float shared[2][32];
  const int row_packs = columns / kPack;
  const std::size_t token = blockIdx.x;
  uint4 slope_bits[kPacks];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
    slope_bits[p] = make_uint4(0, 0, 0, 0);
    if (i < row_packs)
      slope_bits[p] = packs(dy)[token * static_cast<std::size_t>(row_packs) + static_cast<std::size_t>(i)];
  }
  for (int c = 0; c < copies; ++c) {
    const std::size_t copy = token * static_cast<std::size_t>(copies) + static_cast<std::size_t>(c);
    const std::size_t at = static_cast<std::size_t>(place[copy]) * static_cast<std::size_t>(row_packs);
    const float share = weight[copy];
    uint4 bits[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      bits[p] = make_uint4(0, 0, 0, 0);
      if (i < row_packs) bits[p] = packs(x)[at + static_cast<std::size_t>(i)];
    }
    float dot[1] = {0.0F};
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int i = p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
      float slope[kPack], values[kPack];
      unpack(slope_bits[p], slope);
      unpack(bits[p], values);
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        dot[0] += slope[k] * values[k];
        slope[k] *= share;
      }
      if (i < row_packs) packs(dx)[at + static_cast<std::size_t>(i)] = pack(slope);
    }
    block_reduce<Add>(dot, shared[c % 2]);
    if (threadIdx.x == 0) weight_gradient[copy] = dot[0];
  }
}

/// Rows of the embedding table: of Llama 3's vocabulary, or fewer where that many would not fit into 1 GiB;
/// the small shapes of the checks take a table that fits on the host in double precision.
std::int64_t table_rows(const OperatorShape& shape) {
  if (shape.rows < 1024) return 1000;
  return std::min<std::int64_t>(128256, (std::int64_t{1} << 30) / (2 * shape.columns));
}

/// 64-bit indices below `bound`, on the GPU and on the host.
class Indices {
 public:
  Indices(std::int64_t count, std::int64_t bound, std::uint64_t seed)
      : device_(static_cast<std::size_t>(count) * sizeof(std::int64_t)) {
    for (std::int64_t i = 0; i < count; ++i) {
      host_.push_back(integer_at(seed, static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(bound)));
    }
    cuda_check(cudaMemcpy(device_.data(), host_.data(), device_.bytes(), cudaMemcpyHostToDevice));
    settle();
  }
  const std::int64_t* device() const { return device_.as<std::int64_t>(); }
  const std::vector<std::int64_t>& host() const { return host_; }

 private:
  DeviceBuffer device_;
  std::vector<std::int64_t> host_;
};

/// The place of each of a token's copies in the list that is sorted by expert: experts drawn at random (64 of
/// them, no token twice to one), copies of one expert in the order of their tokens.
class ExpertPlaces {
 public:
  ExpertPlaces(std::int64_t tokens, std::int64_t copies, std::uint64_t seed)
      : device_(static_cast<std::size_t>(tokens * copies) * sizeof(std::int32_t)) {
    constexpr std::int64_t kExperts = 64;
    std::vector<std::int64_t> expert;
    std::vector<std::int64_t> begin(kExperts + 1, 0);
    for (std::int64_t token = 0; token < tokens; ++token) {
      const auto first =
          static_cast<std::int64_t>(integer_at(seed, static_cast<std::uint64_t>(token), kExperts));
      const std::int64_t step = kExperts / copies;  // spreads a token's copies over different experts
      for (std::int64_t c = 0; c < copies; ++c) {
        expert.push_back((first + c * step) % kExperts);
        ++begin[static_cast<std::size_t>(expert.back()) + 1];
      }
    }
    for (std::size_t e = 1; e < begin.size(); ++e) begin[e] += begin[e - 1];
    for (const std::int64_t e : expert)
      host_.push_back(static_cast<std::int32_t>(begin[static_cast<std::size_t>(e)]++));
    cuda_check(cudaMemcpy(device_.data(), host_.data(), device_.bytes(), cudaMemcpyHostToDevice));
    settle();
  }
  const std::int32_t* device() const { return device_.as<std::int32_t>(); }
  const std::vector<std::int32_t>& host() const { return host_; }

 private:
  DeviceBuffer device_;
  std::vector<std::int32_t> host_;
};

class EmbeddingOperation : public Operation {
 public:
  explicit EmbeddingOperation(const OperationSetup& s)
      : shape_(s.shape),
        table_(Element::bf16, static_cast<std::size_t>(table_rows(s.shape) * s.shape.columns), 1),
        y_(Element::bf16, s.elements(), s.slots),
        index_(s.shape.rows, table_rows(s.shape), s.seed) {
    table_.fill(s.seed, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<4>(Gather{table_.as<bf16>(0), index_.device(), y_.as<bf16>(slot),
                            static_cast<std::uint32_t>(shape_.columns / kPack)},
                     y_.count() / kPack, stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> table = table_.host();
    std::vector<double> expected;
    for (const std::int64_t row : index_.host()) {
      const auto first = table.begin() + row * shape_.columns;
      expected.insert(expected.end(), first, first + shape_.columns);
    }
    require_close("embedding", y_.host(), expected, {0.0, 0.0});
  }

 private:
  OperatorShape shape_;
  SlotArray table_, y_;
  Indices index_;
};

class EmbeddingGradientOperation : public Operation {
 public:
  explicit EmbeddingGradientOperation(const OperationSetup& s)
      : shape_(s.shape),
        gradient_(Element::bf16, static_cast<std::size_t>(table_rows(s.shape) * s.shape.columns), 1),
        dy_(Element::bf16, s.elements(), s.slots),
        index_(s.shape.rows, table_rows(s.shape), s.seed) {
    dy_.fill(s.seed, s.stream);
    gradient_.zero(s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<4>(ScatterAdd{dy_.as<bf16>(slot), index_.device(), gradient_.as<bf16>(0),
                                static_cast<std::uint32_t>(shape_.columns / kPack)},
                     dy_.count() / kPack, stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> dy = dy_.host();
    std::vector<double> expected(gradient_.count(), 0.0);
    const auto columns = static_cast<std::size_t>(shape_.columns);
    for (std::size_t i = 0; i < dy.size(); ++i) {
      expected[static_cast<std::size_t>(index_.host()[i / columns]) * columns + i % columns] += dy[i];
    }
    // Few rows of many: rarely more than four fall on one place, each addition rounded to bf16.
    require_close("embedding_gradient", gradient_.host(), expected, {0x1p-5, 2.0 * round_off(Element::bf16)});
  }

 private:
  OperatorShape shape_;
  SlotArray gradient_, dy_;
  Indices index_;
};

template <bool kBackward>
class PermuteOperation : public Operation {
 public:
  explicit PermuteOperation(const OperationSetup& s)
      : shape_(s.shape),
        tokens_(Element::bf16, s.elements(), s.slots),
        copies_(Element::bf16, s.elements() * static_cast<std::size_t>(s.shape.copies), s.slots),
        place_(s.shape.rows, s.shape.copies, s.seed) {
    tokens_.fill(s.seed, s.stream);
    copies_.fill(s.seed + 1000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    const auto row_packs = static_cast<std::uint32_t>(shape_.columns / kPack);
    const auto copies = static_cast<int>(shape_.copies);
    const std::size_t count = tokens_.count() / kPack;
    if constexpr (kBackward) {
      launch_stream<1>(Combine<false>{copies_.as<bf16>(slot), place_.device(), nullptr,
                                      tokens_.as<bf16>(slot), row_packs, copies},
                       count, stream);
    } else {
      launch_stream<2>(
          Permute{tokens_.as<bf16>(slot), place_.device(), copies_.as<bf16>(slot), row_packs, copies}, count,
          stream);
    }
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> tokens = tokens_.host(), copied = copies_.host();
    std::vector<double> expected(kBackward ? tokens.size() : copied.size(), 0.0);
    const auto columns = static_cast<std::size_t>(shape_.columns);
    const auto copies = static_cast<std::size_t>(shape_.copies);
    for (std::size_t copy = 0; copy < place_.host().size(); ++copy) {
      const std::size_t at = static_cast<std::size_t>(place_.host()[copy]) * columns;
      const std::size_t token = copy / copies * columns;
      for (std::size_t c = 0; c < columns; ++c) {
        if (kBackward) {
          expected[token + c] += copied[at + c];
        } else {
          expected[at + c] = tokens[token + c];
        }
      }
    }
    if (kBackward) {
      require_close("permute backward", tokens, expected, bf16_tolerance(4.0));
    } else {
      require_close("permute", copied, expected, {0.0, 0.0});
    }
  }

 private:
  OperatorShape shape_;
  SlotArray tokens_, copies_;
  ExpertPlaces place_;
};

template <bool kBackward>
class UnpermuteOperation : public Operation {
 public:
  explicit UnpermuteOperation(const OperationSetup& s)
      : shape_(s.shape),
        tokens_(Element::bf16, s.elements(), s.slots),
        copies_(Element::bf16, s.elements() * static_cast<std::size_t>(s.shape.copies), s.slots),
        gradient_(Element::bf16, kBackward ? copies_.count() : kPack, s.slots),
        weight_(Element::fp32, static_cast<std::size_t>(s.shape.rows * s.shape.copies), 1),
        weight_gradient_(Element::fp32, weight_.count(), 1),
        place_(s.shape.rows, s.shape.copies, s.seed) {
    tokens_.fill(s.seed, s.stream);  // backward: the gradient of the combined tokens
    copies_.fill(s.seed + 1000, s.stream);
    weight_.fill(s.seed + 2000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    if constexpr (kBackward) {
      const std::int64_t row_packs = shape_.columns / kPack;
      if (row_packs <= 256) {
        run_backward<1>(stream, slot);
      } else if (row_packs <= 512) {
        run_backward<2>(stream, slot);
      } else if (row_packs <= 1024) {
        run_backward<4>(stream, slot);
      } else if (row_packs <= static_cast<std::int64_t>(kStreamThreads) * kMostPacks) {
        run_backward<kMostPacks>(stream, slot);
      } else {
        throw std::invalid_argument("unpermute backward of more than 16384 columns");
      }
    } else {
      launch_stream<1>(
          Combine<true>{copies_.as<bf16>(slot), place_.device(), weight_.as<float>(0), tokens_.as<bf16>(slot),
                        static_cast<std::uint32_t>(shape_.columns / kPack), static_cast<int>(shape_.copies)},
          tokens_.count() / kPack, stream);
    }
  }
  void check(cudaStream_t stream) override {
    const std::vector<double> dy = tokens_.host();
    launch(stream, 0);
    const std::vector<double> copied = copies_.host(), weight = weight_.host();
    std::vector<double> combined(dy.size(), 0.0), gradient(copied.size()),
        weight_gradient(weight.size(), 0.0);
    const auto columns = static_cast<std::size_t>(shape_.columns);
    for (std::size_t copy = 0; copy < weight.size(); ++copy) {
      const std::size_t at = static_cast<std::size_t>(place_.host()[copy]) * columns;
      const std::size_t token = copy / static_cast<std::size_t>(shape_.copies) * columns;
      for (std::size_t c = 0; c < columns; ++c) {
        combined[token + c] += weight[copy] * copied[at + c];
        gradient[at + c] = weight[copy] * dy[token + c];
        weight_gradient[copy] += dy[token + c] * copied[at + c];
      }
    }
    if (!kBackward) {
      require_close("unpermute", tokens_.host(), combined, bf16_tolerance(4.0));
      return;
    }
    require_close("unpermute backward", gradient_.host(), gradient, bf16_tolerance());
    require_close("unpermute backward's weights", weight_gradient_.host(), weight_gradient,
                  {1e-5 * std::sqrt(static_cast<double>(columns)), 1e-5});
  }

 private:
  template <int kPacks>
  void run_backward(cudaStream_t stream, int slot) {
    combine_backward_kernel<kPacks>
        <<<static_cast<unsigned>(shape_.rows), row_threads(shape_.columns / kPack, kPacks), 0, stream>>>(
            tokens_.as<bf16>(slot), copies_.as<bf16>(slot), place_.device(), weight_.as<float>(0),
            gradient_.as<bf16>(slot), weight_gradient_.as<float>(0), static_cast<int>(shape_.columns),
            static_cast<int>(shape_.copies));
    launch_check();
  }

  OperatorShape shape_;
  SlotArray tokens_, copies_, gradient_, weight_, weight_gradient_;
  ExpertPlaces place_;
};

}  // namespace

std::vector<OperatorEntry> indexed_operators() {
  return {
      operator_entry<EmbeddingOperation>("embedding", false),
      operator_entry<EmbeddingGradientOperation>("embedding_gradient", true),
      operator_entry<PermuteOperation<false>>("permute", false),
      operator_entry<PermuteOperation<true>>("permute", true),
      operator_entry<UnpermuteOperation<false>>("unpermute", false),
      operator_entry<UnpermuteOperation<true>>("unpermute", true),
  };
}

}  // namespace orrery::kernels
