#pragma once

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {

/// Refuses an imbalance (model.moe.imbalance) that no router can bring about: a GPU with e of the experts
/// gets at most min(top_k, e) copies of every token, which is experts min(top_k, e) / (top_k e) times the
/// mean; one that holds all experts works on its own tokens.
/// @param parallel reader of a plan whose experts are dealt; the model stands beside it
void check_moe_imbalance(const SpecReader& parallel, const MoeSpec& moe, const ParallelPlan& plan);

}  // namespace orrery
