#include "models/schedule.hpp"

#include <algorithm>
#include <stdexcept>

namespace orrery {

namespace {

using StageOrder = std::vector<SchedulePass>;

StageOrder gpipe_order(std::int32_t micro_batches) {
  StageOrder order;
  for (std::int32_t i = 0; i < micro_batches; ++i) order.push_back({PassKind::forward, 0, i});
  for (std::int32_t i = micro_batches; i-- > 0;) order.push_back({PassKind::backward, 0, i});
  return order;
}

/// Warm-up forwards, then one forward and one backward in turn, then the backwards that are left. The k-th
/// pass of a kind is micro-batch k of chunk 0, or under interleaving the next of `stages` micro-batches of
/// one chunk before the next chunk has its turn (SC21 section 2.2; Megatron-LM,
/// megatron/core/pipeline_parallel/schedules.py).
StageOrder one_f_one_b_order(int stage, int stages, int chunks, std::int32_t micro_batches) {
  const std::int64_t total = std::int64_t{micro_batches} * chunks;
  const std::int64_t behind = stages - stage - 1;
  const std::int64_t warm_up =
      std::min(total, chunks == 1 ? behind : 2 * behind + std::int64_t{chunks - 1} * stages);
  const auto pass = [stages, chunks](PassKind kind, std::int64_t k) -> SchedulePass {
    if (chunks == 1) return {kind, 0, static_cast<std::int32_t>(k)};
    const std::int64_t round = std::int64_t{stages} * chunks;
    const std::int64_t chunk = k % round / stages;
    const std::int64_t micro_batch = k / round * stages + k % stages;
    return {kind, static_cast<std::int16_t>(kind == PassKind::forward ? chunk : chunks - 1 - chunk),
            static_cast<std::int32_t>(micro_batch)};
  };
  StageOrder order;
  order.reserve(static_cast<size_t>(2 * total));
  for (std::int64_t k = 0; k < warm_up; ++k) order.push_back(pass(PassKind::forward, k));
  for (std::int64_t k = warm_up; k < total; ++k) {
    order.push_back(pass(PassKind::forward, k));
    order.push_back(pass(PassKind::backward, k - warm_up));
  }
  for (std::int64_t k = total - warm_up; k < total; ++k) order.push_back(pass(PassKind::backward, k));
  return order;
}

/// Follows a schedule: which passes have run.
class Progress {
 public:
  explicit Progress(const Schedule& schedule)
      : schedule_(schedule),
        done_(2 * static_cast<size_t>(schedule.stages) * static_cast<size_t>(schedule.chunks) *
              static_cast<size_t>(schedule.micro_batches)),
        next_(static_cast<size_t>(schedule.stages)) {}

  /// Runs passes of a stage until one has to wait. @returns true if any ran
  bool advance(int stage) {
    const StageOrder& order = schedule_.order[static_cast<size_t>(stage)];
    size_t& next = next_[static_cast<size_t>(stage)];
    const size_t before = next;
    while (next < order.size() && may_start(stage, order[next])) {
      done_[place(stage, order[next])] = true;
      ++next;
    }
    return next > before;
  }

  const SchedulePass* waiting(int stage) const {
    const StageOrder& order = schedule_.order[static_cast<size_t>(stage)];
    const size_t next = next_[static_cast<size_t>(stage)];
    return next < order.size() ? &order[next] : nullptr;
  }

 private:
  size_t place(int stage, const SchedulePass& pass) const {
    const size_t virtual_stage =
        static_cast<size_t>(pass.chunk) * static_cast<size_t>(schedule_.stages) + static_cast<size_t>(stage);
    const size_t kind = pass.kind == PassKind::forward ? 0 : 1;
    return (virtual_stage * static_cast<size_t>(schedule_.micro_batches) +
            static_cast<size_t>(pass.micro_batch)) *
               2 +
           kind;
  }

  bool may_start(int stage, const SchedulePass& pass) const {
    const int virtual_stage = pass.chunk * schedule_.stages + stage;
    const int last = schedule_.stages * schedule_.chunks - 1;
    const auto done_at = [&](PassKind kind, int at) {
      SchedulePass other = pass;
      other.kind = kind;
      other.chunk = static_cast<std::int16_t>(at / schedule_.stages);
      return bool{done_[place(at % schedule_.stages, other)]};
    };
    if (pass.kind == PassKind::forward) {
      return virtual_stage == 0 || done_at(PassKind::forward, virtual_stage - 1);
    }
    return done_at(PassKind::forward, virtual_stage) &&
           (virtual_stage == last || done_at(PassKind::backward, virtual_stage + 1));
  }

