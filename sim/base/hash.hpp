#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orrery {

/// 64-bit FNV-1a of the bytes as 16 hexadecimal digits: tells whether two inputs are the same file, not
/// whether somebody forged one. Source: Fowler, Noll, Vo; offset basis and prime as in draft-eastlake-fnv.
std::string content_hash(std::string_view content);

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit moves every output bit, on any machine
/// alike.
constexpr std::uint64_t mixed_bits(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace orrery
