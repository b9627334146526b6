#pragma once

#include <cstdint>

namespace orrery {

enum class ScheduleKind { gpipe, one_f_one_b, interleaved, zero_bubble_h1, zero_bubble_v, dualpipe };

/// Whether the schedule has passes of input gradients and of weight gradients apart.
constexpr bool splits_backward(ScheduleKind kind) { return kind >= ScheduleKind::zero_bubble_h1; }
/// Whether it has passes of both in one (DualPipe has either).
constexpr bool has_whole_backward(ScheduleKind kind) {
  return kind != ScheduleKind::zero_bubble_h1 && kind != ScheduleKind::zero_bubble_v;
}

/// Which rank of a pipeline holds which part of the model.
///
/// A virtual stage is a consecutive part of the model on one rank; its rank holds it as one of its chunks. A
/// micro-batch passes the virtual stages of a chain from the embedding to the head. There are three layouts:
/// - round: chunk c of stage s is virtual stage c p + s (interleaved; one chunk: GPipe, 1F1B, ZB-H1);
/// - V (ZB-V): chunk 0 of stage s is s, chunk 1 is 2p - 1 - s, so that both ends are on stage 0 (Qi et al.
///   2024, arXiv 2405.15362, figure 3);
/// - two chains (DualPipe): chunk 0 is stage s of a chain that enters at rank 0, chunk 1 stage p - 1 - s of
///   one that enters at rank p - 1; every parameter is held twice (DeepSeek-V3, arXiv 2412.19437, section
///   3.2.1). Virtual stages p .. 2p - 1 are the second chain in model order.
class PipelinePlacement {
 public:
  PipelinePlacement() = default;
  /// @param interleave virtual stages of a chain a rank: as ParallelPlan::interleave
  PipelinePlacement(ScheduleKind kind, int stages, int interleave)
      : stages_(stages),
        chain_(stages * interleave),
        chains_(kind == ScheduleKind::dualpipe ? 2 : 1),
        folded_(kind == ScheduleKind::zero_bubble_v || kind == ScheduleKind::dualpipe) {}

  int stages() const { return stages_; }
  /// Virtual stages that a micro-batch passes, and how many such chains there are.
  int chain_length() const { return chain_; }
  int chains() const { return chains_; }
  int virtual_stages() const { return chain_ * chains_; }
  /// Virtual stages on a rank.
  int chunks() const { return virtual_stages() / stages_; }

  int virtual_stage(int stage, int chunk) const {
    return chunk % 2 == 1 && folded_ ? (chunk + 1) * stages_ - 1 - stage : chunk * stages_ + stage;
  }
  int chunk_of(int virtual_stage) const { return virtual_stage / stages_; }
  int stage_of(int virtual_stage) const {
    const int across = virtual_stage % stages_;
    return folded_ && chunk_of(virtual_stage) % 2 == 1 ? stages_ - 1 - across : across;
  }
  /// Place in the model, 0 .. chain_length() - 1.
  int position(int virtual_stage) const { return virtual_stage % chain_; }
  int chain_of(int virtual_stage) const { return virtual_stage / chain_; }
  bool is_first(int virtual_stage) const { return position(virtual_stage) == 0; }
  bool is_last(int virtual_stage) const { return position(virtual_stage) == chain_ - 1; }

  /// Whether the rank with an embedding has a head too, and so can share tied weights.
  bool ends_together() const { return folded_ || chain_ == 1; }
  /// V or two chains.
  bool folded() const { return folded_; }

 private:
  int stages_ = 1, chain_ = 1, chains_ = 1;
  bool folded_ = false;
};

}  // namespace orrery
