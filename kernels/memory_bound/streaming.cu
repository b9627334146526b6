// Element-wise operators: every element once, in order.

#include <cmath>

#include "kernels/harness/random.hpp"
#include "kernels/memory_bound/operation.cuh"
#include "kernels/memory_bound/primitives.cuh"
#include "kernels/memory_bound/scalar_functions.hpp"

namespace orrery::kernels {

namespace {

struct One {
  uint4 a;
};
struct Two {
  uint4 a, b;
};
struct Three {
  uint4 a, b, c;
};

/// out = in; an element: 2 bytes read + 2 written, no flop.
struct Copy {
  using In = One;
  const bf16* in;
  bf16* out;
  __device__ In load(std::size_t i) const { return {packs(in)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const { packs(out)[i] = v.a; }
};

/// y = a + b; an element: 4 bytes read + 2 written, 1 flop.
struct ResidualAdd {
  using In = Two;
  const bf16 *a, *b;
  bf16* y;
  __device__ In load(std::size_t i) const { return {packs(a)[i], packs(b)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float left[kPack], right[kPack];
    unpack(v.a, left);
    unpack(v.b, right);
#pragma unroll
    for (int k = 0; k < kPack; ++k) left[k] += right[k];
    packs(y)[i] = pack(left);
  }
};

constexpr float kGeluInner = 0.7978845608F;  // sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715F;

/// tanh by one exponential: 1 - 2 / (1 + e^2x); the exponential runs into 0 or infinity, never into NaN.
__device__ __forceinline__ float fast_tanh(float x) {
  return 1.0F - __fdividef(2.0F, 1.0F + __expf(fminf(2.0F * x, 80.0F)));
}

/// y = gelu(x), tanh form; an element: 2 bytes read + 2 written, 10 flops.
struct GeluForward {
  using In = One;
  const bf16* x;
  bf16* y;
  __device__ In load(std::size_t i) const { return {packs(x)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float values[kPack];
    unpack(v.a, values);
#pragma unroll
    for (float& value : values) {
      const float t = fast_tanh(kGeluInner * (value + kGeluCubic * value * value * value));
      value = 0.5F * value * (1.0F + t);
    }
    packs(y)[i] = pack(values);
  }
};

/// dx = dy gelu'(x); an element: 4 bytes read + 2 written, 18 flops.
struct GeluBackward {
  using In = Two;
  const bf16 *dy, *x;
  bf16* dx;
  __device__ In load(std::size_t i) const { return {packs(dy)[i], packs(x)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float slope[kPack], value[kPack];
    unpack(v.a, slope);
    unpack(v.b, value);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const float z = value[k];
      const float t = fast_tanh(kGeluInner * (z + kGeluCubic * z * z * z));
      const float inner = kGeluInner * (1.0F + 3.0F * kGeluCubic * z * z);
      slope[k] *= 0.5F * (1.0F + t) + 0.5F * z * (1.0F - t * t) * inner;
    }
    packs(dx)[i] = pack(slope);
  }
};

__device__ __forceinline__ float sigmoid(float x) {
  return __fdividef(1.0F, 1.0F + __expf(fminf(-x, 80.0F)));
}

/// y = silu(gate) value, gate and value side by side in rows of 2 x columns; an element of y: 4 bytes read +
/// 2 written, 5 flops.
struct SwigluForward {
  using In = Two;
  const bf16* x;
  bf16* y;
  std::uint32_t row_packs;  // of y
  __device__ std::size_t gate(std::size_t i) const { return i + i / row_packs * row_packs; }
  __device__ In load(std::size_t i) const {
    const std::size_t at = gate(i);
    return {packs(x)[at], packs(x)[at + row_packs]};
  }
  __device__ void finish(std::size_t i, const In& v) const {
    float gates[kPack], values[kPack];
    unpack(v.a, gates);
    unpack(v.b, values);
#pragma unroll
    for (int k = 0; k < kPack; ++k) values[k] *= gates[k] * sigmoid(gates[k]);
    packs(y)[i] = pack(values);
  }
};

/// d(gate) = dy value silu'(gate), d(value) = dy silu(gate); an element of dy: 6 bytes read + 4 written, 11
/// flops.
struct SwigluBackward {
  using In = Three;
  const bf16 *dy, *x;
  bf16* dx;
  std::uint32_t row_packs;
  __device__ std::size_t gate(std::size_t i) const { return i + i / row_packs * row_packs; }
  __device__ In load(std::size_t i) const {
    const std::size_t at = gate(i);
    return {packs(dy)[i], packs(x)[at], packs(x)[at + row_packs]};
  }
  __device__ void finish(std::size_t i, const In& v) const {
    float slope[kPack], gates[kPack], values[kPack];
    unpack(v.a, slope);
    unpack(v.b, gates);
    unpack(v.c, values);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const float s = sigmoid(gates[k]);
      const float silu = gates[k] * s;
      values[k] *= slope[k] * (s + silu * (1.0F - s));  // the gate's gradient, in the value's place
      slope[k] *= silu;
    }
    const std::size_t at = gate(i);
    packs(dx)[at] = pack(values);
    packs(dx)[at + row_packs] = pack(slope);
  }
};

constexpr float kKeep = 0.9F;

/// y = residual + mask x / keep; the mask, one byte an element, is drawn here and written for the backward.
/// An element: 4 bytes read + 3 written, 2 flops (the random bits not counted).
struct DropoutAddForward {
  using In = Two;
  const bf16 *x, *residual;
  bf16* y;
  std::uint8_t* mask;
  std::uint64_t seed;
  __device__ In load(std::size_t i) const { return {packs(x)[i], packs(residual)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float values[kPack], base[kPack];
    unpack(v.a, values);
    unpack(v.b, base);
    const std::uint64_t bits = random_bits(seed, i);  // a byte an element: keeps with probability 230 / 256
    std::uint64_t kept = 0;
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const bool keep = ((bits >> (8 * k)) & 0xffU) < static_cast<unsigned>(kKeep * 256.0F);
      kept |= static_cast<std::uint64_t>(keep ? 1 : 0) << (8 * k);
      base[k] += keep ? values[k] * (1.0F / kKeep) : 0.0F;
    }
    packs(y)[i] = pack(base);
    reinterpret_cast<std::uint64_t*>(mask)[i] = kept;
  }
};

/// dx = mask dy / keep (the residual's gradient is dy itself); an element: 3 bytes read + 2 written, 1 flop.
struct DropoutAddBackward {
  struct In {
    uint4 a;
    std::uint64_t kept;
  };
  const bf16* dy;
  const std::uint8_t* mask;
  bf16* dx;
  __device__ In load(std::size_t i) const {
    return {packs(dy)[i], reinterpret_cast<const std::uint64_t*>(mask)[i]};
  }
  __device__ void finish(std::size_t i, const In& v) const {
    float values[kPack];
    unpack(v.a, values);
#pragma unroll
    for (int k = 0; k < kPack; ++k)
      values[k] = ((v.kept >> (8 * k)) & 1U) != 0 ? values[k] * (1.0F / kKeep) : 0.0F;
    packs(dx)[i] = pack(values);
  }
};

constexpr int kHeadDim = 128;
constexpr int kHalfPacks = kHeadDim / 2 / kPack;
constexpr int kPositions = 4096;  // of a sequence

__device__ __forceinline__ void load_floats(const float* from, float (&values)[kPack]) {
  const float4 a = __ldg(reinterpret_cast<const float4*>(from));
  const float4 b = __ldg(reinterpret_cast<const float4*>(from) + 1);
  values[0] = a.x, values[1] = a.y, values[2] = a.z, values[3] = a.w;
  values[4] = b.x, values[5] = b.y, values[6] = b.z, values[7] = b.w;
}

/// Rotary embedding: the halves of each head of 128 are rotated by the angles of the row's position (y1 = x1
/// cos - x2 sin, y2 = x2 cos + x1 sin; backward with -sin). One index works on 8 pairs. An element: 2 bytes
/// read + 2 written, 3 flops; the fp32 table of cosines and sines (4096 positions x 64 each, shared by all
/// heads and sequences, 2 MiB) is not counted.
struct Rope {
  using In = Two;
  const bf16* x;
  bf16* y;
  const float *cosines, *sines;
  std::uint32_t row_pairs;  // packs of pairs in a row: columns / 16
  float direction;          // 1 forward, -1 backward
  __device__ static std::size_t first(std::size_t i) {
    return i / kHalfPacks * (2 * kHalfPacks) + i % kHalfPacks;
  }
  __device__ In load(std::size_t i) const {
    const std::size_t at = first(i);
    return {packs(x)[at], packs(x)[at + kHalfPacks]};
  }
  __device__ void finish(std::size_t i, const In& v) const {
    float low[kPack], high[kPack];
    unpack(v.a, low);
    unpack(v.b, high);
    const std::size_t angle = (i / row_pairs % kPositions) * (kHeadDim / 2) + (i % kHalfPacks) * kPack;
    float c[kPack], s[kPack];
    load_floats(cosines + angle, c);
    load_floats(sines + angle, s);
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      const float turned = low[k] * c[k] - high[k] * s[k] * direction;
      high[k] = high[k] * c[k] + low[k] * s[k] * direction;
      low[k] = turned;
    }
    const std::size_t at = first(i);
    packs(y)[at] = pack(low);
    packs(y)[at + kHalfPacks] = pack(high);
  }
};

/// bf16 = fp32; an element: 4 bytes read + 2 written.
struct CastDown {
  struct In {
    float4 a, b;
  };
  const float* in;
  bf16* out;
  __device__ In load(std::size_t i) const {
    return {reinterpret_cast<const float4*>(in)[2 * i], reinterpret_cast<const float4*>(in)[2 * i + 1]};
  }
  __device__ void finish(std::size_t i, const In& v) const {
    const float values[kPack] = {v.a.x, v.a.y, v.a.z, v.a.w, v.b.x, v.b.y, v.b.z, v.b.w};
    packs(out)[i] = pack(values);
  }
};

/// fp32 = bf16; an element: 2 bytes read + 4 written.
struct CastUp {
  using In = One;
  const bf16* in;
  float* out;
  __device__ In load(std::size_t i) const { return {packs(in)[i]}; }
  __device__ void finish(std::size_t i, const In& v) const {
    float values[kPack];
    unpack(v.a, values);
    reinterpret_cast<float4*>(out)[2 * i] = make_float4(values[0], values[1], values[2], values[3]);
    reinterpret_cast<float4*>(out)[2 * i + 1] = make_float4(values[4], values[5], values[6], values[7]);
  }
};

/// main += gradient, fp32 += bf16; an element: 6 bytes read + 4 written, 1 flop.
struct Accumulate {
  struct In {
    uint4 gradient;
    float4 a, b;
  };
  const bf16* gradient;
  float* main;
  __device__ In load(std::size_t i) const {
    return {packs(gradient)[i], reinterpret_cast<const float4*>(main)[2 * i],
            reinterpret_cast<const float4*>(main)[2 * i + 1]};
  }
  __device__ void finish(std::size_t i, const In& v) const {
    float g[kPack];
    unpack(v.gradient, g);
    reinterpret_cast<float4*>(main)[2 * i] =
        make_float4(v.a.x + g[0], v.a.y + g[1], v.a.z + g[2], v.a.w + g[3]);
    reinterpret_cast<float4*>(main)[2 * i + 1] =
        make_float4(v.b.x + g[4], v.b.y + g[5], v.b.z + g[6], v.b.w + g[7]);
  }
};

// The operations: arrays, launch, reference.

class CopyOperation : public Operation {
 public:
  explicit CopyOperation(const OperationSetup& s)
      : in_(Element::bf16, s.elements(), s.slots), out_(Element::bf16, s.elements(), s.slots) {
    in_.fill(s.seed, s.stream);
    out_.zero(s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<4>(Copy{in_.as<bf16>(slot), out_.as<bf16>(slot)}, in_.count() / kPack, stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    require_close("copy", out_.host(), in_.host(), {0.0, 0.0});
  }

 private:
  SlotArray in_, out_;
};

class ResidualAddOperation : public Operation {
 public:
  explicit ResidualAddOperation(const OperationSetup& s)
      : a_(Element::bf16, s.elements(), s.slots),
        b_(Element::bf16, s.elements(), s.slots),
        y_(Element::bf16, s.elements(), s.slots) {
    a_.fill(s.seed, s.stream);
    b_.fill(s.seed + 1000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<4>(ResidualAdd{a_.as<bf16>(slot), b_.as<bf16>(slot), y_.as<bf16>(slot)}, a_.count() / kPack,
                     stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    std::vector<double> expected = a_.host();
    const std::vector<double> b = b_.host();
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += b[i];
    require_close("residual_add", y_.host(), expected, bf16_tolerance());
  }

 private:
  SlotArray a_, b_, y_;
};

template <bool kBackward>
class GeluOperation : public Operation {
 public:
  explicit GeluOperation(const OperationSetup& s)
      : x_(Element::bf16, s.elements(), s.slots),
        dy_(Element::bf16, kBackward ? s.elements() : kPack, s.slots),
        out_(Element::bf16, s.elements(), s.slots) {
    x_.fill(s.seed, s.stream, 2.0F);
    dy_.fill(s.seed + 1000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    const std::size_t count = x_.count() / kPack;
    if constexpr (kBackward) {
      launch_stream<4>(GeluBackward{dy_.as<bf16>(slot), x_.as<bf16>(slot), out_.as<bf16>(slot)}, count,
                       stream);
    } else {
      launch_stream<4>(GeluForward{x_.as<bf16>(slot), out_.as<bf16>(slot)}, count, stream);
    }
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    std::vector<double> expected = x_.host();
    const std::vector<double> dy = dy_.host();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = kBackward ? dy[i] * gelu_slope(expected[i]) : gelu_value(expected[i]);
    }
    require_close(kBackward ? "gelu backward" : "gelu", out_.host(), expected, bf16_tolerance(4.0));
  }

 private:
  SlotArray x_, dy_, out_;
};

template <bool kBackward>
class SwigluOperation : public Operation {
 public:
  explicit SwigluOperation(const OperationSetup& s)
      : columns_(static_cast<std::size_t>(s.shape.columns)),
        x_(Element::bf16, 2 * s.elements(), s.slots),
        y_(Element::bf16, s.elements(), s.slots),
        dx_(Element::bf16, kBackward ? 2 * s.elements() : kPack, s.slots) {
    x_.fill(s.seed, s.stream);
    y_.fill(s.seed + 1000, s.stream);  // backward: dy
  }
  void launch(cudaStream_t stream, int slot) override {
    const auto row_packs = static_cast<std::uint32_t>(columns_ / kPack);
    const std::size_t count = y_.count() / kPack;
    if constexpr (kBackward) {
      launch_stream<2>(SwigluBackward{y_.as<bf16>(slot), x_.as<bf16>(slot), dx_.as<bf16>(slot), row_packs},
                       count, stream);
    } else {
      launch_stream<4>(SwigluForward{x_.as<bf16>(slot), y_.as<bf16>(slot), row_packs}, count, stream);
    }
  }
  void check(cudaStream_t stream) override {
    const std::vector<double> x = x_.host();
    const std::vector<double> dy = y_.host();
    launch(stream, 0);
    std::vector<double> expected(kBackward ? x.size() : dy.size());
    for (std::size_t i = 0; i < dy.size(); ++i) {
      const std::size_t gate = i / columns_ * 2 * columns_ + i % columns_;
      const double value = x[gate + columns_];
      if (kBackward) {
        expected[gate] = dy[i] * value * silu_slope(x[gate]);
        expected[gate + columns_] = dy[i] * silu_value(x[gate]);
      } else {
        expected[i] = silu_value(x[gate]) * value;
      }
    }
    require_close(kBackward ? "swiglu backward" : "swiglu", kBackward ? dx_.host() : y_.host(), expected,
                  bf16_tolerance(4.0));
  }

 private:
  std::size_t columns_;
  SlotArray x_, y_, dx_;
};

template <bool kBackward>
class DropoutAddOperation : public Operation {
 public:
  explicit DropoutAddOperation(const OperationSetup& s)
      : seed_(s.seed),
        x_(Element::bf16, s.elements(), s.slots),
        residual_(Element::bf16, kBackward ? kPack : s.elements(), s.slots),
        y_(Element::bf16, s.elements(), s.slots),
        mask_(Element::e4m3, s.elements(), s.slots) {
    x_.fill(s.seed, s.stream);
    residual_.fill(s.seed + 1000, s.stream);
    for (int slot = 0; kBackward && slot < s.slots; ++slot) {
      fill_bytes(mask_.as<std::uint8_t>(slot), s.elements(), s.seed + 2000 + static_cast<std::uint64_t>(slot),
                 0, 1, s.stream);
    }
  }
  void launch(cudaStream_t stream, int slot) override {
    const std::size_t count = x_.count() / kPack;
    if constexpr (kBackward) {
      launch_stream<4>(DropoutAddBackward{x_.as<bf16>(slot), mask_.as<std::uint8_t>(slot), y_.as<bf16>(slot)},
                       count, stream);
    } else {
      launch_stream<4>(DropoutAddForward{x_.as<bf16>(slot), residual_.as<bf16>(slot), y_.as<bf16>(slot),
                                         mask_.as<std::uint8_t>(slot), seed_},
                       count, stream);
    }
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    std::vector<double> expected = x_.host();
    const std::vector<double> residual = residual_.host(), mask = mask_.host();
    double kept = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const bool keep = mask[i] != 0.0;  // byte 1 reads as the smallest e4m3 number, byte 0 as zero
      kept += keep ? 1.0 : 0.0;
      expected[i] = (keep ? expected[i] / static_cast<double>(kKeep) : 0.0) + (kBackward ? 0.0 : residual[i]);
    }
    require_close(kBackward ? "dropout_add backward" : "dropout_add", y_.host(), expected, bf16_tolerance());
    if (kBackward) return;
    // 230 of 256 byte values keep; five standard deviations of a binomial.
    const double share = kept / static_cast<double>(expected.size()), wanted = 230.0 / 256.0;
    const double deviation = std::sqrt(wanted * (1.0 - wanted) / static_cast<double>(expected.size()));
    require_close("dropout_add's share of kept elements", {share}, {wanted}, {5.0 * deviation, 0.0});
  }

 private:
  std::uint64_t seed_;
  SlotArray x_, residual_, y_, mask_;
};

template <bool kBackward>
class RopeOperation : public Operation {
 public:
  explicit RopeOperation(const OperationSetup& s)
      : columns_(s.shape.columns),
        x_(Element::bf16, s.elements(), s.slots),
        y_(Element::bf16, s.elements(), s.slots),
        cosines_(Element::fp32, kPositions * kHeadDim / 2, 1),
        sines_(Element::fp32, kPositions * kHeadDim / 2, 1) {
    x_.fill(s.seed, s.stream);
    std::vector<float> c(cosines_.count()), sn(cosines_.count());
    for (std::size_t i = 0; i < c.size(); ++i) {
      // Angle of position p and pair j: p * 10000^(-2j / head_dim). Source: Su et al. 2021, RoFormer, eq. 15.
      const double pair = static_cast<double>(i % (kHeadDim / 2));
      const double angle =
          static_cast<double>(i / (kHeadDim / 2)) * std::pow(10000.0, -2.0 * pair / kHeadDim);
      c[i] = static_cast<float>(std::cos(angle));
      sn[i] = static_cast<float>(std::sin(angle));
    }
    cuda_check(cudaMemcpyAsync(cosines_.as<float>(0), c.data(), c.size() * sizeof(float),
                               cudaMemcpyHostToDevice, s.stream));
    cuda_check(cudaMemcpyAsync(sines_.as<float>(0), sn.data(), sn.size() * sizeof(float),
                               cudaMemcpyHostToDevice, s.stream));
    cuda_check(cudaStreamSynchronize(s.stream));  // before the vectors go
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<2>(Rope{x_.as<bf16>(slot), y_.as<bf16>(slot), cosines_.as<float>(0), sines_.as<float>(0),
                          static_cast<std::uint32_t>(columns_ / (2 * kPack)), kBackward ? -1.0F : 1.0F},
                     x_.count() / (2 * kPack), stream);
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    const std::vector<double> x = x_.host(), c = cosines_.host(), s = sines_.host();
    std::vector<double> expected(x.size());
    const auto columns = static_cast<std::size_t>(columns_);
    const double direction = kBackward ? -1.0 : 1.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t within = i % columns % kHeadDim;
      const std::size_t angle = i / columns % kPositions * (kHeadDim / 2) + within % (kHeadDim / 2);
      const bool low = within < kHeadDim / 2;
      const double other = x[low ? i + kHeadDim / 2 : i - kHeadDim / 2];
      expected[i] = x[i] * c[angle] + (low ? -1.0 : 1.0) * other * s[angle] * direction;
    }
    require_close(kBackward ? "rope backward" : "rope", y_.host(), expected, bf16_tolerance());
  }

 private:
  std::int64_t columns_;
  SlotArray x_, y_, cosines_, sines_;
};

template <bool kUp>
class CastOperation : public Operation {
 public:
  explicit CastOperation(const OperationSetup& s)
      : wide_(Element::fp32, s.elements(), s.slots), narrow_(Element::bf16, s.elements(), s.slots) {
    wide_.fill(s.seed, s.stream);
    narrow_.fill(s.seed + 1000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    const std::size_t count = wide_.count() / kPack;
    if constexpr (kUp) {
      launch_stream<4>(CastUp{narrow_.as<bf16>(slot), wide_.as<float>(slot)}, count, stream);
    } else {
      launch_stream<4>(CastDown{wide_.as<float>(slot), narrow_.as<bf16>(slot)}, count, stream);
    }
  }
  void check(cudaStream_t stream) override {
    launch(stream, 0);
    if (kUp) {
      require_close("cast to fp32", wide_.host(), narrow_.host(), {0.0, 0.0});
    } else {
      require_close("cast to bf16", narrow_.host(), wide_.host(), {0.0, round_off(Element::bf16)});
    }
  }

 private:
  SlotArray wide_, narrow_;
};

class AccumulateOperation : public Operation {
 public:
  explicit AccumulateOperation(const OperationSetup& s)
      : gradient_(Element::bf16, s.elements(), s.slots), main_(Element::fp32, s.elements(), s.slots) {
    gradient_.fill(s.seed, s.stream);
    main_.fill(s.seed + 1000, s.stream);
  }
  void launch(cudaStream_t stream, int slot) override {
    launch_stream<2>(Accumulate{gradient_.as<bf16>(slot), main_.as<float>(slot)}, main_.count() / kPack,
                     stream);
  }
  void check(cudaStream_t stream) override {
    std::vector<double> expected = main_.host();
    const std::vector<double> gradient = gradient_.host();
    launch(stream, 0);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += gradient[i];
    // One fp32 addition of numbers below 8.
    require_close("gradient_accumulate", main_.host(), expected, {0x1p-21, 0x1p-23});
  }

 private:
  SlotArray gradient_, main_;
};

}  // namespace

std::vector<OperatorEntry> streaming_operators() {
  return {
      operator_entry<CopyOperation>("copy", false),
      operator_entry<ResidualAddOperation>("residual_add", false),
      operator_entry<GeluOperation<false>>("gelu", false),
      operator_entry<GeluOperation<true>>("gelu", true),
      operator_entry<SwigluOperation<false>>("swiglu", false),
      operator_entry<SwigluOperation<true>>("swiglu", true),
      operator_entry<DropoutAddOperation<false>>("dropout_add", false),
      operator_entry<DropoutAddOperation<true>>("dropout_add", true),
      operator_entry<RopeOperation<false>>("rope", false),
      operator_entry<RopeOperation<true>>("rope", true),
      operator_entry<CastOperation<false>>("cast", false),
      operator_entry<CastOperation<true>>("cast", true),
      operator_entry<AccumulateOperation>("gradient_accumulate", true),
  };
}

}  // namespace orrery::kernels
