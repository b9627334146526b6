#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/harness/cuda.hpp"
#include "kernels/harness/element.hpp"

namespace orrery::kernels {

/// Fills `count` elements with deviation * normal numbers (random.hpp), rounded to the format and saturated
/// at its largest number. The same seed gives the same bytes on every GPU. Asynchronous on the stream.
void fill_normal(void* data, Element element, std::size_t count, std::uint64_t seed, cudaStream_t stream,
                 float deviation = 1.0F);

/// Fills with uniform integers in [0, bound): indices, labels, tokens' experts.
void fill_integers(std::int32_t* data, std::size_t count, std::uint64_t seed, std::uint32_t bound,
                   cudaStream_t stream);

/// Fills bytes with uniform integers in [lowest, highest]: scale factors of blocks.
void fill_bytes(std::uint8_t* data, std::size_t count, std::uint64_t seed, std::uint8_t lowest,
                std::uint8_t highest, cudaStream_t stream);

/// Writes every byte of the buffer, so that the L2 holds nothing else. Asynchronous.
void overwrite(const DeviceBuffer& buffer, cudaStream_t stream);

/// Elements [first, first + count) of a device array as doubles (fp4 too). Waits for the device.
std::vector<double> host_values(const void* device_data, Element element, std::size_t count);

}  // namespace orrery::kernels
