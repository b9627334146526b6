#pragma once

#include "sim/network/groups_on_links.hpp"
#include "sim/network/topology.hpp"

namespace orrery {

/// Groups on the links of a topology, by the footprints that the engine gives their communications.
class CrowdedGroups : public GroupsOnLinks {
 public:
  explicit CrowdedGroups(Topology topology) : topology_(std::move(topology)) {}
  BytesPerSecond shared_rate(const std::vector<std::vector<int>>& groups, WirePattern pattern) const override;

 private:
  Topology topology_;
};

}  // namespace orrery
