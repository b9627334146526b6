#include "sim/engine/crowded_groups.hpp"

#include <limits>

#include "sim/engine/footprint.hpp"
#include "sim/engine/link_capacity.hpp"

namespace orrery {
namespace {

/// A communication with the pattern.
Communication with_pattern(WirePattern pattern) {
  Communication result;
  switch (pattern) {
    case WirePattern::ring:
      result.op = CollectiveOp::all_gather;
      result.algorithm = "ring";
      break;
    case WirePattern::two_level:
      result.op = CollectiveOp::all_gather;
      result.algorithm = "tree";
      break;
    case WirePattern::all_to_all:
      result.op = CollectiveOp::all_to_all;
      break;
    case WirePattern::pair:
      result.op = CollectiveOp::send_receive;
      break;
  }
  return result;
}

}  // namespace

BytesPerSecond CrowdedGroups::shared_rate(const std::vector<std::vector<int>>& groups,
                                          WirePattern pattern) const {
  FootprintBuilder builder(topology_);
  Communication together = with_pattern(pattern);
  together.groups = groups;
  BytesPerSecond least(std::numeric_limits<double>::infinity());
  for (const LinkLoad& load : builder.footprint(together)) {
    least = min(least, link_capacity(topology_, load.link) / load.weight);
  }
  return least;
}

}  // namespace orrery
