#include "models/loop_estimate.hpp"

#include <algorithm>

namespace orrery {

double async_checkpoint_exposed(const CheckpointPlan& checkpoint, double alone_s, double write_s,
                                double step_s) {
  const auto every = static_cast<double>(checkpoint.every);
  const double left = std::max(0.0, 1.0 - every * step_s / write_s);  // of the write after the steps
  return (checkpoint.staging.base() + left * alone_s) / every;
}

int slowest_to_average(const SyncPlan& sync) {
  int slowest = -1;
  Seconds longest(-1.0);
  for (size_t stage = 0; stage < sync.average.size(); ++stage) {
    const Seconds time = sync.average[stage].time.total() + sync.outer[stage].duration;
    if (time <= longest) continue;
    longest = time;
    slowest = static_cast<int>(stage);
  }
  return slowest;
}

void add_loop(const StepPlan& plan, StepEstimate& estimate) {
  const LoopPlan& loop = *plan.loop;
  const auto add = [&estimate](BreakdownTerm term, double seconds_a_step) {
    estimate.breakdown[static_cast<size_t>(term)] += seconds_a_step;
    estimate.step_time += Seconds(seconds_a_step);
  };
  if (!loop.input.read.empty() && loop.input.prefetched && loop.input.load > estimate.step_time) {
    add(BreakdownTerm::input_exposed, (loop.input.load - estimate.step_time).base());
  }
  const double step_s = estimate.step_time.base();
  const CheckpointPlan& checkpoint = loop.checkpoint;
  if (checkpoint.every > 0) {
    add(BreakdownTerm::checkpoint_exposed,
        checkpoint.async
            ? async_checkpoint_exposed(checkpoint, checkpoint.time.base(), checkpoint.time.base(), step_s)
            : checkpoint.time.base() / static_cast<double>(checkpoint.every));
  }
  const SyncPlan& sync = loop.sync;
  if (const int stage = slowest_to_average(sync); stage >= 0) {
    const auto period = static_cast<double>(sync.period);
    const Exchange& average = sync.average[static_cast<size_t>(stage)];
    const Seconds time = average.latency() + average.transfer();
    add(BreakdownTerm::data_comm_exposed, time.base() / period);
    add(BreakdownTerm::optimizer, sync.outer[static_cast<size_t>(stage)].duration.base() / period);
    CommunicationTotal line{
        average.group, average.op, average.ranks,          average.payload,       1,
        time,          time,       average.time.algorithm, average.time.protocol, average.time.evidence};
    line.every = sync.period;
    estimate.communications.push_back(line);
  }
}

}  // namespace orrery
