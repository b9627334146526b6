#pragma once

#include <cstddef>

namespace orrery::kernels {

/// Where cuBLASLt keeps the scale factors of a block-scaled operand (mxfp8: one for 32 elements along the
/// inner dimension, nvfp4: one for 16). Tiles of 128 rows by 4 factors, 512 bytes each, the tiles of a row of
/// tiles one after another; inside a tile the rows r, r + 32, r + 64, r + 96 lie side by side, 4 factors
/// each. Source: cuBLAS documentation, "1D block scaling factors layout".
class BlockScales {
 public:
  /// @param rows    rows of the operand, that is its dimension that is not summed over
  /// @param inner   elements summed over
  /// @param block   elements that share a factor: 32 or 16
  constexpr BlockScales(std::size_t rows, std::size_t inner, std::size_t block)
      : row_tiles_((rows + 127) / 128), inner_tiles_(((inner + block - 1) / block + 3) / 4) {}

  /// Bytes of all factors with the padding to whole tiles, one byte each.
  constexpr std::size_t bytes() const { return row_tiles_ * inner_tiles_ * 512; }

  /// Place of the factor of block `block_index` of row `row`.
  constexpr std::size_t offset(std::size_t row, std::size_t block_index) const {
    const std::size_t tile = row / 128 * inner_tiles_ + block_index / 4;
    return tile * 512 + row % 32 * 16 + row % 128 / 32 * 4 + block_index % 4;
  }

 private:
  std::size_t row_tiles_, inner_tiles_;
};

}  // namespace orrery::kernels
