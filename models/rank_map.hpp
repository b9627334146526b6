#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "models/parallel_plan.hpp"

namespace orrery {

/// Which ranks a communication joins.
enum class Members : std::uint8_t {
  data,               ///< data x context ranks that hold the same parameters
  shard,              ///< ZeRO shard group (a slice of the data group under HSDP)
  replica,            ///< across shard groups
  stages,             ///< the same coordinates on two pipeline stages
  tensor,             ///< tensor group
  context,            ///< context group
  expert,             ///< ranks that hold different experts, or different slices of the same tokens
  expert_tensor,      ///< ranks that hold slices of the same experts
  tensor_and_expert,  ///< both of them together
  expert_data,        ///< ranks that hold the same slices of the same experts
  expert_shard,       ///< as shard, of the expert_data group
  expert_replica,     ///< as replica, of the expert_data group
  self,               ///< each rank alone
};

/// Where a GPU stands in every group.
struct RankCoordinates {
  int tensor = 0, context = 0, data = 0, pipeline = 0;
  auto operator<=>(const RankCoordinates&) const = default;
};

/// Global rank (= cluster GPU number, node by node) of coordinates and back, by the plan's `placement`.
///
/// The ranks of a stage are divided a second time for the experts: into expert_tensor x expert x expert data
/// ranks, by the same placement (expert tensor ranks where it says tensor, expert data ranks where it says
/// data). Source: Megatron-core's parallel_state, initialize_model_parallel: a rank generator for the dense
/// parts and one for the experts, over the same order of names.
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
  std::vector<int> expert_group(int rank) const;
  std::vector<int> expert_tensor_group(int rank) const;
  std::vector<int> tensor_and_expert_group(int rank) const;
  /// Gradients of experts are reduced over it.
  std::vector<int> expert_data_group(int rank) const;
  /// As many slices as the data group has shard groups, and the ranks across them.
  std::vector<int> expert_shard_group(int rank) const;
  std::vector<int> expert_replica_group(int rank) const;
  /// The group of a kind. @throws std::invalid_argument for Members::stages, which is a pair
  std::vector<int> group(Members members, int rank) const;
  enum class Along { tensor, context, data, pipeline };
  /// First ranks of groups whose members differ in these coordinates: one for each place that such a group
  /// can have within `period` GPUs (a node, a domain), rank 0 first. What starts a whole number of periods
  /// later lies alike, and so does what moves inside blocks of GPUs that divide a period and that every
  /// member of the group has whole.
  std::vector<int> places(std::initializer_list<Along> group, int period) const;
  /// The rank of the same tensor, context and data coordinates on another pipeline stage.
  int on_stage(int rank, int stage) const;

 private:
  /// Sizes, and strides in the number of a rank within its stage.
  struct ExpertDimension {
    int size = 1, stride = 1;
    int of(int place) const { return place / stride % size; }
  };
  int place_in_stage(const RankCoordinates& coordinates) const;
  int rank_at_place(int place, int pipeline) const;
  /// Ranks of the stage that differ in these dimensions alone, ascending.
  std::vector<int> expert_ranks(int rank, const std::vector<ExpertDimension>& along) const;
  static std::vector<int> slice_of(const std::vector<int>& group, int rank, int size);
  static std::vector<int> across_slices(const std::vector<int>& group, int rank, int size);

  int sizes_[4];  // tensor, context, data, pipeline
  int strides_[4];
  int stage_strides_[3];  // tensor, context, data among the ranks of a stage
  ExpertDimension expert_, expert_tensor_, expert_data_;
  int shard_group_;
  int expert_shard_group_;
};

}  // namespace orrery
