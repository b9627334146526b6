#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace orrery {

/// Number format of the matrix products of a training step (contract section 2, `training.precision`).
/// fp8 is per tensor with delayed scaling; fp8_current per tensor with current scaling; fp8_block 128x128
/// blocks; mxfp8 and nvfp4 the OCP and NVIDIA micro-scaled formats.
enum class Precision { fp32, tf32, fp16, bf16, fp8, fp8_current, fp8_block, mxfp8, nvfp4 };

/// The contract's name ("bf16").
std::string_view name_of(Precision precision);
/// The precision of that name, or nothing.
std::optional<Precision> precision_named(std::string_view name);
/// All names, in enum order: for error messages.
std::span<const std::string_view> precision_names();

/// Bytes of one operand element of a matrix product in this format, without block scales (fp32 and tf32: 4,
/// nvfp4: 0.5).
double operand_bytes(Precision precision);
/// The same with its share of the block scales, as a quantised tensor is stored: fp8_block four bytes for 128
/// elements of a row (1 x 128 blocks), mxfp8 one for 32, nvfp4 one for 16; scales of a whole tensor count
/// nothing. Sources: OCP Microscaling Formats 1.0, section 5; Transformer Engine, Float8BlockScaling and
/// NVFP4BlockScaling (common/recipe/__init__.py).
double stored_operand_bytes(Precision precision);
/// Bytes of one activation element outside matrix products: the 8- and 4-bit recipes keep bf16 there
/// (contract section 2).
double activation_bytes(Precision precision);
/// True for fp8, fp8_current, fp8_block, mxfp8, nvfp4: operands are quantised before the product.
bool is_quantized(Precision precision);

}  // namespace orrery
