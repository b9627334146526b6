#include "sim/workload/memory_operators.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace orrery {
namespace {

/// A pass of one kernel over arrays in the activations' type.
constexpr MemoryTraffic arrays(double elements) { return {.launches = 1, .elements = elements}; }

/// An optimizer's update, a parameter: the fp32 gradient read (4), the fp32 master weight read and written
/// (8), every fp32 state read and written (8 each), the 16-bit model weight written (under mixed precision).
constexpr MemoryTraffic update(int states, double more_bytes = 0.0, int launches = 1) {
  return {.launches = launches, .element_bytes = 4.0 + 8.0 + 8.0 * states + more_bytes, .model_weights = 1};
}

constexpr MemoryOperator optimizer(std::string_view name, MemoryTraffic traffic) {
  return {.name = name, .kind = MemoryKind::optimizer, .forward = traffic, .backward = {}, .flat = true};
}

// w: bytes of an activation element; x the input, y the output, d. their gradients.
constexpr std::array kOperators = {
    // Columns: hidden size. Forward: x read, y written, gain and bias read, mean and 1/deviation written in
    // fp32 (8 a row). Backward: dy and x read, dx written, gain read, statistics read, gradients of gain and
    // bias written.
    MemoryOperator{
        .name = "layernorm",
        .kind = MemoryKind::norm,
        .forward = {.launches = 1, .elements = 2, .row_bytes = 8, .column_elements = 2},
        .backward = {.launches = 1, .elements = 3, .row_bytes = 8, .column_elements = 3},
    },
    // The same without bias and mean.
    MemoryOperator{
        .name = "rmsnorm",
        .kind = MemoryKind::norm,
        .forward = {.launches = 1, .elements = 2, .row_bytes = 4, .column_elements = 1},
        .backward = {.launches = 1, .elements = 3, .row_bytes = 4, .column_elements = 2},
    },
    // Columns: of the output. x read, y written; backward dy and x read, dx written.
    MemoryOperator{.name = "gelu", .forward = arrays(2), .backward = arrays(3)},
    // Columns: of the output. Gate and value read, y written; backward dy, gate and value read, both of their
    // gradients written.
    MemoryOperator{.name = "swiglu", .forward = arrays(3), .backward = arrays(5)},
    // Two inputs read, their sum written; backward: the gradients of the two branches that leave a fork,
    // added likewise.
    MemoryOperator{.name = "residual_add", .forward = arrays(3), .backward = arrays(3)},
    // x and residual read, y written, a mask of one byte an element written; backward dy and mask read, dx
    // written (the residual's gradient is dy itself).
    MemoryOperator{
        .name = "dropout_add",
        .forward = {.launches = 1, .elements = 3, .element_bytes = 1},
        .backward = {.launches = 1, .elements = 2, .element_bytes = 1},
    },
    // Columns: heads x rotated head size. Read and written in both directions; the table of sines and cosines
    // is shared by the heads and the sequences and is not counted.
    MemoryOperator{.name = "rope", .forward = arrays(2), .backward = arrays(2)},
    // Rows: queries x heads, columns: keys. Scores read, probabilities written; backward probabilities and
    // their gradient read, the scores' gradient written.
    MemoryOperator{.name = "softmax", .forward = arrays(2), .backward = arrays(3)},
    // Columns: vocabulary. Logits read once; a row's label read (8), its loss and log of the sum written in
    // fp32 (4 + 4). Backward: logits read, their gradient written; label, log of the sum and the loss's
    // gradient read (8 + 4 + 4).
    MemoryOperator{
        .name = "cross_entropy",
        .kind = MemoryKind::loss,
        .forward = {.launches = 1, .elements = 1, .row_bytes = 16},
        .backward = {.launches = 1, .elements = 2, .row_bytes = 16},
    },
    // From or to fp32: one side in the activations' type, the other in 4 bytes.
    MemoryOperator{
        .name = "cast",
        .forward = {.launches = 1, .elements = 1, .element_bytes = 4},
        .backward = {.launches = 1, .elements = 1, .element_bytes = 4},
        .flat = true,
    },
    // Read, written in one byte an element; the maximum for the next scale is found on the way (delayed
    // scaling), scales are not counted.
    MemoryOperator{
        .name = "quantize_fp8",
        .kind = MemoryKind::quantize,
        .forward = {.launches = 1, .elements = 1, .element_bytes = 1},
        .backward = {.launches = 1, .elements = 1, .element_bytes = 1},
    },
    // The same with a second, transposed copy: what the products of the backward read.
    MemoryOperator{
        .name = "quantize_fp8_transpose",
        .kind = MemoryKind::quantize,
        .forward = {.launches = 1, .elements = 1, .element_bytes = 2},
        .backward = {.launches = 1, .elements = 1, .element_bytes = 2},
    },
    optimizer("sgd", update(0)),
    optimizer("momentum", update(1)),
    optimizer("adagrad", update(1)),
    optimizer("adam", update(2)),
    optimizer("adamw", update(2)),
    // Two kernels, because the trust ratio needs both norms before the weight moves (You et al. 2020,
    // algorithm 2): the weight is read in both (4 more), the update written by the first and read by the
    // second (4 + 4).
    optimizer("lamb", update(2, 12.0, 2)),
    // Gradients read in the type that `precision` names.
    optimizer("gradient_norm", arrays(1)),
    // Columns: hidden size. An index (8) and a row of the table read, a row written.
    MemoryOperator{
        .name = "embedding",
        .kind = MemoryKind::gather,
        .forward = {.launches = 1, .elements = 2, .row_bytes = 8},
        .backward = {},
    },
    // An index and a row's gradient read, the table's row that it falls on read and written.
    MemoryOperator{
        .name = "embedding_gradient",
        .kind = MemoryKind::scatter,
        .forward = {},
        .backward = {.launches = 1, .elements = 3, .row_bytes = 8},
    },
    // Rows: tokens, copies: experts a token goes to. Each token read once, its copies written, an index (4) a
    // copy read. Backward: the copies' gradients read and summed into the token's.
    MemoryOperator{
        .name = "permute",
        .kind = MemoryKind::permute,
        .forward = {.launches = 1, .elements = 1, .copy_elements = 1, .copy_bytes = 4},
        .backward = {.launches = 1, .elements = 1, .copy_elements = 1, .copy_bytes = 4},
        .copies = true,
    },
    // The copies read with their weight (fp32) and index (4 + 4) and summed into the token. Backward: the
    // token's gradient and the copies read (for the weights' gradients), the copies' gradients written; index
    // and weight read, the weight's gradient written.
    MemoryOperator{
        .name = "unpermute",
        .kind = MemoryKind::permute,
        .forward = {.launches = 1, .elements = 1, .copy_elements = 1, .copy_bytes = 8},
        .backward = {.launches = 1, .elements = 1, .copy_elements = 2, .copy_bytes = 12},
        .copies = true,
    },
    MemoryOperator{.name = "copy", .forward = arrays(2), .backward = arrays(2), .flat = true},
};

}  // namespace

