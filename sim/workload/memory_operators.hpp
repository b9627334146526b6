#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/workload/operator.hpp"

namespace orrery {

/// Bytes that one pass of an operator must move, as coefficients:
///
///   rows columns (elements w + element_bytes + [w < 4] model_weights w) + columns column_elements w
///     + rows row_bytes + rows copies columns copy_elements w + rows copies copy_bytes
///
/// with w the bytes of an activation element. Every array is read or written once: what a fused kernel cannot
/// avoid. No launch: the operator has no such pass.
struct MemoryTraffic {
  int launches = 0;
  double elements = 0;         ///< arrays of rows x columns in the activations' type
  double element_bytes = 0;    ///< bytes an element of arrays in a type of their own (fp32 states, masks)
  double model_weights = 0;    ///< arrays in the activations' type that exist only beside an fp32 master
  double row_bytes = 0;        ///< statistics, indices, labels of a row
  double column_elements = 0;  ///< arrays of one row in the activations' type: gains and biases
  double copy_elements = 0;    ///< arrays with `copies` of every row
  double copy_bytes = 0;       ///< indices of a copied row
};

/// A memory-bound operator of training by its name. Rows are tokens, columns what the table's comment says;
/// of the optimizers and gradient_norm rows x columns are the parameters.
struct MemoryOperator {
  std::string_view name;
  MemoryKind kind = MemoryKind::streaming;
  MemoryTraffic forward, backward;
  bool flat = false;    ///< rows x columns is all that counts: columns may be left out
  bool copies = false;  ///< works on `copies` of every row (top_k of a mixture of experts)
};

/// layernorm, rmsnorm, gelu, swiglu, residual_add, dropout_add, rope, softmax, cross_entropy, cast,
/// quantize_fp8, quantize_fp8_transpose, sgd, momentum, adagrad, adam, adamw, lamb, gradient_norm, embedding,
/// embedding_gradient, permute, unpermute, copy; each with its counting beside it in the .cpp.
std::span<const MemoryOperator> memory_operators();
/// Null if there is none of that name.
const MemoryOperator* memory_operator_named(std::string_view name);
/// All names, in the table's order: for error messages.
std::vector<std::string> memory_operator_names();

/// The kernel of one pass over rows x columns elements.
///
/// @param element_bytes of an activation (activation_bytes of the precision): 2 or 4
/// @param copies        of every row; of effect for permute and unpermute only
/// @throws std::invalid_argument if rows, columns or copies are below 1, the width is not above zero, or the
///         operator has no such pass
MemoryShape memory_operator_shape(const MemoryOperator& op, AttentionPass pass, std::int64_t rows,
                                  std::int64_t columns, double element_bytes, std::int64_t copies = 1);

}  // namespace orrery
