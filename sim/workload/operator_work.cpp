#include "sim/workload/operator_work.hpp"

namespace orrery {
namespace {

Bytes traffic_of(const GemmShape& shape) {
  const auto m = static_cast<double>(shape.m), n = static_cast<double>(shape.n),
             k = static_cast<double>(shape.k);
  const double width = operand_bytes(shape.precision);
  double one = (m * k + k * n) * width + m * n * shape.output_bytes;
  if (is_quantized(shape.precision) && shape.quantized_inputs) {
    one += m * k * (activation_bytes(shape.precision) + width);
  }
  return Bytes(static_cast<double>(shape.batch) * one);
}

Bytes traffic_of(const AttentionShape& shape) {
  constexpr double kBackwardTraffic = 2.5;
  const double rows = static_cast<double>(shape.seq_q) * static_cast<double>(shape.heads) +
                      static_cast<double>(shape.seq_kv) * static_cast<double>(shape.kv_heads);
  const double forward = static_cast<double>(shape.batch) * rows *
                         static_cast<double>(shape.head_dim + shape.value_dim) *
                         activation_bytes(shape.precision);
  return Bytes(shape.pass == AttentionPass::backward ? kBackwardTraffic * forward : forward);
}

}  // namespace

OperatorWork work_of(const Operator& op) {
  if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) {
    return {gemm->flops(), traffic_of(*gemm), gemm->precision};
  }
  if (const auto* attention = std::get_if<AttentionShape>(&op.shape)) {
    return {attention_flops(*attention), traffic_of(*attention), attention->precision};
  }
  return {Flops(0), std::get<MemoryShape>(op.shape).traffic, std::nullopt};
}

}  // namespace orrery