std::span<const MemoryOperator> memory_operators() { return kOperators; }

const MemoryOperator* memory_operator_named(std::string_view name) {
  const auto* const found = std::find_if(kOperators.begin(), kOperators.end(),
                                         [&](const MemoryOperator& op) { return op.name == name; });
  return found == kOperators.end() ? nullptr : found;
}

std::vector<std::string> memory_operator_names() {
  std::vector<std::string> names;
  names.reserve(kOperators.size());
  for (const MemoryOperator& op : kOperators) names.emplace_back(op.name);
  return names;
}

MemoryShape memory_operator_shape(const MemoryOperator& op, AttentionPass pass, std::int64_t rows,
                                  std::int64_t columns, double element_bytes, std::int64_t copies) {
  const bool forward = pass == AttentionPass::forward;
  const MemoryTraffic& traffic = forward ? op.forward : op.backward;
  if (rows < 1 || columns < 1 || copies < 1 || !(element_bytes > 0.0) || traffic.launches < 1) {
    throw std::invalid_argument(fmt::format(
        "{} {} of {} x {} elements of {} bytes, {} copies: expected a pass that {} has, and every "
        "size at least 1",
        op.name, forward ? "forward" : "backward", rows, columns, element_bytes, copies, op.name));
  }
  const auto row_count = static_cast<double>(rows), column_count = static_cast<double>(columns);
  const double copied_rows = row_count * static_cast<double>(copies);
  const double model_weights = element_bytes < 4.0 ? traffic.model_weights * element_bytes : 0.0;
  const double an_element = traffic.elements * element_bytes + traffic.element_bytes + model_weights;
  MemoryShape shape;
  shape.kind = op.kind;
  shape.launches = traffic.launches;
  shape.traffic =
      Bytes(row_count * column_count * an_element + row_count * traffic.row_bytes +
            column_count * traffic.column_elements * element_bytes +
            copied_rows * (column_count * traffic.copy_elements * element_bytes + traffic.copy_bytes));
  return shape;
}

}  // namespace orrery
