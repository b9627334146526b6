#include "topologies/port_counts.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {

Cables cables_for(BytesPerSecond demand, BytesPerSecond cable) {
  // The tolerance keeps 32.000000001 cables from becoming 33.
  const double needed = std::ceil(demand / cable - 1e-9);
  const int count = std::max(1, static_cast<int>(std::min<double>(needed, kMostCables)));
  return {count, demand / count};
}

std::string port_problem(const std::string& id, std::int64_t first, std::int64_t second, int radix) {
  if (radix == 0 || first + second <= radix) return {};
  return id + " needs " + std::to_string(first) + " + " + std::to_string(second) + " = " +
         std::to_string(first + second) + " ports (below and beside or above), its switch has " +
         std::to_string(radix);
}

}  // namespace orrery
