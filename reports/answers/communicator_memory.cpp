#include "reports/answers/communicator_memory.hpp"

#include "models/rank_map.hpp"

namespace orrery {
namespace {

/// First and last rank of a group of rank 0: what its communicator's memory depends on.
std::vector<int> ends_of(FurtherGroup group, const ParallelPlan& plan, const RankMap& ranks) {
  const std::vector<int> tensor = ranks.tensor_group(0);
  const int last_stage = plan.pipeline - 1;
  switch (group) {
    case FurtherGroup::world:
      return {0, plan.gpus() - 1};
    case FurtherGroup::model:
      return {0, ranks.on_stage(tensor.back(), last_stage)};
    case FurtherGroup::tensor:
      return {0, tensor.back()};
    case FurtherGroup::pipeline:
    case FurtherGroup::ends:
      break;
  }
  return {0, ranks.on_stage(0, last_stage)};
}

}  // namespace

Bytes communicator_memory(const Experiment& experiment, const CollectiveModel& collectives) {
  const ParallelPlan& plan = experiment.parallel;
  const RankMap ranks(plan);
  std::vector<std::vector<int>> groups = {ranks.tensor_group(0), ranks.context_group(0), ranks.data_group(0)};
  if (experiment.model.moe) {
    // The kernels of other dispatchers keep buffers of their own, not NCCL's.
    const bool collectives_move_tokens = experiment.software.moe_dispatcher == MoeDispatcher::all_to_all;
    if (collectives_move_tokens) groups.push_back(ranks.expert_group(0));
    groups.push_back(ranks.expert_tensor_group(0));
    groups.push_back(ranks.expert_data_group(0));
  }
  if (plan.pipeline > 1) groups.push_back({0, ranks.on_stage(0, 1)});
  for (const FurtherGroup group : experiment.software.communicators) {
    const std::vector<int> ends = ends_of(group, plan, ranks);
    if (ends.front() != ends.back()) groups.push_back(ends);
  }
  Bytes total;
  for (const std::vector<int>& group : groups) {
    if (group.size() > 1) total += collectives.buffer_bytes(group_shape(experiment.shape, group));
  }
  return total;
}

}  // namespace orrery
