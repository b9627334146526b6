#include "models/pass_order.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

namespace orrery {
namespace {

/// Follows a schedule, stage by stage: which passes have run, which come next.
class ScheduleFollower {
 public:
  explicit ScheduleFollower(const Schedule& schedule)
      : schedule_(schedule),
        place_(schedule.placement),
        micro_batches_(static_cast<size_t>(schedule.micro_batches)),
        next_(static_cast<size_t>(place_.stages())) {
    const size_t passes = static_cast<size_t>(place_.virtual_stages()) * micro_batches_;
    forward_done_.assign(passes, 0);
    input_done_.assign(passes, 0);
  }

  /// Runs everything that can run. Sweeping the stages up and down lets a micro-batch run through all of
  /// them in one sweep. @returns whether all passes ran
  template <typename Sink>
  bool run(Sink&& ran) {
    for (bool progress = true; progress;) {
      progress = false;
      for (int sweep = 0; sweep < 2 * place_.stages(); ++sweep) {
        const int stage = sweep < place_.stages() ? sweep : 2 * place_.stages() - 1 - sweep;
        progress = advance(stage, ran) || progress;
      }
    }
    for (int stage = 0; stage < place_.stages(); ++stage) {
      if (waiting(stage) != nullptr) return false;
    }
    return true;
  }

  const SchedulePass* waiting(int stage) const {
    const auto& order = schedule_.order[static_cast<size_t>(stage)];
    const size_t next = next_[static_cast<size_t>(stage)];
    return next < order.size() ? &order[next] : nullptr;
  }

 private:
  template <typename Sink>
  bool advance(int stage, Sink&& ran) {
    const auto& order = schedule_.order[static_cast<size_t>(stage)];
    size_t& next = next_[static_cast<size_t>(stage)];
    const size_t before = next;
    while (next < order.size()) {
      const size_t together = order[next].paired && next + 1 < order.size() ? 2 : 1;
      if (!may_start(stage, order[next]) || (together == 2 && !may_start(stage, order[next + 1]))) break;
      for (size_t i = 0; i < together; ++i, ++next) {
        finish(stage, order[next]);
        ran(stage, order[next]);
      }
    }
    return next > before;
  }

  size_t slot(int virtual_stage, std::int32_t micro_batch) const {
    return static_cast<size_t>(virtual_stage) * micro_batches_ + static_cast<size_t>(micro_batch);
  }

  bool may_start(int stage, const SchedulePass& pass) const {
    const int at = place_.virtual_stage(stage, pass.chunk);
    const size_t here = slot(at, pass.micro_batch);
    switch (pass.kind) {
      case PassKind::forward:
        return place_.is_first(at) || forward_done_[here - micro_batches_] != 0;
      case PassKind::weight_gradient:
        return input_done_[here] != 0;
      default:
        return forward_done_[here] != 0 && (place_.is_last(at) || input_done_[here + micro_batches_] != 0);
    }
  }

  void finish(int stage, const SchedulePass& pass) {
    const size_t here = slot(place_.virtual_stage(stage, pass.chunk), pass.micro_batch);
    if (pass.kind == PassKind::forward) forward_done_[here] = 1;
    if (gives_input_gradient(pass.kind)) input_done_[here] = 1;
  }

