#pragma once

#include <vector>

#include "models/parallel_plan.hpp"

namespace orrery {

/// Where a GPU stands in every group.
struct RankCoordinates {
  int tensor = 0, context = 0, data = 0, pipeline = 0;
  auto operator<=>(const RankCoordinates&) const = default;
};

/// Global rank (= cluster GPU number, node by node) of coordinates and back, by the plan's `placement`.
class RankMap {
 public:
  explicit RankMap(const ParallelPlan& plan);
  int rank(const RankCoordinates& coordinates) const;
  RankCoordinates coordinates(int rank) const;
  /// Members of the group of a rank, ordered by their coordinate.
  std::vector<int> tensor_group(int rank) const;
  std::vector<int> context_group(int rank) const;
  /// Gradients are reduced over data x context: the group of size data x context, context innermost as
  /// placed.
  std::vector<int> data_group(int rank) const;
  /// ZeRO shard group (a contiguous slice of shard_group ranks of the data group) and the replicas across
  /// slices.
  std::vector<int> shard_group(int rank) const;
  std::vector<int> replica_group(int rank) const;
  /// The rank of the same tensor, context and data coordinates on another pipeline stage.
  int on_stage(int rank, int stage) const;

 private:
  int sizes_[4];  // tensor, context, data, pipeline
  int strides_[4];
  int shard_group_;
};

}  // namespace orrery
