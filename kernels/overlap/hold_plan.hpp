#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace orrery::kernels {

/// How a copy kernel holds a given number of SMs, one a block, as a collective's channels do.
///
/// A block asks for all the shared memory that a block may have. What an SM has beyond that (1 KiB, which the
/// system keeps for each block) holds no second block that uses any, so no two of these share an SM; tile
/// kernels of matrix products, which use tens of KiB, stay out as well.
struct HoldPlan {
  int blocks = 0;
  std::size_t shared_bytes = 0;     ///< dynamic shared memory of a block
  std::size_t vectors_a_block = 0;  ///< 16-byte vectors that a block copies in a pass

  /// Bytes of the source, and of the target.
  std::size_t buffer_bytes() const { return static_cast<std::size_t>(blocks) * vectors_a_block * 16; }
  /// First vector of a block's part.
  std::size_t first_vector(int block) const { return static_cast<std::size_t>(block) * vectors_a_block; }
};

/// Static shared memory of the copy kernel, with room to spare: it counts against what a block may have.
inline constexpr std::size_t kStaticSharedBytes = 128;

/// @param sms             of the GPU
/// @param shared_optin    shared memory that a block may have at most
/// @param shared_sm       shared memory of an SM
/// @param bytes_a_block   a pass, rounded down to whole vectors
/// @throws std::invalid_argument if so many SMs are not there, or two blocks would fit on one
inline HoldPlan hold_plan(int blocks, int sms, std::size_t shared_optin, std::size_t shared_sm,
                          std::size_t bytes_a_block) {
  if (blocks < 1 || blocks >= sms) {
    throw std::invalid_argument("cannot hold " + std::to_string(blocks) + " of " + std::to_string(sms) +
                                " SMs: expected at least 1, and one left");
  }
  if (shared_optin <= kStaticSharedBytes || 2 * (shared_optin - kStaticSharedBytes) <= shared_sm) {
    throw std::invalid_argument("two blocks of " + std::to_string(shared_optin) + " bytes fit on one SM of " +
                                std::to_string(shared_sm));
  }
  return {blocks, shared_optin - kStaticSharedBytes, bytes_a_block / 16};
}

}  // namespace orrery::kernels
