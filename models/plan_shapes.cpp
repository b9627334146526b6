#include "models/plan_shapes.hpp"

#include <algorithm>
#include <array>

namespace orrery {

PlanShapes::PlanShapes(const ClusterShape& cluster, const ParallelPlan& plan, const RankMap& map)
    : cluster_(cluster), plan_(plan), map_(map) {}

template <typename GroupOf>
GroupShape PlanShapes::widest(const std::vector<int>& starts, const GroupOf& group_of) const {
  GroupShape widest = group_shape(cluster_, group_of(starts.front()));
  for (size_t i = 1; i < starts.size(); ++i) {
    const GroupShape shape = group_shape(cluster_, group_of(starts[i]));
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

GroupShape PlanShapes::shard() const {
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
  return widest(starts, [this](int rank) { return map_.shard_group(rank); });
}

GroupShape PlanShapes::replica() const {
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
  return widest(starts, [this](int rank) { return map_.replica_group(rank); });
}

GroupShape PlanShapes::of_experts(Members members) const {
  // Expert ranks are cut out of tensor x context x data of a stage: their places are found by looking.
  std::vector<int> starts = {0};
  const auto ranks = static_cast<int>(map_.group(members, 0).size());
  const int gpus = ranks <= 1 ? 1 : std::min(plan_.gpus(), ranks * cluster_.gpus_per_domain);
  for (int rank = 1; rank < gpus && cluster_.gpus_per_domain % ranks != 0; ++rank) {
    if (map_.group(members, rank).front() == rank) starts.push_back(rank);
  }
  return widest(starts, [&](int rank) { return map_.group(members, rank); });
}

GroupShape PlanShapes::stages(int from, int to) const {
  return widest(map_.places({RankMap::Along::pipeline}, cluster_.gpus_per_domain), [&](int rank) {
    return std::array<int, 2>{map_.on_stage(rank, from), map_.on_stage(rank, to)};
  });
}

bool PlanShapes::uneven() const {
  const int period = cluster_.gpus_per_domain;
  const auto differ = [this](const std::vector<int>& starts, const auto& group_of) {
    const GroupShape first = group_shape(cluster_, group_of(starts.front()));
    if (first.fewest_ranks_per_domain > 0) return true;
    return std::any_of(starts.begin(), starts.end(), [&](int start) {
      const GroupShape shape = group_shape(cluster_, group_of(start));
      return shape.fewest_ranks_per_domain > 0 || shape.domains != first.domains ||
             shape.ranks_per_domain != first.ranks_per_domain;
    });
  };
  using Along = RankMap::Along;
  if (differ(map_.places({Along::tensor}, period), [this](int rank) { return map_.tensor_group(rank); }) ||
      differ(map_.places({Along::context}, period), [this](int rank) { return map_.context_group(rank); }) ||
      differ(map_.places({Along::data, Along::context}, period),
             [this](int rank) { return map_.data_group(rank); })) {
    return true;
  }
  // Shard groups and replicas are slices of the data groups.
  return plan_.zero > 0 && (shard().fewest_ranks_per_domain > 0 || replica().fewest_ranks_per_domain > 0);
}

}  // namespace orrery
