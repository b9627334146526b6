#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "models/step_plan.hpp"
#include "reports/experiment/experiment.hpp"
#include "sim/cost/cost_model.hpp"
#include "sim/cost/factors.hpp"
#include "sim/timeline/step_timeline.hpp"

namespace orrery {

/// What a prediction can be made without, to see what it is worth (`validate --without`). Nothing is
/// refitted.
enum class Effect : std::uint8_t {
  attention,
  memory_kernels,
  casts,
  token_permutation,
  gemm_curve,
  wave_quantisation,
  sustained_clock,
  slowest_gpu,
  host,
  head_and_embedding,
  optimizer,
  recompute,
  tensor_communication,
  expert_communication,
  data_communication,
  pipeline_communication,
  overlap,
  overlap_slowdown,
  contention,
  pipeline_bubble,
  stage_imbalance,
  interleaving,
};
constexpr int kEffects = 22;

struct EffectDescription {
  std::string_view name;
  std::string_view without;  ///< what a prediction without it assumes
};
/// In the order of Effect.
const std::array<EffectDescription, kEffects>& effects();
std::string_view name_of(Effect effect);
/// @throws InputError for --without, naming all
Effect effect_named(const std::string& name);

/// The experiment as it is priced without the effect: what recomputes does not, what is interleaved is not.
/// Only for pricing: its FLOPs and memory are not those of the run.
Experiment experiment_without(Effect effect, Experiment experiment);
/// What the models' kernels are asked for.
KernelContext context_without(std::optional<Effect> effect, YearMonth date);
/// Factors of zero: both engines leave such communications and launches out.
Factors factors_without(Effect effect);
/// The kernels, some of which take no time; the model itself where the effect is none of theirs.
std::shared_ptr<const CostModel> kernels_without(Effect effect, std::shared_ptr<const CostModel> kernels);
/// What comes off the step once its schedule has been followed: the bubble, or what the stage with most work
/// has more than the mean stage.
double seconds_off(Effect effect, const StepPlan& plan, const Breakdown& breakdown);

}  // namespace orrery
