#pragma once

#include <cstdint>
#include <vector>

#include "models/schedule.hpp"

namespace orrery {

/// One pass of one stage in an order in which all passes of a step can be executed.
struct OrderedPass {
  std::int16_t stage = 0;
  std::int16_t chunk = 0;
  std::int32_t micro_batch = 0;  ///< of its chain
  std::int32_t virtual_stage = 0;
  PassKind kind = PassKind::forward;
  bool paired = false;  ///< runs together with the pass that follows, which is of the same stage
};

/// The passes of all stages, each after everything it waits for: its stage's previous pass, the same
/// micro-batch's forward on the virtual stage before (input gradients: theirs on the one after), for input
/// gradients the forward and for weight gradients the input gradients. Both of a pair come after all that
/// either waits for.
/// @throws std::logic_error with find_deadlock's text if the schedule cannot be executed
std::vector<OrderedPass> execution_order(const Schedule& schedule);

}  // namespace orrery
