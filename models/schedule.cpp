#include "models/schedule.hpp"

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <utility>

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

/// 1F1B whose weight gradients wait: stage s does those of micro-batch i after the input gradients of i + s,
/// so that every stage holds p micro-batches, input gradients reach the first stage W earlier a stage, and
/// what waited fills the end (Qi et al. 2023, section 2.3.1 and figure 2).
StageOrder zero_bubble_h1_order(int stage, int stages, std::int32_t micro_batches) {
  StageOrder order;
  order.reserve(3 * static_cast<size_t>(micro_batches));
  std::int32_t forwards = 0;
  std::int32_t weights = 0;
  const auto forward = [&] {
    if (forwards < micro_batches) order.push_back({PassKind::forward, 0, forwards++});
  };
  for (int i = 0; i < stages - stage; ++i) forward();
  for (std::int32_t i = 0; i < micro_batches; ++i) {
    order.push_back({PassKind::input_gradient, 0, i});
    if (i >= stage) order.push_back({PassKind::weight_gradient, 0, weights++});
    forward();
  }
  while (weights < micro_batches) order.push_back({PassKind::weight_gradient, 0, weights++});
  return order;
}

/// Order of a stage with two chunks, appended to micro-batch by micro-batch; every pass takes the next
/// micro-batch of its kind and chunk.
class TwoChunkOrder {
 public:
  void forward(int chunk, bool paired = false) {
    append(PassKind::forward, chunk, forwards_[at(chunk)]++, paired);
  }
  void backward(int chunk) { append(PassKind::backward, chunk, backwards_[at(chunk)]++); }
  /// The input gradients; the weight gradients wait their turn.
  void input_gradient(int chunk) {
    waiting_.emplace_back(chunk, backwards_[at(chunk)]);
    append(PassKind::input_gradient, chunk, backwards_[at(chunk)]++);
  }
  /// The weight gradients that have waited longest, of any chunk or of this one.
  void weight_gradient() { weight_gradient_of(waiting_.begin()); }
  void weight_gradient(int chunk) {
    weight_gradient_of(std::find_if(waiting_.begin(), waiting_.end(),
                                    [chunk](const auto& waiting) { return waiting.first == chunk; }));
  }
  bool weights_wait(int chunk) const {
    return std::any_of(waiting_.begin(), waiting_.end(),
                       [chunk](const auto& waiting) { return waiting.first == chunk; });
  }
  std::int32_t forwards(int chunk) const { return forwards_[at(chunk)]; }
  StageOrder take() { return std::move(order_); }

 private:
  using Waiting = std::deque<std::pair<int, std::int32_t>>;
  static size_t at(int chunk) { return static_cast<size_t>(chunk); }
  void append(PassKind kind, int chunk, std::int32_t micro_batch, bool paired = false) {
    order_.push_back({kind, static_cast<std::int16_t>(chunk), micro_batch, paired});
  }
  void weight_gradient_of(const Waiting::iterator& waiting) {
    append(PassKind::weight_gradient, waiting->first, waiting->second);
    waiting_.erase(waiting);
  }

  StageOrder order_;
  std::int32_t forwards_[2] = {0, 0};
  std::int32_t backwards_[2] = {0, 0};
  Waiting waiting_;
};

/// Qi et al. 2023, section 6 and figure 5: warm-up fills the V, then every micro-batch is a forward, an input
/// and a weight gradient of either chunk; at the end weight gradients fill what would be bubble. Made for as
/// many micro-batches as fill the V; fewer leave their places empty.
StageOrder zero_bubble_v_order(int stage, int stages, std::int32_t micro_batches) {
  const std::int32_t filled = std::max(2 * stages - 1, micro_batches);
  TwoChunkOrder order;
  const auto backward = [&order](int chunk) {
    order.input_gradient(chunk);
    order.weight_gradient(chunk);
  };
  for (int i = 0; i < 2 * (stages - stage) - 1; ++i) order.forward(0);
  for (int i = 0; i < stage; ++i) {
    order.forward(1);
    order.forward(0);
  }
  for (int i = 0; i < stages - stage; ++i) {
    order.forward(1);
    backward(1);
  }
  while (order.forwards(1) < filled) {
    if (order.forwards(0) < filled) order.forward(0);
    backward(0);
    order.forward(1);
    backward(1);
  }
  for (int i = 0; i < stage; ++i) {
    order.input_gradient(0);
    order.input_gradient(1);
  }
  for (int i = 0; i < stages - stage; ++i) backward(0);
  while (order.weights_wait(1)) order.weight_gradient(1);
  while (order.weights_wait(0)) order.weight_gradient(0);
  StageOrder passes = order.take();
  passes.erase(
      std::remove_if(passes.begin(), passes.end(),
                     [micro_batches](const SchedulePass& pass) { return pass.micro_batch >= micro_batches; }),
      passes.end());
  return passes;
}

