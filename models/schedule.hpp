#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/pipeline_placement.hpp"

namespace orrery {

/// A backward computes input and weight gradients in one pass, or each in a pass of its own: only the
/// gradient of the input holds up the stage before (Qi et al. 2023, arXiv 2401.10241, section 2).
enum class PassKind : std::uint8_t { forward, backward, input_gradient, weight_gradient };
inline constexpr int kPassKinds = 4;

/// Whether the pass sends the gradient of its input on, and whether the weight gradients are complete with
/// it.
constexpr bool gives_input_gradient(PassKind kind) {
  return kind == PassKind::backward || kind == PassKind::input_gradient;
}
constexpr bool gives_weight_gradient(PassKind kind) {
  return kind == PassKind::backward || kind == PassKind::weight_gradient;
}

/// One pass of a stage: a micro-batch through one of its virtual stages.
struct SchedulePass {
  PassKind kind;
  std::int16_t chunk;
  std::int32_t micro_batch;  ///< of its chain
  /// DualPipe: a forward whose kernels alternate with those of the backward that follows it in the order.
  /// Both start when both may, and both are over at the same time.
  bool paired = false;
  auto operator<=>(const SchedulePass&) const = default;
};

/// The order of passes of every stage: data that the lowering follows.
struct Schedule {
  PipelinePlacement placement;
  std::int32_t micro_batches = 1;                ///< of each chain
  std::vector<std::vector<SchedulePass>> order;  ///< by stage
};

/// GPipe, 1F1B (Narayanan et al. 2019), interleaved 1F1B (Narayanan et al. 2021, SC21, section 2.2;
/// micro-batches a multiple of stages), ZB-H1 (Qi et al. 2023, section 2.3.1), ZB-V (Qi et al. 2023, section
/// 6, and 2024, arXiv 2405.15362) or DualPipe (DeepSeek-V3, section 3.2.1; an even number of stages, an even
/// number of micro-batches, at least two a stage).
///
/// @param interleave     chunks of the interleaved schedule, 2 for ZB-V, else 1
/// @param micro_batches  of the whole step; DualPipe sends half of them through either chain
/// @throws std::invalid_argument where the schedule is not defined (read_parallel_plan refuses that first)
Schedule make_schedule(ScheduleKind kind, int stages, int interleave, std::int32_t micro_batches);

/// Follows the schedule. @returns empty if every pass runs, else which pass of which stage is wrong or never
/// starts.
std::string find_deadlock(const Schedule& schedule);

/// Times of a whole stage's passes for one micro-batch; a full backward is input_gradient + weight_gradient.
struct PassTimes {
  double forward = 1.0, input_gradient = 1.0, weight_gradient = 1.0;
  double backward() const { return input_gradient + weight_gradient; }
  double all() const { return forward + backward(); }
};

/// Bubble over ideal time with equal stages, no head and free communication, from the step's first pass to
/// its last (p stages, m micro-batches, v chunks; F, B, W the forward, input and weight gradients of a
/// stage):
///     (p-1)/(m v)                                     GPipe, 1F1B, interleaved (SC21 section 2.2),
///     (p-1) (F + B - W) / (m (F+B+W))                 ZB-H1 (2401.10241, section 2.3.1), W <= B, m >= p,
///     (p-1) F/2 / (m (F+B+W))                         ZB-V, F = B = W, m >= 2p - 1,
///     (p/2-1) (F&B + (B+W) - 3W) / (m (F+B+W))        DualPipe (DeepSeek-V3, table 2), F = B.
/// ZB-V: no stage idles between its own first and last pass, which the paper counts as no bubble because its
/// optimizer does not wait for the other stages; left in a step that all begin together is the way to the
/// last stage. DualPipe: the overlapped pair F&B is F + B + W when communication is free.
double bubble_fraction(ScheduleKind kind, int stages, int interleave, std::int64_t micro_batches,
                       const PassTimes& times = {});

/// How often a step runs each kind of pass of a virtual stage, alone and in a pair.
struct PassTally {
  std::array<std::int64_t, kPassKinds> alone{}, paired{};
};
/// By virtual stage; arguments as in make_schedule.
std::vector<PassTally> pass_tallies(ScheduleKind kind, int stages, int interleave,
                                    std::int32_t micro_batches);

/// Largest number of micro-batches whose activations stage `stage` holds at once, each chunk counted. They
/// are held until the weight gradients are done: those need inputs and output gradients of all products (32
/// of 34 bytes, Qi et al. 2023, table 1).
std::int64_t peak_in_flight(const Schedule& schedule, int stage);

}  // namespace orrery
