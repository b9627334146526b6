#include "models/rank_map.hpp"

#include <algorithm>
#include <array>
#include <iterator>
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
      stage_strides_{1, 1, 1},
      expert_{plan.expert, 0},
      expert_tensor_{plan.expert_tensor, 0},
      expert_data_{plan.expert_data(), 0},
      shard_group_(plan.shard_group > 0 ? plan.shard_group : plan.data * plan.context),
      expert_shard_group_(plan.expert_shards()) {
  int stride = 1;
  int stage_stride = 1;
  int expert_stride = 1;
  const auto place = [&expert_stride](ExpertDimension& dimension) {
    if (dimension.stride != 0) return;
    dimension.stride = expert_stride;
    expert_stride *= dimension.size;
  };
  for (const std::string& name : plan.placement) {
    if (name == "expert") {
      if (expert_.stride != 0) throw std::invalid_argument("placement names expert twice");
      place(expert_);
      continue;
    }
    const auto found = std::find(kDimensions.begin(), kDimensions.end(), name);
    if (found == kDimensions.end()) throw std::invalid_argument("placement names an unknown group " + name);
    const auto dimension = static_cast<size_t>(found - kDimensions.begin());
    if (strides_[dimension] != 0) throw std::invalid_argument("placement names " + name + " twice");
    strides_[dimension] = stride;
    stride *= sizes_[dimension];
    if (dimension == kPipeline) continue;
    stage_strides_[dimension] = stage_stride;
    stage_stride *= sizes_[dimension];
    if (dimension == kTensor) place(expert_tensor_);
    if (dimension != kData) continue;
    // A placement without experts has them just inside data.
    if (std::find(plan.placement.begin(), plan.placement.end(), "expert") == plan.placement.end())
      place(expert_);
    place(expert_data_);
  }
  if (std::count(std::begin(strides_), std::end(strides_), 0) > 0) {
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

std::vector<int> RankMap::slice_of(const std::vector<int>& group, int rank, int size) {
  const auto place = std::lower_bound(group.begin(), group.end(), rank) - group.begin();
  const auto first = group.begin() + place / size * size;
  return {first, first + size};
}

std::vector<int> RankMap::across_slices(const std::vector<int>& group, int rank, int size) {
  const auto place = static_cast<size_t>(std::lower_bound(group.begin(), group.end(), rank) - group.begin());
  const auto slice = static_cast<size_t>(size);
  std::vector<int> replicas;
  for (size_t member = place % slice; member < group.size(); member += slice)
    replicas.push_back(group[member]);
  return replicas;
}

std::vector<int> RankMap::shard_group(int rank) const {
  return slice_of(data_group(rank), rank, shard_group_);
}

std::vector<int> RankMap::replica_group(int rank) const {
  return across_slices(data_group(rank), rank, shard_group_);
}

int RankMap::place_in_stage(const RankCoordinates& coordinates) const {
  return coordinates.tensor * stage_strides_[kTensor] + coordinates.context * stage_strides_[kContext] +
         coordinates.data * stage_strides_[kData];
}

int RankMap::rank_at_place(int place, int pipeline) const {
  const auto along = [this, place](Dimension dimension) {
    return place / stage_strides_[dimension] % sizes_[dimension];
  };
  return rank({along(kTensor), along(kContext), along(kData), pipeline});
}

std::vector<int> RankMap::expert_ranks(int rank, const std::vector<ExpertDimension>& along) const {
  const RankCoordinates here = coordinates(rank);
  const int place = place_in_stage(here);
  std::vector<int> places = {place};
  for (const ExpertDimension& dimension : along) {
    std::vector<int> more;
    for (const int from : places) {
      const int origin = from - dimension.of(from) * dimension.stride;
      for (int i = 0; i < dimension.size; ++i) more.push_back(origin + i * dimension.stride);
    }
    places = std::move(more);
  }
  std::vector<int> ranks;
  ranks.reserve(places.size());
  for (const int each : places) ranks.push_back(rank_at_place(each, here.pipeline));
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

std::vector<int> RankMap::expert_group(int rank) const { return expert_ranks(rank, {expert_}); }

std::vector<int> RankMap::expert_tensor_group(int rank) const { return expert_ranks(rank, {expert_tensor_}); }

std::vector<int> RankMap::tensor_and_expert_group(int rank) const {
  return expert_ranks(rank, {expert_tensor_, expert_});
}

std::vector<int> RankMap::expert_data_group(int rank) const { return expert_ranks(rank, {expert_data_}); }

std::vector<int> RankMap::expert_shard_group(int rank) const {
  return slice_of(expert_data_group(rank), rank, expert_shard_group_);
}

std::vector<int> RankMap::expert_replica_group(int rank) const {
  return across_slices(expert_data_group(rank), rank, expert_shard_group_);
}

std::vector<int> RankMap::group(Members members, int rank) const {
  switch (members) {
    case Members::data:
      return data_group(rank);
    case Members::shard:
      return shard_group(rank);
    case Members::replica:
      return replica_group(rank);
    case Members::tensor:
      return tensor_group(rank);
    case Members::context:
      return context_group(rank);
    case Members::expert:
      return expert_group(rank);
    case Members::expert_tensor:
      return expert_tensor_group(rank);
    case Members::tensor_and_expert:
      return tensor_and_expert_group(rank);
    case Members::expert_data:
      return expert_data_group(rank);
    case Members::expert_shard:
      return expert_shard_group(rank);
    case Members::expert_replica:
      return expert_replica_group(rank);
    case Members::self:
      return {rank};
    case Members::stages:
      break;
  }
  throw std::invalid_argument("two stages are no group of one rank");
}

std::vector<int> RankMap::places(std::initializer_list<Along> group, int period) const {
  const auto of_group = [&group](int dimension) {
    return std::find(group.begin(), group.end(), static_cast<Along>(dimension)) != group.end();
  };
  std::vector<int> starts = {0};
  std::vector<bool> seen(static_cast<size_t>(period), false);
  seen[0] = true;
  for (int dimension = 0; dimension < 4; ++dimension) {
    if (of_group(dimension) || sizes_[dimension] == 1) continue;
    const int block = strides_[dimension] * sizes_[dimension];
    const bool inside_blocks = period % block == 0 && [&] {
      for (int other = 0; other < 4; ++other) {
        if (other != dimension && sizes_[other] > 1 && strides_[other] % block != 0) return false;
      }
      return true;
    }();
    if (inside_blocks) continue;
    const size_t known = starts.size();
    for (size_t i = 0; i < known; ++i) {
      // After `period` steps the places repeat.
      for (int step = 1; step < std::min(sizes_[dimension], period); ++step) {
        const int start = starts[i] + step * strides_[dimension];
        const auto place = static_cast<size_t>(start % period);
        if (!seen[place]) starts.push_back(start);
        seen[place] = true;
      }
    }
  }
  return starts;
}

int RankMap::on_stage(int rank, int stage) const {
  RankCoordinates moved = coordinates(rank);
  moved.pipeline = stage;
  return this->rank(moved);
}

}  // namespace orrery