/// DeepSeek-V3, figure 5, in the eight stretches of the DualPipe repository's description. The rank's near
/// chain enters the pipeline on its half, the far chain on the other.
StageOrder dualpipe_order(int stage, int stages, std::int32_t micro_batches) {
  const int half = stages / 2;
  const int from_end = std::min(stage, stages - 1 - stage);
  const int to_middle = half - 1 - from_end;
  const int near = stage < half ? 0 : 1;
  const int far = 1 - near;
  TwoChunkOrder order;
  const auto pair = [&order](int forward, int backward) {
    order.forward(forward, true);
    order.backward(backward);
  };
  for (int i = 0; i < 2 * to_middle; ++i) order.forward(near);
  for (int i = 0; i < from_end + 1; ++i) {
    order.forward(near);
    order.forward(far);
  }
  for (int i = 0; i < to_middle; ++i) {
    order.input_gradient(far);
    order.weight_gradient();
    order.forward(far);
  }
  const std::int32_t rounds = micro_batches / 2 - stages + from_end + 1;
  for (std::int32_t i = 0; i < rounds; ++i) {
    if (i == 0 && to_middle == 0) {
      // The middle ranks run their first two one after the other: the input gradients leave earlier.
      order.forward(near);
      order.backward(far);
    } else {
      pair(near, far);
    }
    pair(far, near);
  }
  for (int i = 0; i < to_middle; ++i) {
    order.backward(far);
    pair(far, near);
  }
  // From here on weight gradients wait until nothing else is left to do.
  const int last = from_end + 1;
  for (int i = 0; i < last; ++i) {
    const auto backward = [&](int chunk, bool splits) {
      if (splits) {
        order.input_gradient(chunk);
      } else {
        order.backward(chunk);
      }
    };
    const bool odd = from_end % 2 == 1;
    backward(far, i > last / 2 || (i == last / 2 && odd));
    backward(near, i >= last / 2);
  }
  for (int i = 0; i < to_middle; ++i) {
    order.weight_gradient();
    order.input_gradient(near);
  }
  while (order.weights_wait(near) || order.weights_wait(far)) order.weight_gradient();
  return order.take();
}

void require_defined(ScheduleKind kind, int stages, int interleave, std::int32_t micro_batches) {
  if (stages < 1 || interleave < 1 || micro_batches < 1) {
    throw std::invalid_argument("a schedule needs at least one stage, chunk and micro-batch");
  }
  if (kind == ScheduleKind::zero_bubble_v && interleave != 2) {
    throw std::invalid_argument("the ZB-V schedule has two chunks");
  }
  if (kind != ScheduleKind::interleaved && kind != ScheduleKind::zero_bubble_v && interleave != 1) {
    throw std::invalid_argument("only the interleaved schedule has several chunks");
  }
  if (kind == ScheduleKind::interleaved && interleave > 1 && micro_batches % stages != 0) {
    throw std::invalid_argument("the interleaved schedule needs micro-batches in multiples of the stages");
  }
  if (kind == ScheduleKind::dualpipe &&
      (stages % 2 != 0 || micro_batches % 2 != 0 || micro_batches < 2 * stages)) {
    throw std::invalid_argument(
        "DualPipe needs an even number of stages and an even number of micro-batches, at least two a stage");
  }
}

}  // namespace

