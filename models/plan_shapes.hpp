#pragma once

#include <vector>

#include "models/parallel_plan.hpp"
#include "models/rank_map.hpp"
#include "sim/network/group_shape.hpp"

namespace orrery {

/// How the groups of a plan lie on a cluster.
///
/// All groups of a kind do the same at the same time and wait for one another, so the one that has it worst
/// sets the pace: the one that touches most scale-up domains, and among those the one with the fewest ranks
/// in one of them (tensor 6 on nodes of 8: 6, 2 + 4, 4 + 2, 6). Places repeat with the domains, so one group
/// for each place that a group can have in a domain is looked at.
///
/// What one shape cannot tell is how uneven groups meet: of tensor 3 on nodes of 8 the third group has one
/// rank alone in a node, whose NIC carries all that the other two send.
class PlanShapes {
 public:
  /// The references must outlive it.
  PlanShapes(const ClusterShape& cluster, const ParallelPlan& plan, const RankMap& map);
  GroupShape tensor() const;
  GroupShape context() const;
  GroupShape data() const;     ///< data x context ranks
  GroupShape shard() const;    ///< ZeRO shard groups
  GroupShape replica() const;  ///< across shard groups
  /// Groups of a mixture's experts: those that exchange tokens, and those that hold the same ones.
  GroupShape of_experts(Members members) const;
  /// The same coordinates on two pipeline stages.
  GroupShape stages(int from, int to) const;
  /// True if groups of one kind lie differently (tensor 3 on nodes of 8) or hold unequal numbers of ranks in
  /// the domains they touch: then their traffic meets in ways that one shape for all cannot tell.
  bool uneven() const;

 private:
  template <typename GroupOf>
  GroupShape widest(const std::vector<int>& starts, const GroupOf& group_of, int siblings = 0) const;
  std::vector<int> starts_of_shards() const;
  std::vector<int> starts_of_replicas() const;
  std::vector<int> starts_of_experts(Members members) const;
  /// Whether groups that start there differ in shape, or one holds unequal numbers of ranks in its domains.
  bool differ(const std::vector<int>& starts, Members members) const;
  const ClusterShape& cluster_;
  const ParallelPlan& plan_;
  const RankMap& map_;
};

}  // namespace orrery
