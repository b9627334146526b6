#include "kernels/launch/count_kernel.hpp"

namespace orrery::kernels {
namespace {

__global__ void count_kernel(unsigned long long* counter) { *counter += 1; }

}  // namespace

cudaError_t launch_counting(unsigned long long* counter, int kernels, cudaStream_t stream) {
  for (int i = 0; i < kernels; ++i) count_kernel<<<1, 1, 0, stream>>>(counter);
  return cudaGetLastError();
}

}  // namespace orrery::kernels
