#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define ORRERY_HOST_DEVICE __host__ __device__
#else
#define ORRERY_HOST_DEVICE
#endif

namespace orrery::kernels {

/// 64 random bits for each (seed, counter): the output function of SplitMix64 over a Weyl sequence, keyed by
/// the seed. A value depends on its place alone, so any grid fills an array with the same numbers.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (mix64 with the
/// constants of Stafford's variant 13).
ORRERY_HOST_DEVICE inline std::uint64_t random_bits(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t z = seed * 0xd1342543de82ef95ULL + (counter + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Uniform in (0, 1): never 0, so that its logarithm is finite.
ORRERY_HOST_DEVICE inline float uniform_at(std::uint64_t seed, std::uint64_t counter) {
  return (static_cast<float>(random_bits(seed, counter) >> 41) + 0.5F) * (1.0F / 8388608.0F);
}

/// Standard normal by Box and Muller, one value a counter.
ORRERY_HOST_DEVICE inline float normal_at(std::uint64_t seed, std::uint64_t counter) {
  const std::uint64_t bits = random_bits(seed, counter);
  const float radius_uniform = (static_cast<float>(bits >> 41) + 0.5F) * (1.0F / 8388608.0F);
  const float angle_uniform = static_cast<float>(bits & 0x7fffffU) * (1.0F / 8388608.0F);
  return sqrtf(-2.0F * logf(radius_uniform)) * cosf(6.2831853F * angle_uniform);
}

/// Uniform integer in [0, bound), bound below 2^32.
ORRERY_HOST_DEVICE inline std::uint32_t integer_at(std::uint64_t seed, std::uint64_t counter,
                                                   std::uint32_t bound) {
  return static_cast<std::uint32_t>(((random_bits(seed, counter) >> 32) * bound) >> 32);
}

}  // namespace orrery::kernels
