#pragma once

#include <optional>

#include "sim/workload/operator.hpp"

namespace orrery {

/// What a kernel must do whatever GPU does it: the floor under its time and the work behind its power.
struct OperatorWork {
  Flops flops;                         ///< of matrix products; zero for memory-bound kernels
  Bytes traffic;                       ///< read and written once, as if nothing stayed in a cache
  std::optional<Precision> precision;  ///< of the products; absent for memory-bound kernels
};

/// Matrix products: both operands in their own width, the result with its output_bytes, and where the inputs
/// are quantised before the product (quantized_inputs of an 8- or 4-bit one) the activations once in their
/// width and once in the operand's. Attention: Q, K, V and the output; backward two and a half times that (Q,
/// K, V, O, dO read and dQ, dK, dV written). Memory-bound kernels: their own bytes.
OperatorWork work_of(const Operator& op);

}  // namespace orrery