  const Schedule& schedule_;
  std::vector<bool> done_;
  std::vector<size_t> next_;
};

std::string describe(int stage, const SchedulePass& pass) {
  return "stage " + std::to_string(stage) + ": " + (pass.kind == PassKind::forward ? "forward" : "backward") +
         " of micro-batch " + std::to_string(pass.micro_batch) + ", chunk " + std::to_string(pass.chunk);
}

/// The first pass that is outside the schedule's ranges, missing or there twice; empty if there is none.
std::string find_irregular_pass(const Schedule& schedule) {
  for (int stage = 0; stage < schedule.stages; ++stage) {
    StageOrder sorted = schedule.order[static_cast<size_t>(stage)];
    for (const SchedulePass& pass : sorted) {
      if (pass.chunk < 0 || pass.chunk >= schedule.chunks || pass.micro_batch < 0 ||
          pass.micro_batch >= schedule.micro_batches) {
        return describe(stage, pass) + " is not in the schedule's ranges";
      }
    }
    std::sort(sorted.begin(), sorted.end());
    const auto twin = std::adjacent_find(sorted.begin(), sorted.end());
    if (twin != sorted.end()) return describe(stage, *twin) + " is listed twice";
    size_t next = 0;
    for (const PassKind kind : {PassKind::forward, PassKind::backward}) {
      for (std::int16_t chunk = 0; chunk < schedule.chunks; ++chunk) {
        for (std::int32_t i = 0; i < schedule.micro_batches; ++i, ++next) {
          const SchedulePass expected{kind, chunk, i};
          if (next >= sorted.size() || sorted[next] != expected)
            return describe(stage, expected) + " is missing";
        }
      }
    }
  }
  return {};
}

}  // namespace

Schedule make_schedule(ScheduleKind kind, int stages, int chunks, std::int32_t micro_batches) {
  if (stages < 1 || chunks < 1 || micro_batches < 1) {
    throw std::invalid_argument("a schedule needs at least one stage, chunk and micro-batch");
  }
  if (kind != ScheduleKind::interleaved && chunks != 1) {
    throw std::invalid_argument("only the interleaved schedule has several chunks");
  }
  if (chunks > 1 && micro_batches % stages != 0) {
    throw std::invalid_argument("the interleaved schedule needs micro-batches in multiples of the stages");
  }
  Schedule schedule{stages, chunks, micro_batches, {}};
  for (int stage = 0; stage < stages; ++stage) {
    schedule.order.push_back(kind == ScheduleKind::gpipe
                                 ? gpipe_order(micro_batches)
                                 : one_f_one_b_order(stage, stages, chunks, micro_batches));
  }
  return schedule;
}

std::string find_deadlock(const Schedule& schedule) {
  std::string irregular = find_irregular_pass(schedule);
  if (!irregular.empty()) return irregular;
  Progress progress(schedule);
  bool moved = true;
  while (moved) {
    moved = false;
    for (int stage = 0; stage < schedule.stages; ++stage) moved = progress.advance(stage) || moved;
  }
  for (int stage = 0; stage < schedule.stages; ++stage) {
    const SchedulePass* waiting = progress.waiting(stage);
    if (waiting != nullptr) return describe(stage, *waiting) + " never starts";
  }
  return {};
}

double bubble_fraction(ScheduleKind kind, int stages, int chunks, std::int64_t micro_batches) {
  const int turns = kind == ScheduleKind::interleaved ? chunks : 1;
  return (stages - 1) / (static_cast<double>(micro_batches) * turns);
}

std::int64_t peak_in_flight(const Schedule& schedule, int stage) {
  std::int64_t held = 0;
  std::int64_t peak = 0;
  for (const SchedulePass& pass : schedule.order[static_cast<size_t>(stage)]) {
    held += pass.kind == PassKind::forward ? 1 : -1;
    peak = std::max(peak, held);
  }
  return peak;
}

}  // namespace orrery
