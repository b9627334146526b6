#include "models/plan_shapes.hpp"

#include <algorithm>
#include <array>

namespace orrery {

PlanShapes::PlanShapes(const ClusterShape& cluster, const ParallelPlan& plan, const RankMap& map)
    : cluster_(cluster), plan_(plan), map_(map) {}

template <typename GroupOf>
GroupShape PlanShapes::widest(const std::vector<int>& starts, const GroupOf& group_of, int siblings) const {
  GroupShape widest = group_shape(cluster_, group_of(starts.front()), siblings);
  for (size_t i = 1; i < starts.size(); ++i) {
    const GroupShape shape = group_shape(cluster_, group_of(starts[i]), siblings);
    if (shape.domains > widest.domains ||
        (shape.domains == widest.domains && shape.narrowest_domain() < widest.narrowest_domain())) {
      widest = shape;
    }
  }
  return widest;
}

GroupShape PlanShapes::tensor() const {
  return widest(map_.places({RankMap::Along::tensor}, cluster_.gpus_per_domain),
                [this](int rank) { return map_.tensor_group(rank); });
}

GroupShape PlanShapes::context() const {
  return widest(map_.places({RankMap::Along::context}, cluster_.gpus_per_domain),
                [this](int rank) { return map_.context_group(rank); });
}

GroupShape PlanShapes::data() const {
  return widest(map_.places({RankMap::Along::data, RankMap::Along::context}, cluster_.gpus_per_domain),
                [this](int rank) { return map_.data_group(rank); });
}

std::vector<int> PlanShapes::starts_of_shards() const {
  std::vector<int> starts;
  std::vector<bool> seen(static_cast<size_t>(cluster_.gpus_per_domain), false);
  for (const int start :
       map_.places({RankMap::Along::data, RankMap::Along::context}, cluster_.gpus_per_domain)) {
    const std::vector<int> group = map_.data_group(start);
    for (size_t slice = 0; slice < group.size(); slice += static_cast<size_t>(plan_.shard_group)) {
      const auto place = static_cast<size_t>(group[slice] % cluster_.gpus_per_domain);
      if (!seen[place]) starts.push_back(group[slice]);
      seen[place] = true;
    }
  }
  return starts;
}

std::vector<int> PlanShapes::starts_of_replicas() const {
  std::vector<int> starts;
  std::vector<bool> seen(static_cast<size_t>(cluster_.gpus_per_domain), false);
  for (const int start :
       map_.places({RankMap::Along::data, RankMap::Along::context}, cluster_.gpus_per_domain)) {
    const std::vector<int> group = map_.data_group(start);
    for (size_t member = 0; member < static_cast<size_t>(plan_.shard_group); ++member) {
      const auto place = static_cast<size_t>(group[member] % cluster_.gpus_per_domain);
      if (!seen[place]) starts.push_back(group[member]);
      seen[place] = true;
    }
  }
  return starts;
}

GroupShape PlanShapes::shard() const {
  return widest(starts_of_shards(), [this](int rank) { return map_.shard_group(rank); });
}

GroupShape PlanShapes::replica() const {
  return widest(starts_of_replicas(), [this](int rank) { return map_.replica_group(rank); });
}

/// Expert ranks are cut out of tensor x context x data of a stage: their places are found by looking.
std::vector<int> PlanShapes::starts_of_experts(Members members) const {
  std::vector<int> starts;
  std::vector<bool> grouped(static_cast<size_t>(plan_.gpus()), false);
  std::vector<bool> seen(static_cast<size_t>(cluster_.gpus_per_domain), false);
  size_t places = 0;
  for (int rank = 0; rank < plan_.gpus() && places < seen.size(); ++rank) {
    if (grouped[static_cast<size_t>(rank)]) continue;
    for (const int member : map_.group(members, rank)) grouped[static_cast<size_t>(member)] = true;
    const auto place = static_cast<size_t>(rank % cluster_.gpus_per_domain);
    if (seen[place]) continue;
    seen[place] = true;
    ++places;
    starts.push_back(rank);
  }
  return starts;
}

GroupShape PlanShapes::of_experts(Members members) const {
  return widest(starts_of_experts(members), [&](int rank) { return map_.group(members, rank); });
}

GroupShape PlanShapes::stages(int from, int to) const {
  const auto pair_of = [&](int rank) {
    return std::array<int, 2>{map_.on_stage(rank, from), map_.on_stage(rank, to)};
  };
  // The pair may lie several stages apart: what lies side by side are the ranks within one of them.
  const int side_by_side = plan_.pipeline > 1 ? map_.on_stage(0, 1) - map_.on_stage(0, 0) : 1;
  return widest(map_.places({RankMap::Along::pipeline}, cluster_.gpus_per_domain), pair_of,
                std::max(1, side_by_side / cluster_.gpus_per_node));
}

bool PlanShapes::differ(const std::vector<int>& starts, Members members) const {
  const GroupShape first = group_shape(cluster_, map_.group(members, starts.front()));
  if (first.fewest_ranks_per_domain > 0) return true;
  return std::any_of(starts.begin(), starts.end(), [&](int start) {
    const GroupShape shape = group_shape(cluster_, map_.group(members, start));
    return shape.fewest_ranks_per_domain > 0 || shape.domains != first.domains ||
           shape.ranks_per_domain != first.ranks_per_domain;
  });
}

bool PlanShapes::uneven() const {
  const int period = cluster_.gpus_per_domain;
  using Along = RankMap::Along;
  if (differ(map_.places({Along::tensor}, period), Members::tensor) ||
      differ(map_.places({Along::context}, period), Members::context) ||
      differ(map_.places({Along::data, Along::context}, period), Members::data)) {
    return true;
  }
  // Shard groups and replicas are slices of the data groups.
  if (plan_.zero > 0 &&
      (differ(starts_of_shards(), Members::shard) || differ(starts_of_replicas(), Members::replica))) {
    return true;
  }
  if (plan_.expert == 1 && plan_.expert_tensor == 1) return false;
  for (const Members members :
       {Members::expert, Members::expert_tensor, Members::tensor_and_expert, Members::expert_data}) {
    if (differ(starts_of_experts(members), members)) return true;
  }
  if (plan_.zero == 0) return false;
  return differ(starts_of_experts(Members::expert_shard), Members::expert_shard) ||
         differ(starts_of_experts(Members::expert_replica), Members::expert_replica);
}

}  // namespace orrery
