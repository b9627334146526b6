#include "sim/cost/unfused_attention.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <string_view>
#include <utility>

#include "sim/cost/gemm_form.hpp"

namespace orrery {
namespace {

void check_unfused(const AttentionShape& shape) {
  if (shape.kernel != AttentionKernel::unfused)
    throw std::invalid_argument("this attention is one fused kernel: attention_pieces has its time");
  if (shape.batch < 1 || shape.seq_q < 1 || shape.seq_kv < 1 || shape.heads < 1 || shape.kv_heads < 1 ||
      shape.head_dim < 1 || shape.value_dim < 1) {
    throw std::invalid_argument(fmt::format(
        "unfused attention of batch {}, {} x {} positions, {} heads ({} of keys), head size {} / {}: "
        "every dimension must be at least 1",
        shape.batch, shape.seq_q, shape.seq_kv, shape.heads, shape.kv_heads, shape.head_dim,
        shape.value_dim));
  }
}

class Decomposition {
 public:
  explicit Decomposition(const AttentionShape& shape)
      : shape_(shape), element_(activation_bytes(shape.precision)) {}

  std::vector<Operator> forward() {
    if (shape_.kv_heads != shape_.heads) memory("attention_kv_repeat", copies(), MemoryKind::streaming);
    product("attention_scores", shape_.seq_q, shape_.seq_kv, shape_.head_dim);
    memory("attention_softmax", 2.0 * element_ * scores(), MemoryKind::norm);
    memory("attention_dropout", (2.0 * element_ + kMaskByte) * scores(), MemoryKind::streaming);
    product("attention_values", shape_.seq_q, shape_.value_dim, shape_.seq_kv);
    return std::move(operators_);
  }

  std::vector<Operator> backward() {
    product("attention_values_dgrad", shape_.seq_q, shape_.seq_kv, shape_.value_dim);
    product("attention_values_wgrad", shape_.seq_kv, shape_.value_dim, shape_.seq_q);
    memory("attention_dropout", (2.0 * element_ + kMaskByte) * scores(), MemoryKind::streaming);
    memory("attention_softmax", 3.0 * element_ * scores(), MemoryKind::norm);
    product("attention_scores_dgrad", shape_.seq_q, shape_.head_dim, shape_.seq_kv);
    product("attention_scores_wgrad", shape_.seq_kv, shape_.head_dim, shape_.seq_q);
    if (shape_.kv_heads != shape_.heads) memory("attention_kv_repeat", copies(), MemoryKind::streaming);
    return std::move(operators_);
  }

 private:
  static constexpr double kMaskByte = 1.0;

  double scores() const {
    return static_cast<double>(shape_.batch * shape_.heads) * static_cast<double>(shape_.seq_q) *
           static_cast<double>(shape_.seq_kv);
  }

  /// Bytes of K and V as they are and for every head.
  double copies() const {
    return element_ * static_cast<double>(shape_.batch * (shape_.heads + shape_.kv_heads)) *
           static_cast<double>(shape_.seq_kv) * static_cast<double>(shape_.head_dim + shape_.value_dim);
  }

  void product(std::string_view name, std::int64_t m, std::int64_t n, std::int64_t k) {
    GemmShape gemm;
    gemm.m = m;
    gemm.n = n;
    gemm.k = k;
    gemm.batch = shape_.batch * shape_.heads;
    gemm.precision = shape_.precision;
    gemm.output_bytes = element_;
    operators_.push_back({name, gemm});
  }

  void memory(std::string_view name, double traffic, MemoryKind kind) {
    operators_.push_back({name, MemoryShape{Bytes(traffic), 1, kind}});
  }

  const AttentionShape& shape_;
  double element_;  ///< bytes
  std::vector<Operator> operators_;
};

}  // namespace

std::vector<Operator> unfused_attention(const AttentionShape& shape) {
  check_unfused(shape);
  Decomposition decomposition(shape);
  return shape.pass == AttentionPass::forward ? decomposition.forward() : decomposition.backward();
}

}  // namespace orrery
