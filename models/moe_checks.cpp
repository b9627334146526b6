#include "models/moe_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace orrery {

void check_moe_imbalance(const SpecReader& parallel, const MoeSpec& moe, const ParallelPlan& plan) {
  const int held = moe.experts / plan.expert;
  const double most =
      static_cast<double>(moe.experts) * std::min(moe.top_k, held) / (static_cast<double>(moe.top_k) * held);
  if (moe.imbalance <= most) return;
  const std::string parent = parallel.pointer().substr(0, parallel.pointer().find_last_of('/'));
  parallel.problems().add(
      parent + "/model/moe/imbalance", fmt::format("{}", moe.imbalance),
      plan.expert == 1
          ? "1 with expert 1: a GPU that holds every expert works on its own tokens"
          : fmt::format(
                "at most {} with expert {}: what a GPU with {} of {} experts gets of every token's {}",
                rounded_down(most), plan.expert, held, moe.experts, moe.top_k));
}

}  // namespace orrery