Schedule make_schedule(ScheduleKind kind, int stages, int interleave, std::int32_t micro_batches) {
  require_defined(kind, stages, interleave, micro_batches);
  Schedule schedule;
  schedule.placement = PipelinePlacement(kind, stages, interleave);
  schedule.micro_batches = micro_batches / schedule.placement.chains();
  schedule.order.reserve(static_cast<size_t>(stages));
  for (int stage = 0; stage < stages; ++stage) {
    switch (kind) {
      case ScheduleKind::gpipe:
        schedule.order.push_back(gpipe_order(micro_batches));
        break;
      case ScheduleKind::one_f_one_b:
      case ScheduleKind::interleaved:
        schedule.order.push_back(one_f_one_b_order(stage, stages, interleave, micro_batches));
        break;
      case ScheduleKind::zero_bubble_h1:
        schedule.order.push_back(zero_bubble_h1_order(stage, stages, micro_batches));
        break;
      case ScheduleKind::zero_bubble_v:
        schedule.order.push_back(zero_bubble_v_order(stage, stages, micro_batches));
        break;
      case ScheduleKind::dualpipe:
        schedule.order.push_back(dualpipe_order(stage, stages, micro_batches));
        break;
    }
  }
  return schedule;
}

double bubble_fraction(ScheduleKind kind, int stages, int interleave, std::int64_t micro_batches,
                       const PassTimes& times) {
  const double ideal = static_cast<double>(micro_batches) * times.all();
  switch (kind) {
    case ScheduleKind::zero_bubble_h1:
      return (stages - 1) * (times.forward + times.input_gradient - times.weight_gradient) / ideal;
    case ScheduleKind::zero_bubble_v:
      return (stages - 1) * times.forward / 2.0 / ideal;
    case ScheduleKind::dualpipe:
      return (stages / 2.0 - 1.0) * (times.all() + times.backward() - 3.0 * times.weight_gradient) / ideal;
    default:
      return (stages - 1) / (static_cast<double>(micro_batches) * interleave);
  }
}

std::vector<PassTally> pass_tallies(ScheduleKind kind, int stages, int interleave,
                                    std::int32_t micro_batches) {
  const PipelinePlacement place(kind, stages, interleave);
  std::vector<PassTally> tallies(static_cast<size_t>(place.virtual_stages()));
  if (kind != ScheduleKind::dualpipe) {
    PassTally same;
    const auto times = [&same](PassKind pass) -> std::int64_t& {
      return same.alone[static_cast<size_t>(pass)];
    };
    times(PassKind::forward) = micro_batches;
    if (splits_backward(kind)) {
      times(PassKind::input_gradient) = times(PassKind::weight_gradient) = micro_batches;
    } else {
      times(PassKind::backward) = micro_batches;
    }
    std::fill(tallies.begin(), tallies.end(), same);
    return tallies;
  }
  // The shortest step has what begins and ends any; each further micro-batch of a chain is in pairs only.
  const std::int32_t shortest = 2 * stages;
  const std::int64_t more = (micro_batches - shortest) / place.chains();
  const Schedule schedule = make_schedule(kind, stages, interleave, shortest);
  for (int stage = 0; stage < stages; ++stage) {
    bool in_pair = false;
    for (const SchedulePass& pass : schedule.order[static_cast<size_t>(stage)]) {
      PassTally& tally = tallies[static_cast<size_t>(place.virtual_stage(stage, pass.chunk))];
      auto& times = pass.paired || in_pair ? tally.paired : tally.alone;
      ++times[static_cast<size_t>(pass.kind)];
      in_pair = pass.paired;
    }
  }
  for (PassTally& tally : tallies) {
    tally.paired[static_cast<size_t>(PassKind::forward)] += more;
    tally.paired[static_cast<size_t>(PassKind::backward)] += more;
  }
  return tallies;
}

std::int64_t peak_in_flight(const Schedule& schedule, int stage) {
  std::int64_t held = 0;
  std::int64_t peak = 0;
  for (const SchedulePass& pass : schedule.order[static_cast<size_t>(stage)]) {
    if (pass.kind == PassKind::forward) ++held;
    if (gives_weight_gradient(pass.kind)) --held;
    peak = std::max(peak, held);
  }
  return peak;
}

}  // namespace orrery
