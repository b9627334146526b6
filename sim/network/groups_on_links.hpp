#pragma once

#include <array>
#include <vector>

#include "sim/base/quantity.hpp"

namespace orrery {

/// How the members of a group send to one another.
enum class WirePattern { ring, two_level, all_to_all, pair };
constexpr int kWirePatterns = 4;

/// The most that each rank of a group can put on the wire while all groups of its kind send, by pattern;
/// zero: nothing is known, each group has its own share of the links.
using SharedRates = std::array<BytesPerSecond, kWirePatterns>;

/// How groups meet on the links of a fabric. What a closed form asks where groups of one kind lie unevenly:
/// a NIC that serves members of two of them, or all of what one of them sends, is no matter of one group's
/// shape.
class GroupsOnLinks {
 public:
  virtual ~GroupsOnLinks() = default;
  /// @param groups  all that send at the same time, as cluster GPUs in ring order
  virtual BytesPerSecond shared_rate(const std::vector<std::vector<int>>& groups,
                                     WirePattern pattern) const = 0;
};

}  // namespace orrery
