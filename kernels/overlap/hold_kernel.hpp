#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace orrery::kernels {

inline constexpr int kMostHeldSms = 256;

/// What the copy kernel and the host tell each other, in page-locked host memory.
struct HoldState {
  int stop;                                 ///< the host sets it to 1
  int running;                              ///< blocks that have started
  unsigned int sm[kMostHeldSms];            ///< on which SM each block is
  unsigned long long passes[kMostHeldSms];  ///< whole copies of its part that each block did
};

/// Lets the kernel take so much dynamic shared memory a block. Once, before launch_hold.
cudaError_t allow_hold(std::size_t shared_bytes);

/// Starts `blocks` blocks, each of which copies its own `vectors` vectors of 16 bytes from `in` to `out` over
/// and over until state->stop is set, or for 20 s at most, so that a program that fails leaves no kernel
/// behind. A pass reads and writes 16 * vectors bytes. The dynamic shared memory is only held, never used.
cudaError_t launch_hold(float4* out, const float4* in, std::size_t vectors, int blocks,
                        std::size_t shared_bytes, HoldState* state, cudaStream_t stream);

}  // namespace orrery::kernels
