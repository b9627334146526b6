#include "models/pass_order.hpp"

#include <stdexcept>

namespace orrery {

std::vector<OrderedPass> execution_order(const Schedule& schedule) {
  const auto stages = static_cast<size_t>(schedule.stages);
  const auto micro_batches = static_cast<size_t>(schedule.micro_batches);
  const size_t virtual_stages = stages * static_cast<size_t>(schedule.chunks);
  std::vector<char> forward_done(virtual_stages * micro_batches, 0);
  std::vector<char> backward_done(virtual_stages * micro_batches, 0);
  std::vector<size_t> next(stages, 0);
  size_t total = 0;
  for (const auto& order : schedule.order) total += order.size();

  std::vector<OrderedPass> result;
  result.reserve(total);
  // Sweeping the stages up and down lets a micro-batch run through all of them in one sweep.
  for (bool progress = true; result.size() < total;) {
    if (!progress) throw std::logic_error(find_deadlock(schedule));
    progress = false;
    for (size_t sweep = 0; sweep < 2 * stages; ++sweep) {
      const size_t stage = sweep < stages ? sweep : 2 * stages - 1 - sweep;
      const auto& order = schedule.order[stage];
      while (next[stage] < order.size()) {
        const SchedulePass& pass = order[next[stage]];
        const size_t virtual_stage = static_cast<size_t>(pass.chunk) * stages + stage;
        const auto micro_batch = static_cast<size_t>(pass.micro_batch);
        const size_t here = virtual_stage * micro_batches + micro_batch;
        if (pass.kind == PassKind::forward) {
          if (virtual_stage > 0 && !forward_done[here - micro_batches]) break;
          forward_done[here] = 1;
        } else {
          if (!forward_done[here]) break;
          if (virtual_stage + 1 < virtual_stages && !backward_done[here + micro_batches]) break;
          backward_done[here] = 1;
        }
        result.push_back({static_cast<std::int16_t>(stage), pass.chunk, pass.micro_batch, pass.kind});
        ++next[stage];
        progress = true;
      }
    }
  }
  return result;
}

}  // namespace orrery
