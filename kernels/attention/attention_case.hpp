#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/harness/element.hpp"

namespace orrery::kernels {

/// How the four dimensions lie in memory, slowest first. Transformer Engine's default (and Megatron's) is
/// sbhd; with one sequence a batch it is the same memory as bshd, which PyTorch's models use.
enum class AttentionLayout { bshd, sbhd, bhsd };

inline const std::vector<std::string>& attention_layout_names() {
  static const std::vector<std::string> kNames = {"bshd", "sbhd", "bhsd"};
  return kNames;
}

/// softmax(scale Q K^T + mask) V of `batch` sequences with scale 1 / sqrt(head_dim). Causal masks are aligned
/// top left (query i sees keys 0 .. i); a window w leaves keys i-w+1 .. i (with causal) in sight.
struct AttentionCase {
  std::int64_t batch = 1;
  std::int64_t seq_length = 0;
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t head_dim = 0;   ///< of queries and keys
  std::int64_t value_dim = 0;  ///< of values and the output
  bool causal = true;
  std::int64_t window = 0;  ///< 0: none
  bool backward = false;
  Element element = Element::bf16;

  auto key() const {
    return std::tuple(batch, seq_length, heads, kv_heads, head_dim, value_dim, causal, window, backward,
                      static_cast<int>(element));
  }
  bool operator==(const AttentionCase& other) const { return key() == other.key(); }
  bool operator<(const AttentionCase& other) const { return key() < other.key(); }
};

/// The key and value head that query head `head` reads: heads are shared by consecutive groups.
constexpr std::int64_t kv_head_of(std::int64_t head, std::int64_t heads, std::int64_t kv_heads) {
  return head / (heads / kv_heads);
}

/// Whether query row `row` sees key `column`.
constexpr bool attends(bool causal, std::int64_t window, std::int64_t row, std::int64_t column) {
  if (causal && column > row) return false;
  return window == 0 || column + window > row;
}

/// Strides in elements of dimensions (batch, head, position, element of the head).
inline std::array<std::int64_t, 4> attention_strides(AttentionLayout layout, std::int64_t batch,
                                                     std::int64_t heads, std::int64_t seq_length,
                                                     std::int64_t width) {
  switch (layout) {
    case AttentionLayout::bshd:
      return {seq_length * heads * width, width, heads * width, 1};
    case AttentionLayout::sbhd:
      return {heads * width, width, batch * heads * width, 1};
    case AttentionLayout::bhsd:
      return {heads * seq_length * width, seq_length * width, width, 1};
  }
  throw std::logic_error("layout");
}

/// Query-key pairs of one head of one sequence that are worked on: the square, half of it when causal (the
/// diagonal not counted extra), under a window w the band i-w+1 .. i without the triangle at the start.
inline double attended_pairs(const AttentionCase& shape) {
  const auto keys = static_cast<double>(shape.seq_length);
  const double all = shape.causal ? keys / 2.0 : keys;
  if (shape.window == 0 || shape.window >= shape.seq_length) return keys * all;
  const auto window = static_cast<double>(shape.window);
  return keys * std::min(all, window - window * window / (2.0 * keys));
}

/// Forward two products, backward five (scores again, dV, dP, dQ, dK): 2.5 times the forward, in the
/// convention of the flash kernels' papers and of sim/workload/operator.hpp.
inline double attention_flops(const AttentionCase& shape) {
  const double forward = 2.0 * static_cast<double>(shape.batch * shape.heads) * attended_pairs(shape) *
                         static_cast<double>(shape.head_dim + shape.value_dim);
  return shape.backward ? 2.5 * forward : forward;
}

/// Elements of Q, K, V and O.
struct AttentionSizes {
  std::int64_t q = 0, k = 0, v = 0, o = 0;
  std::int64_t rows = 0;  ///< of all heads: one fp32 statistic each
};
inline AttentionSizes attention_sizes(const AttentionCase& shape) {
  const std::int64_t rows = shape.batch * shape.heads * shape.seq_length;
  const std::int64_t kv_rows = shape.batch * shape.kv_heads * shape.seq_length;
  return {rows * shape.head_dim, kv_rows * shape.head_dim, kv_rows * shape.value_dim, rows * shape.value_dim,
          rows};
}

/// Bytes that must be in device memory at once without cuDNN's workspace: Q, K, V, O and the statistics;
/// backward also dO, dQ, dK, dV, the fp32 accumulator of dQ and the row sums of dO * O.
inline double attention_memory_bytes(const AttentionCase& shape) {
  const AttentionSizes n = attention_sizes(shape);
  const double operands = static_cast<double>(n.q + n.k + n.v + n.o) * bits_of(shape.element) / 8.0;
  const double statistics = 4.0 * static_cast<double>(n.rows);
  if (!shape.backward) return operands + statistics;
  return 2.0 * operands + 2.0 * statistics + 4.0 * static_cast<double>(n.q);
}

/// What is wrong with the shape, or nothing.
inline std::string attention_problem(const AttentionCase& shape) {
  if (shape.batch < 1 || shape.seq_length < 1 || shape.heads < 1 || shape.head_dim < 1 ||
      shape.value_dim < 1) {
    return "batch, seq_length, heads, head_dim and value_dim must be at least 1";
  }
  if (shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) {
    return "heads (" + std::to_string(shape.heads) + ") must be a multiple of kv_heads (" +
           std::to_string(shape.kv_heads) + ")";
  }
  if (shape.window < 0) return "window must not be negative";
  if (shape.window > 0 && !shape.causal) return "a window without a causal mask is not measured";
  return {};
}

/// The built-in shapes, forward and backward of each side by side, most telling first so that a short budget
/// measures them: training's lengths at a constant number of tokens (batch * seq_length = 16384), causal and
/// full; then grouped heads, windows, head sizes, fp16, and few heads (a tensor-parallel rank), where the
/// last wave of blocks costs most.
inline std::vector<AttentionCase> attention_grid() {
  constexpr std::int64_t kTokens = 16384;
  std::vector<AttentionCase> grid;
  const auto add = [&](AttentionCase shape) {
    for (const bool backward : {false, true}) {
      shape.backward = backward;
      if (std::find(grid.begin(), grid.end(), shape) == grid.end()) grid.push_back(shape);
    }
  };
  const auto shape = [](std::int64_t seq, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                        std::int64_t value_dim, bool causal, std::int64_t window = 0,
                        Element element = Element::bf16) {
    return AttentionCase{std::max<std::int64_t>(1, kTokens / seq),
                         seq,
                         heads,
                         kv_heads,
                         head_dim,
                         value_dim,
                         causal,
                         window,
                         false,
                         element};
  };
  const std::array<std::int64_t, 7> lengths = {4096, 8192, 2048, 16384, 1024, 32768, 512};
  for (const std::int64_t seq : lengths) add(shape(seq, 16, 16, 128, 128, true));
  for (const std::int64_t seq : lengths) add(shape(seq, 32, 32, 64, 64, true));
  for (const std::int64_t seq : {4096, 8192, 2048}) add(shape(seq, 32, 8, 128, 128, true));   // GQA
  for (const std::int64_t seq : {4096, 8192, 2048}) add(shape(seq, 16, 16, 192, 128, true));  // MLA
  for (const std::int64_t seq : {8192, 32768}) add(shape(seq, 32, 8, 128, 128, true, 4096));  // window
  for (const std::int64_t seq : {8192, 32768}) add(shape(seq, 64, 8, 64, 64, true, 128));     // short window
  for (const std::int64_t seq : lengths) add(shape(seq, 16, 16, 128, 128, false));
  for (const std::int64_t seq : {512, 2048, 8192}) add(shape(seq, 16, 16, 64, 64, false));
  for (const std::int64_t seq : {2048, 4096, 8192}) add(shape(seq, 20, 20, 96, 96, true));
  for (const std::int64_t seq : {4096, 8192}) add(shape(seq, 8, 8, 256, 256, true));
  for (const std::int64_t seq : {2048, 8192}) add(shape(seq, 16, 16, 128, 128, true, 0, Element::fp16));
  for (const std::int64_t seq : {2048, 8192}) add(shape(seq, 16, 16, 64, 64, true, 0, Element::fp16));
  for (const std::int64_t heads : {1, 2, 4, 8, 12}) {  // one sequence: heads alone fill the SMs
    for (const std::int64_t seq : {2048, 8192}) {
      AttentionCase few = shape(seq, heads, std::max<std::int64_t>(1, heads / 4), 128, 128, true);
      few.batch = 1;
      if (few.heads % few.kv_heads == 0) add(few);
    }
  }
  return grid;
}

}  // namespace orrery::kernels
