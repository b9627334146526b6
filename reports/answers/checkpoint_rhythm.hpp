#pragma once

#include <array>
#include <cstdint>
#include <functional>

namespace orrery {

/// What a job that writes checkpoints does at a time.
enum class Doing { nothing, steps, steps_and_write, write };
inline constexpr size_t kDoings = 4;

/// How long a step and a whole write take, in seconds, at a time; of what is not done, anything.
struct Pace {
  double step_s = 0, write_s = 0;
};

/// When a job writes (CheckpointPlan).
struct CheckpointRhythm {
  std::int64_t every = 0;  ///< steps; 0: never
  bool async = false;
  double staging_s = 0;
};

/// What a job has done by the end of its last period of `every` steps (of one without checkpoints: by the
/// end).
struct RhythmTotals {
  double time_s = 0;
  double steps = 0;
  double waited_s = 0;  ///< of the time, for checkpoints
  /// Of the steps, those beside which each was done: [own Doing][the other's Doing].
  std::array<std::array<double, kDoings>, kDoings> steps_beside{};
  double step_s() const { return time_s / steps; }
  double waited_a_step_s() const { return waited_s / steps; }
};

/// Lets two jobs run side by side, each at the pace that what both do at the time allows, from a start of
/// both with their first steps (and an asynchronous one's write) until both have written 200 checkpoints: two
/// jobs of one rhythm write at the same time throughout, others meet at all phases.
/// @param paces of the first and of the second job while they do these
std::array<RhythmTotals, 2> alternate(
    const std::array<CheckpointRhythm, 2>& jobs,
    const std::function<std::array<Pace, 2>(Doing first, Doing second)>& paces);

}  // namespace orrery
