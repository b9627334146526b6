#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace orrery::kernels {

/// Rows are tokens (of softmax: queries x heads; of multi-tensor operators: tensors), columns the row's
/// elements; copies: experts a token goes to.
struct OperatorShape {
  std::int64_t rows = 0, columns = 0;
  std::int64_t copies = 1;
};

/// What one pass of an operator must read and write, each array once, activations in bf16 (2 bytes):
///
///   rows columns (2 elements + element_bytes) + rows row_bytes + 2 columns column_elements
///     + rows copies (2 columns copy_elements + copy_bytes)
///
/// and its floating-point operations an element, to show that memory binds. The counting is the one of
/// sim/workload/memory_operators.hpp (a test holds them together); the names that are only here are said so.
struct OperatorTraffic {
  std::string_view name;
  bool backward;
  std::string_view kind;
  double elements = 0;
  double element_bytes = 0;
  double row_bytes = 0;
  double column_elements = 0;
  double copy_elements = 0;
  double copy_bytes = 0;
  double flops_an_element = 0;
};

inline constexpr std::array kOperatorTraffic = {
    OperatorTraffic{.name = "copy", .backward = false, .kind = "streaming", .elements = 2},
    OperatorTraffic{
        .name = "residual_add", .backward = false, .kind = "streaming", .elements = 3, .flops_an_element = 1},
    OperatorTraffic{
        .name = "gelu", .backward = false, .kind = "streaming", .elements = 2, .flops_an_element = 10},
    OperatorTraffic{
        .name = "gelu", .backward = true, .kind = "streaming", .elements = 3, .flops_an_element = 18},
    OperatorTraffic{
        .name = "swiglu", .backward = false, .kind = "streaming", .elements = 3, .flops_an_element = 5},
    OperatorTraffic{
        .name = "swiglu", .backward = true, .kind = "streaming", .elements = 5, .flops_an_element = 11},
    OperatorTraffic{.name = "dropout_add",
                    .backward = false,
                    .kind = "streaming",
                    .elements = 3,
                    .element_bytes = 1,
                    .flops_an_element = 2},
    OperatorTraffic{.name = "dropout_add",
                    .backward = true,
                    .kind = "streaming",
                    .elements = 2,
                    .element_bytes = 1,
                    .flops_an_element = 1},
    OperatorTraffic{
        .name = "rope", .backward = false, .kind = "streaming", .elements = 2, .flops_an_element = 3},
    OperatorTraffic{
        .name = "rope", .backward = true, .kind = "streaming", .elements = 2, .flops_an_element = 3},
    OperatorTraffic{
        .name = "softmax", .backward = false, .kind = "streaming", .elements = 2, .flops_an_element = 5},
    OperatorTraffic{
        .name = "softmax", .backward = true, .kind = "streaming", .elements = 3, .flops_an_element = 5},
    OperatorTraffic{
        .name = "cast", .backward = false, .kind = "streaming", .elements = 1, .element_bytes = 4},
    OperatorTraffic{.name = "cast", .backward = true, .kind = "streaming", .elements = 1, .element_bytes = 4},
    // Only here: fp32 main gradient += bf16 gradient: 2 read, 4 read, 4 written.
    OperatorTraffic{.name = "gradient_accumulate",
                    .backward = true,
                    .kind = "streaming",
                    .elements = 1,
                    .element_bytes = 8,
                    .flops_an_element = 1},
    OperatorTraffic{.name = "layernorm",
                    .backward = false,
                    .kind = "norm",
                    .elements = 2,
                    .row_bytes = 8,
                    .column_elements = 2,
                    .flops_an_element = 8},
    OperatorTraffic{.name = "layernorm",
                    .backward = true,
                    .kind = "norm",
                    .elements = 3,
                    .row_bytes = 8,
                    .column_elements = 3,
                    .flops_an_element = 14},
    OperatorTraffic{.name = "rmsnorm",
                    .backward = false,
                    .kind = "norm",
                    .elements = 2,
                    .row_bytes = 4,
                    .column_elements = 1,
                    .flops_an_element = 4},
    OperatorTraffic{.name = "rmsnorm",
                    .backward = true,
                    .kind = "norm",
                    .elements = 3,
                    .row_bytes = 4,
                    .column_elements = 2,
                    .flops_an_element = 10},
    OperatorTraffic{.name = "cross_entropy",
                    .backward = false,
                    .kind = "loss",
                    .elements = 1,
                    .row_bytes = 16,
                    .flops_an_element = 4},
    OperatorTraffic{.name = "cross_entropy",
                    .backward = true,
                    .kind = "loss",
                    .elements = 2,
                    .row_bytes = 16,
                    .flops_an_element = 3},
    OperatorTraffic{.name = "quantize_fp8",
                    .backward = false,
                    .kind = "quantize",
                    .elements = 1,
                    .element_bytes = 1,
                    .flops_an_element = 2},
    OperatorTraffic{.name = "quantize_fp8_transpose",
                    .backward = false,
                    .kind = "quantize",
                    .elements = 1,
                    .element_bytes = 2,
                    .flops_an_element = 2},
    // Only here: one byte an element and one power-of-two scale for 32.
    OperatorTraffic{.name = "quantize_mxfp8",
                    .backward = false,
                    .kind = "quantize",
                    .elements = 1,
                    .element_bytes = 1.0 + 1.0 / 32,
                    .flops_an_element = 2},
    // Only here: half a byte an element and one e4m3 scale for 16.
    OperatorTraffic{.name = "quantize_nvfp4",
                    .backward = false,
                    .kind = "quantize",
                    .elements = 1,
                    .element_bytes = 0.5 + 1.0 / 16,
                    .flops_an_element = 2},
    // A parameter: fp32 gradient read (4), fp32 master read and written (8), each fp32 state too (8), bf16
    // weight written.
    OperatorTraffic{.name = "sgd",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .element_bytes = 12,
                    .flops_an_element = 2},
    OperatorTraffic{.name = "momentum",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .element_bytes = 20,
                    .flops_an_element = 4},
    OperatorTraffic{.name = "adagrad",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .element_bytes = 20,
                    .flops_an_element = 6},
    OperatorTraffic{.name = "adam",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .element_bytes = 28,
                    .flops_an_element = 14},
    OperatorTraffic{.name = "adamw",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .element_bytes = 28,
                    .flops_an_element = 14},
    // Two kernels, because the trust ratio needs both norms before the weight moves: gradient (4), states
    // (16) and weight (4) in, states and update (4) out; then update (4) and weight (8) in place, bf16
    // weight.
    OperatorTraffic{.name = "lamb",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .element_bytes = 40,
                    .flops_an_element = 20},
    OperatorTraffic{.name = "gradient_norm",
                    .backward = false,
                    .kind = "optimizer",
                    .elements = 1,
                    .flops_an_element = 2},
    OperatorTraffic{.name = "embedding", .backward = false, .kind = "gather", .elements = 2, .row_bytes = 8},
    OperatorTraffic{.name = "embedding_gradient",
                    .backward = true,
                    .kind = "scatter",
                    .elements = 3,
                    .row_bytes = 8,
                    .flops_an_element = 1},
    OperatorTraffic{.name = "permute",
                    .backward = false,
                    .kind = "permute",
                    .elements = 1,
                    .copy_elements = 1,
                    .copy_bytes = 4},
    OperatorTraffic{.name = "permute",
                    .backward = true,
                    .kind = "permute",
                    .elements = 1,
                    .copy_elements = 1,
                    .copy_bytes = 4,
                    .flops_an_element = 1},
    OperatorTraffic{.name = "unpermute",
                    .backward = false,
                    .kind = "permute",
                    .elements = 1,
                    .copy_elements = 1,
                    .copy_bytes = 8,
                    .flops_an_element = 2},
    OperatorTraffic{.name = "unpermute",
                    .backward = true,
                    .kind = "permute",
                    .elements = 1,
                    .copy_elements = 2,
                    .copy_bytes = 12,
                    .flops_an_element = 3},
};

