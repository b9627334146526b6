#pragma once

#include <cstdint>
#include <vector>

#include "models/schedule.hpp"

namespace orrery {

/// One pass of one stage in an order in which all passes of a step can be executed.
struct OrderedPass {
  std::int16_t stage = 0;
  std::int16_t chunk = 0;
  std::int32_t micro_batch = 0;
  PassKind kind = PassKind::forward;
};

/// The passes of all stages, each after everything it waits for: its stage's previous pass, the same
/// micro-batch's forward on the virtual stage before (backward: on the one after), and for a backward its own
/// forward.
/// @throws std::logic_error with find_deadlock's text if the schedule cannot be executed
std::vector<OrderedPass> execution_order(const Schedule& schedule);

}  // namespace orrery
