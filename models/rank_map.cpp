#include "models/rank_map.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

namespace orrery {

namespace {

enum Dimension { kTensor, kContext, kData, kPipeline };
constexpr std::array<std::string_view, 4> kDimensions = {"tensor", "context", "data", "pipeline"};

}  // namespace

RankMap::RankMap(const ParallelPlan& plan)
    : sizes_{plan.tensor, plan.context, plan.data, plan.pipeline},
      strides_{0, 0, 0, 0},
      shard_group_(plan.shard_group > 0 ? plan.shard_group : plan.data * plan.context) {
  int stride = 1;
  for (const std::string& name : plan.placement) {
    const auto found = std::find(kDimensions.begin(), kDimensions.end(), name);
    if (found == kDimensions.end()) throw std::invalid_argument("placement names an unknown group " + name);
    const auto dimension = static_cast<size_t>(found - kDimensions.begin());
    if (strides_[dimension] != 0) throw std::invalid_argument("placement names " + name + " twice");
    strides_[dimension] = stride;
    stride *= sizes_[dimension];
  }
  if (plan.placement.size() != kDimensions.size()) {
    throw std::invalid_argument("placement is no permutation of tensor, context, data, pipeline");
  }
}

int RankMap::rank(const RankCoordinates& coordinates) const {
  return coordinates.tensor * strides_[kTensor] + coordinates.context * strides_[kContext] +
         coordinates.data * strides_[kData] + coordinates.pipeline * strides_[kPipeline];
}

RankCoordinates RankMap::coordinates(int rank) const {
  const auto along = [this, rank](Dimension dimension) {
    return rank / strides_[dimension] % sizes_[dimension];
  };
  return {along(kTensor), along(kContext), along(kData), along(kPipeline)};
}

std::vector<int> RankMap::tensor_group(int rank) const {
  RankCoordinates member = coordinates(rank);
  std::vector<int> group;
  for (member.tensor = 0; member.tensor < sizes_[kTensor]; ++member.tensor)
    group.push_back(this->rank(member));
  return group;
}

std::vector<int> RankMap::context_group(int rank) const {
  RankCoordinates member = coordinates(rank);
  std::vector<int> group;
  for (member.context = 0; member.context < sizes_[kContext]; ++member.context) {
    group.push_back(this->rank(member));
  }
  return group;
}

std::vector<int> RankMap::data_group(int rank) const {
  RankCoordinates member = coordinates(rank);
  std::vector<int> group;
  for (member.data = 0; member.data < sizes_[kData]; ++member.data) {
    for (member.context = 0; member.context < sizes_[kContext]; ++member.context) {
      group.push_back(this->rank(member));
    }
  }
  // Whichever of data and context the placement has further inside varies fastest.
  std::sort(group.begin(), group.end());
  return group;
}

std::vector<int> RankMap::shard_group(int rank) const {
  const std::vector<int> group = data_group(rank);
  const auto place = std::lower_bound(group.begin(), group.end(), rank) - group.begin();
  const auto first = group.begin() + place / shard_group_ * shard_group_;
  return {first, first + shard_group_};
}

std::vector<int> RankMap::replica_group(int rank) const {
  const std::vector<int> group = data_group(rank);
  const auto place = static_cast<size_t>(std::lower_bound(group.begin(), group.end(), rank) - group.begin());
  const auto slice = static_cast<size_t>(shard_group_);
  std::vector<int> replicas;
  for (size_t member = place % slice; member < group.size(); member += slice)
    replicas.push_back(group[member]);
  return replicas;
}

int RankMap::on_stage(int rank, int stage) const {
  RankCoordinates moved = coordinates(rank);
  moved.pipeline = stage;
  return this->rank(moved);
}

}  // namespace orrery
