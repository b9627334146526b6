#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/parallel_plan.hpp"

namespace orrery {

enum class PassKind : std::uint8_t { forward, backward };

/// One pass of a stage: a micro-batch through one of its virtual stages.
struct SchedulePass {
  PassKind kind;
  std::int16_t chunk;
  std::int32_t micro_batch;
  auto operator<=>(const SchedulePass&) const = default;
};

/// The order of passes of every stage: data that the lowering follows.
struct Schedule {
  int stages = 1, chunks = 1;
  std::int32_t micro_batches = 1;
  std::vector<std::vector<SchedulePass>> order;  ///< by stage
};

/// GPipe, 1F1B (Narayanan et al. 2019) or interleaved 1F1B (Narayanan et al. 2021, SC21, section 2.2;
/// micro-batches a multiple of stages, refused otherwise by read_parallel_plan).
Schedule make_schedule(ScheduleKind kind, int stages, int chunks, std::int32_t micro_batches);

/// Follows the schedule with unit times. @returns empty if every pass runs, else which pass of which stage
/// never starts.
std::string find_deadlock(const Schedule& schedule);

/// Bubble over ideal time with equal stages, no head, free communication: (p-1)/(m v) for these schedules
/// (SC21 section 2.2; v = chunks).
double bubble_fraction(ScheduleKind kind, int stages, int chunks, std::int64_t micro_batches);

/// Largest number of micro-batches whose activations stage `stage` holds at once, each chunk counted.
std::int64_t peak_in_flight(const Schedule& schedule, int stage);

}  // namespace orrery
