#include "sim/cost/kernel_sequence.hpp"

#include "sim/cost/unfused_attention.hpp"

namespace orrery {

KernelTime time_in_sequence(const CostModel& model, std::span<const Operator> kernels) {
  KernelTime whole;
  whole.evidence = Evidence::measured;
  Seconds longest;
  double spread_seconds = 0.0;
  for (const Operator& kernel : kernels) {
    const KernelTime part = model.time(kernel);
    whole.time += part.time;
    whole.evidence = weaker(whole.evidence, part.evidence);
    spread_seconds += part.relative_spread * part.time.base();
    if (part.time > longest) whole.bound = part.bound;
    longest = max(longest, part.time);
  }
  if (whole.time > Seconds(0)) whole.relative_spread = spread_seconds / whole.time.base();
  return whole;
}

OperatorWork kernel_work(const Operator& op) {
  const auto* attention = std::get_if<AttentionShape>(&op.shape);
  if (attention == nullptr || attention->kernel != AttentionKernel::unfused) return work_of(op);
  OperatorWork whole;
  whole.precision = attention->precision;
  for (const Operator& kernel : unfused_attention(*attention)) {
    const OperatorWork part = work_of(kernel);
    whole.flops += part.flops;
    whole.traffic += part.traffic;
  }
  return whole;
}

}  // namespace orrery
