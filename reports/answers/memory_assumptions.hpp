#pragma once

#include <string>
#include <vector>

#include "reports/experiment/experiment.hpp"

namespace orrery {

/// A type that decides memory and that the experiment leaves to its software, with the peak of the other
/// choice beside it.
struct MemoryAssumption {
  std::string key;               ///< of the experiment, as --set takes it
  std::string taken, otherwise;  ///< its value, and the other one
  Bytes peak;                    ///< with the other one
};

/// The type of the gradients in mixed precision, and whether parameters are gathered in 8 bits under an 8-bit
/// recipe. Not LoRA's, whose gradients are small.
/// @param collective_buffers  as memory_use takes them
std::vector<MemoryAssumption> memory_assumptions(const Experiment& experiment, Bytes collective_buffers);

}  // namespace orrery