/// @throws std::invalid_argument if there is no such operator and pass
constexpr const OperatorTraffic& operator_traffic(std::string_view name, bool backward) {
  for (const OperatorTraffic& traffic : kOperatorTraffic) {
    if (traffic.name == name && traffic.backward == backward) return traffic;
  }
  throw std::invalid_argument("no such operator: " + std::string(name) +
                              (backward ? " backward" : " forward"));
}

constexpr double operator_bytes(const OperatorTraffic& traffic, const OperatorShape& shape) {
  constexpr double kActivation = 2;  // bytes of a bf16 element
  const auto rows = static_cast<double>(shape.rows), columns = static_cast<double>(shape.columns);
  return rows * columns * (kActivation * traffic.elements + traffic.element_bytes) +
         rows * traffic.row_bytes + kActivation * columns * traffic.column_elements +
         rows * static_cast<double>(shape.copies) *
             (kActivation * columns * traffic.copy_elements + traffic.copy_bytes);
}

constexpr double operator_flops(const OperatorTraffic& traffic, const OperatorShape& shape) {
  return traffic.flops_an_element * static_cast<double>(shape.rows) * static_cast<double>(shape.columns) *
         static_cast<double>(traffic.copy_elements > 0 ? shape.copies : 1);
}

}  // namespace orrery::kernels
