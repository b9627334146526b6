#include "reports/answers/communicator_memory.hpp"

#include "models/rank_map.hpp"

namespace orrery {

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
  Bytes total;
  for (const std::vector<int>& group : groups) {
    if (group.size() > 1) total += collectives.buffer_bytes(group_shape(experiment.shape, group));
  }
  return total;
}

}  // namespace orrery
