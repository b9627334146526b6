#include "models/workers.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>

namespace orrery {

namespace {

class WorkerCheck {
 public:
  WorkerCheck(const SpecReader& reader, const TrainingSpec& training, const ParallelPlan& plan)
      : reader_(reader), training_(training), plan_(plan) {}

  static std::string of_data_ranks(int data) {
    return std::to_string(data) + (data == 1 ? " number (data)" : " numbers (data)");
  }

  /// Micro-batches of which a worker's are a multiple.
  std::int64_t shard_rounding() const {
    if (plan_.schedule == ScheduleKind::interleaved) return plan_.pipeline;
    return plan_.schedule == ScheduleKind::dualpipe ? 2 : 1;
  }

  /// Shares of the batch and speeds, a number a data rank.
  void check_workers() const {
    if (!training_.data) return;
    const auto one_each = [this](std::string_view key, size_t found) {
      if (found == 0 || found == static_cast<size_t>(plan_.data)) return true;
      refuse_beside("training/data/" + std::string(key), "a list of " + std::to_string(found),
                    of_data_ranks(plan_.data));
      return false;
    };
    const bool each_has_a_shard = one_each("shards", training_.data->shards.size());
    one_each("speeds", training_.data->speeds.size());
    if (training_.sync.unbounded() && !training_.data->shards.empty()) {
      refuse_beside("training/data/shards", "a list",
                    "no shards, or a staleness, with sync \"async\": workers take batches as they are ready");
    }
    std::int64_t sum = 0;
    for (size_t i = 0; i < training_.data->shards.size(); ++i) {
      const std::int64_t shard = training_.data->shards[i];
      sum += shard;
      const std::int64_t unit = training_.micro_batch * shard_rounding();
      const std::int64_t least = plan_.schedule == ScheduleKind::dualpipe
                                     ? std::int64_t{2} * plan_.pipeline * training_.micro_batch
                                     : unit;
      if (shard % unit == 0 && shard >= least && shard / training_.micro_batch <= kMostMicroBatches) continue;
      refuse_beside("training/data/shards/" + std::to_string(i), std::to_string(shard),
                    "a multiple of " + std::to_string(unit) + " (micro_batch " +
                        std::to_string(training_.micro_batch) + " x " + std::to_string(shard_rounding()) +
                        " under this schedule) from " + std::to_string(least) + " to " +
                        std::to_string(kMostMicroBatches * training_.micro_batch));
    }
    if (each_has_a_shard && !training_.data->shards.empty() && sum != training_.global_batch) {
      refuse_beside("training/data/shards", "a sum of " + std::to_string(sum),
                    "a sum of " + std::to_string(training_.global_batch) + " (global_batch)");
    }
    if (training_.data->split == DataSplit::by_sample && plan_.context == 1) {
      refuse_beside("training/data/split", "\"by_sample\"",
                    "\"by_data\" or \"by_batch\" with context 1: samples are cut over context ranks");
    }
    if (training_.data->samples && *training_.data->samples < training_.global_batch) {
      refuse_beside("training/data/samples", std::to_string(*training_.data->samples),
                    "at least one global_batch, " + std::to_string(training_.global_batch));
    }
  }

  /// Synchronisation other than in every step: between workers that hold all their state themselves.
  void check_sync(const ModelSpec& model) const {
    const SyncSpec& sync = training_.sync;
    // Experts are other parameters on every rank of their group: who writes and averages them is not counted.
    if (model.moe && sync.kind != SyncKind::step) {
      refuse_beside("training/sync/kind", sync.kind == SyncKind::local ? "\"local\"" : "\"async\"",
                    "\"step\" with a mixture of experts");
    }
    if (model.moe && training_.checkpoint && (plan_.expert > 1 || plan_.expert_tensor != plan_.tensor)) {
      refuse(
          "expert", plan_.expert,
          "1, and expert_tensor as tensor " + std::to_string(plan_.tensor) + " beside training.checkpoint");
    }
    if (sync.kind == SyncKind::step) return;
    const std::string kind = sync.kind == SyncKind::local ? "local" : "async";
    if (plan_.data == 1) {
      refuse_beside("training/sync/kind", "\"" + kind + "\"",
                    "\"step\" with data 1: one worker has nobody to synchronise with");
      return;
    }
    if (sync.kind == SyncKind::async) {
      if (plan_.zero > 0) {
        refuse("zero", plan_.zero, "0 with sync \"async\": servers hold the optimizer's state");
      }
      if (plan_.context > 1) refuse("context", plan_.context, "1 with sync \"async\"");
      return;
    }
    const int replicas = plan_.data * plan_.context;
    if (plan_.zero == 0) return;
    if (plan_.shard_group == replicas) {
      refuse("zero", plan_.zero,
             "0 with sync \"local\", or a shard_group below data x context = " + std::to_string(replicas) +
                 ": workers keep the whole state");
    } else if (plan_.shard_group % plan_.context != 0) {
      refuse("shard_group", plan_.shard_group,
             "a multiple of context " + std::to_string(plan_.context) +
                 " with sync \"local\": a worker holds whole sequences");
    }
  }

 private:
  void refuse(std::string_view key, std::int64_t found, const std::string& expected) const {
    reader_.problems().add(reader_.pointer() + "/" + std::string(key), std::to_string(found), expected);
  }
  /// A problem of a value beside `parallel` in the experiment.
  void refuse_beside(const std::string& place, const std::string& found, const std::string& expected) const {
    const std::string parent = reader_.pointer().substr(0, reader_.pointer().find_last_of('/'));
    reader_.problems().add(parent + "/" + place, found, expected);
  }

  const SpecReader& reader_;
  const TrainingSpec& training_;
  const ParallelPlan& plan_;
};

}  // namespace

void check_workers(const SpecReader& reader, const TrainingSpec& training, const ParallelPlan& plan) {
  WorkerCheck(reader, training, plan).check_workers();
}

void check_loop(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
                const ParallelPlan& plan) {
  WorkerCheck(reader, training, plan).check_sync(model);
}

ParallelPlan::Worker ParallelPlan::pacing_worker(const TrainingSpec& training) const {
  const DataSpec* dealt = training.data ? &*training.data : nullptr;
  Worker slowest;
  double longest = 0;
  if (training.sync.unbounded() && dealt && !dealt->speeds.empty()) {
    // Nobody waits: together they do what as many workers of the mean speed would.
    slowest.micro_batches = training.global_batch / (training.micro_batch * data);
    slowest.speed = std::accumulate(dealt->speeds.begin(), dealt->speeds.end(), 0.0) / data;
    return slowest;
  }
  for (size_t worker = 0; worker < static_cast<size_t>(dealt ? data : 1); ++worker) {
    Worker one;
    one.micro_batches = dealt && !dealt->shards.empty()
                            ? dealt->shards[worker] / training.micro_batch
                            : training.global_batch / (training.micro_batch * data);
    if (dealt && !dealt->speeds.empty()) one.speed = dealt->speeds[worker];
    const double time = static_cast<double>(one.micro_batches + pipeline - 1) / one.speed;
    if (time <= longest) continue;
    longest = time;
    slowest = one;
  }
  return slowest;
}

std::int64_t ParallelPlan::largest_share(const TrainingSpec& training) const {
  if (!training.data || training.data->shards.empty()) return training.global_batch / data;
  return *std::max_element(training.data->shards.begin(), training.data->shards.end());
}

}  // namespace orrery
