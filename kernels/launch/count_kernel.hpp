#pragma once

#include <cuda_runtime.h>

namespace orrery::kernels {

/// Launches so many kernels on the stream, each of which adds one to the counter in device memory (8 bytes
/// read and written by one thread). Answers the launches' error, if any.
cudaError_t launch_counting(unsigned long long* counter, int kernels, cudaStream_t stream);

}  // namespace orrery::kernels
