#pragma once

#include <span>

#include "sim/cost/cost_model.hpp"
#include "sim/workload/operator_work.hpp"

namespace orrery {

/// Kernels that run one after the other, taken as one: times add up, spreads weigh by their time (all err
/// together), the evidence is the weakest, the bound that of the longest.
/// @throws as the model does for one of them
KernelTime time_in_sequence(const CostModel& model, std::span<const Operator> kernels);

/// work_of an operator, where an unfused attention is the sum of its kernels: its scores go through memory.
OperatorWork kernel_work(const Operator& op);

}  // namespace orrery
