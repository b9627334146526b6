#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "sim/base/precision.hpp"
#include "sim/base/quantity.hpp"

namespace orrery {

/// C[m,n] = A[m,k] B[k,n], `batch` times. 2 batch m n k FLOPs.
///
/// Grouped: one kernel works on `batch` products that share n and k but not the rows (the experts of a
/// mixture); m is then their mean number of rows.
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t batch = 1;
  Precision precision = Precision::bf16;
  double output_bytes = 2;  ///< bytes written an output element (fp32 main gradients accumulated in place: 4
                            ///< read + 4 written = 8)
  bool quantized_inputs =
      true;  ///< false: a quantised product whose cast is counted as an operator of its own
  bool grouped = false;
  Flops flops() const {
    return Flops(2.0 * static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n) *
                 static_cast<double>(k));
  }
  auto operator<=>(const GemmShape&) const = default;
};

enum class AttentionKernel { unfused, flash1, flash2, flash3, flash4, cudnn };
enum class AttentionPass { forward, backward };

/// Softmax(Q K^T) V of `batch` sequences. FLOPs forward: 2 batch heads seq_q seq_kv (head_dim + value_dim),
/// half of it when causal (square); backward 2.5 times that (flash kernels recompute the scores). Unfused:
/// the mask comes after the products, so they are whole, and the backward is twice the forward.
struct AttentionShape {
  std::int64_t batch = 1;
  std::int64_t seq_q = 0, seq_kv = 0;
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t head_dim = 0;   ///< of queries and keys
  std::int64_t value_dim = 0;  ///< of values (differs under MLA)
  bool causal = true;
  std::int64_t window = 0;  ///< sliding window; 0 = none
  AttentionPass pass = AttentionPass::forward;
  AttentionKernel kernel = AttentionKernel::cudnn;
  Precision precision = Precision::bf16;
  auto operator<=>(const AttentionShape&) const = default;
};

/// What a memory-bound kernel does with its bytes: kernels of a kind reach the same share of the bandwidth.
enum class MemoryKind {
  streaming,  ///< every element once in order: activation, residual, dropout, rotary embedding, cast, copy
  norm,       ///< rows of the hidden size reduced and read again: layer and RMS norm
  loss,       ///< rows of the vocabulary's size: cross-entropy
  quantize,   ///< maximum, scale and cast to 8 or 4 bits, with a transposed copy where products need it
  optimizer,  ///< several arrays of parameters at once: update, gradient norm, zeroing
  gather,     ///< rows picked by an index: embedding
  scatter,    ///< rows added by an index: the embedding's gradient
  permute,    ///< rows moved by an index: tokens to experts and back
};
constexpr int kMemoryKinds = 8;

/// A kernel (or `launches` kernels in a row) bound by memory: bytes read plus written.
struct MemoryShape {
  Bytes traffic;
  int launches = 1;
  MemoryKind kind = MemoryKind::streaming;
  /// Of kernels that take one element at a time: what their instructions would keep one SM busy for. All SMs
  /// share it, and where it outlasts the bytes it is the kernels' time.
  Seconds sm_time{};
  auto operator<=>(const MemoryShape&) const = default;
};

/// One kernel of a training step with its exact shape. The name is a string literal of the operator's place
/// in the model: "qkv_projection", "attention_core", "layernorm"; the same in every report and trace.
struct Operator {
  std::string_view name;
  std::variant<GemmShape, AttentionShape, MemoryShape> shape;
};

/// "streaming", ..., in the order of MemoryKind: as files and reports write them.
const std::array<std::string_view, kMemoryKinds>& memory_kind_names();
std::string_view name_of(MemoryKind kind);
std::optional<MemoryKind> memory_kind_named(std::string_view name);

/// Keys that a query meets on average, masked ones left out: all of them, half when causal (the convention of
/// the flash kernels' own counts: the diagonal is not counted extra), under a window w the band of i-w+1 .. i
/// (causal) or i-w+1 .. i+w-1 in the same convention. Fewer queries than keys are a context-parallel rank's
/// balanced share of the square. Unfused kernels meet every key.
double attended_keys(const AttentionShape& shape);

/// FLOPs of an attention call as a kernel does them (causal: half; window: the band).
Flops attention_flops(const AttentionShape& shape);

}  // namespace orrery
