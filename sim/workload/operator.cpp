#include "sim/workload/operator.hpp"

#include <algorithm>

namespace orrery {

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

double attended_keys(const AttentionShape& shape) {
  const auto keys = static_cast<double>(shape.seq_kv);
  if (shape.kernel == AttentionKernel::unfused) return keys;
  const double unwindowed = shape.causal ? keys / 2.0 : keys;
  if (shape.window <= 0 || shape.window >= shape.seq_kv) return unwindowed;
  // One side of the band is `window` wide and loses a triangle of window^2 / 2 at one end of the sequence.
  const auto window = static_cast<double>(shape.window);
  const double one_side = window - window * window / (2.0 * keys);
  return std::min(unwindowed, shape.causal ? one_side : 2.0 * one_side);
}

Flops attention_flops(const AttentionShape& shape) {
  // Five products instead of two: scores again, dV, dP, dQ, dK; unfused kernels keep the scores.
  const double backward = shape.kernel == AttentionKernel::unfused ? 2.0 : 2.5;
  const double pairs = static_cast<double>(shape.seq_q) * attended_keys(shape);
  const double forward = 2.0 * static_cast<double>(shape.batch) * static_cast<double>(shape.heads) * pairs *
                         static_cast<double>(shape.head_dim + shape.value_dim);
  return Flops(shape.pass == AttentionPass::backward ? backward * forward : forward);
}

}  // namespace orrery