  const Schedule& schedule_;
  const PipelinePlacement& place_;
  size_t micro_batches_;
  std::vector<size_t> next_;
  std::vector<char> forward_done_, input_done_;
};

std::string describe_pass(int stage, const SchedulePass& pass) {
  static constexpr std::array<const char*, 4> kNames = {"forward", "backward", "input gradient",
                                                        "weight gradient"};
  return "stage " + std::to_string(stage) + ": " + kNames[static_cast<size_t>(pass.kind)] +
         " of micro-batch " + std::to_string(pass.micro_batch) + ", chunk " + std::to_string(pass.chunk);
}

/// The first pass of a stage that is outside the schedule's ranges, missing, there twice or paired with
/// nothing that can run beside it; empty if there is none.
std::string find_irregular_pass(const Schedule& schedule, int stage) {
  const auto& order = schedule.order[static_cast<size_t>(stage)];
  const auto micro_batches = static_cast<size_t>(schedule.micro_batches);
  std::vector<std::array<int, 4>> times(static_cast<size_t>(schedule.placement.chunks()) * micro_batches);
  for (size_t i = 0; i < order.size(); ++i) {
    const SchedulePass& pass = order[i];
    if (pass.chunk < 0 || pass.chunk >= schedule.placement.chunks() || pass.micro_batch < 0 ||
        pass.micro_batch >= schedule.micro_batches) {
      return describe_pass(stage, pass) + " is not in the schedule's ranges";
    }
    auto& of_kind =
        times[static_cast<size_t>(pass.chunk) * micro_batches + static_cast<size_t>(pass.micro_batch)];
    if (++of_kind[static_cast<size_t>(pass.kind)] > 1) return describe_pass(stage, pass) + " is listed twice";
    if (pass.paired && (pass.kind != PassKind::forward || i + 1 == order.size() ||
                        order[i + 1].kind != PassKind::backward || order[i + 1].chunk == pass.chunk)) {
      return describe_pass(stage, pass) + " is not followed by a backward of another chunk to pair with";
    }
  }
  for (int chunk = 0; chunk < schedule.placement.chunks(); ++chunk) {
    for (std::int32_t i = 0; i < schedule.micro_batches; ++i) {
      const auto& found = times[static_cast<size_t>(chunk) * micro_batches + static_cast<size_t>(i)];
      const auto times_of = [&found](PassKind kind) { return found[static_cast<size_t>(kind)]; };
      const auto is = [&](PassKind kind, const char* what) {
        return describe_pass(stage, {kind, static_cast<std::int16_t>(chunk), i}) + what;
      };
      if (times_of(PassKind::forward) == 0) return is(PassKind::forward, " is missing");
      const bool split = times_of(PassKind::input_gradient) + times_of(PassKind::weight_gradient) > 0;
      if (times_of(PassKind::backward) + (split ? 1 : 0) > 1)
        return is(PassKind::backward, " is listed twice");
      if (times_of(PassKind::backward) == 1) continue;
      if (!split) return is(PassKind::backward, " is missing");
      for (const PassKind kind : {PassKind::input_gradient, PassKind::weight_gradient}) {
        if (times_of(kind) == 0) return is(kind, " is missing");
      }
    }
  }
  return {};
}

}  // namespace

std::vector<OrderedPass> execution_order(const Schedule& schedule) {
  size_t total = 0;
  for (const auto& order : schedule.order) total += order.size();
  std::vector<OrderedPass> result;
  result.reserve(total);
  const bool complete = ScheduleFollower(schedule).run([&](int stage, const SchedulePass& pass) {
    result.push_back({static_cast<std::int16_t>(stage), pass.chunk, pass.micro_batch,
                      schedule.placement.virtual_stage(stage, pass.chunk), pass.kind, pass.paired});
  });
  if (!complete) throw std::logic_error(find_deadlock(schedule));
  return result;
}

std::string find_deadlock(const Schedule& schedule) {
  const int stages = schedule.placement.stages();
  for (int stage = 0; stage < stages; ++stage) {
    std::string irregular = find_irregular_pass(schedule, stage);
    if (!irregular.empty()) return irregular;
  }
  ScheduleFollower follower(schedule);
  if (follower.run([](int, const SchedulePass&) {})) return {};
  for (int stage = 0; stage < stages; ++stage) {
    const SchedulePass* waiting = follower.waiting(stage);
    if (waiting != nullptr) return describe_pass(stage, *waiting) + " never starts";
  }
  return {};
}

}  // namespace orrery
