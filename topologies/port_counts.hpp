#pragma once

#include <cstdint>
#include <string>

#include "sim/base/quantity.hpp"

namespace orrery {

constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }
constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Cables that carry `demand` and their rate; the rate is that of the cable or less, so that the sum is
/// exact. Never more than kMostCables, which no switch has ports for.
inline constexpr int kMostCables = 1 << 24;
struct Cables {
  int count = 1;
  BytesPerSecond rate;
};
Cables cables_for(BytesPerSecond demand, BytesPerSecond cable);

/// "leaf0 needs 40 + 32 = 72 ports, its switch has 64"; empty if they suffice or the switch is as large as
/// needed (radix 0).
std::string port_problem(const std::string& id, std::int64_t first, std::int64_t second, int radix);

}  // namespace orrery
