#include "sim/workload/operator.hpp"

#include <algorithm>

namespace orrery {

namespace {

/// Query-key pairs of one head of one sequence that a kernel works on, masked ones left out.
///
/// Of a square of seq_kv queries: causal half of it (the convention of the flash kernels' own FLOP counts,
/// the diagonal not counted extra); under a window w the band i-w+1 .. i (causal) or i-w+1 .. i+w-1. Fewer
/// queries than keys are a context-parallel rank's balanced share of that square, so they see seq_q / seq_kv
/// of its pairs.
double attended_pairs(const AttentionShape& shape) {
  const auto queries = static_cast<double>(shape.seq_q);
  const auto keys = static_cast<double>(shape.seq_kv);
  double pairs_a_query = shape.causal ? keys / 2.0 : keys;
  if (shape.window > 0 && shape.window < shape.seq_kv) {
    // One side of the band is `window` wide and loses a triangle of window^2 / 2 at one end of the sequence.
    const auto window = static_cast<double>(shape.window);
    const double one_side = window - window * window / (2.0 * keys);
    pairs_a_query = std::min(pairs_a_query, shape.causal ? one_side : 2.0 * one_side);
  }
  return queries * pairs_a_query;
}

}  // namespace

const std::array<std::string_view, kMemoryKinds>& memory_kind_names() {
  static const std::array<std::string_view, kMemoryKinds> kNames = {
      "streaming", "norm", "loss", "quantize", "optimizer", "gather", "scatter", "permute"};
  return kNames;
}

std::string_view name_of(MemoryKind kind) { return memory_kind_names()[static_cast<size_t>(kind)]; }

std::optional<MemoryKind> memory_kind_named(std::string_view name) {
  const auto& names = memory_kind_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<MemoryKind>(found - names.begin());
}

Flops attention_flops(const AttentionShape& shape) {
  constexpr double kBackwardOverForward = 2.5;  // five products instead of two: scores again, dV, dP, dQ, dK
  const auto head_width = static_cast<double>(shape.head_dim + shape.value_dim);
  const double forward = 2.0 * static_cast<double>(shape.batch) * static_cast<double>(shape.heads) *
                         attended_pairs(shape) * head_width;
  return Flops(shape.pass == AttentionPass::backward ? kBackwardOverForward * forward : forward);
}

}  // namespace orrery
