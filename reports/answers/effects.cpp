#include "reports/answers/effects.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

/// Rows and columns of the product whose rate stands for all without their curve: large enough to fill any
/// GPU, and in every table of products.
constexpr std::int64_t kLargeProduct = 8192;

/// Operators of embedding and head (layer_operators) begin with one of these.
constexpr std::array<std::string_view, 7> kHeadAndEmbedding = {
    "embedding_", "position_embedding", "final_norm", "logits", "loss", "head_", "pooler"};

bool of_head_or_embedding(const Operator& op) {
  return std::any_of(kHeadAndEmbedding.begin(), kHeadAndEmbedding.end(),
                     [&op](std::string_view prefix) { return op.name.starts_with(prefix); });
}

/// Whether the operator takes no time without the effect.
bool left_out(Effect effect, const Operator& op) {
  const auto* memory = std::get_if<MemoryShape>(&op.shape);
  const auto is = [memory](MemoryKind kind) { return memory != nullptr && memory->kind == kind; };
  switch (effect) {
    case Effect::attention:
      return std::holds_alternative<AttentionShape>(op.shape);
    case Effect::memory_kernels:
      return memory != nullptr && !is(MemoryKind::optimizer) && !of_head_or_embedding(op);
    case Effect::casts:
      return is(MemoryKind::quantize);
    case Effect::token_permutation:
      return is(MemoryKind::permute) || op.name == "unfused_permutation";
    case Effect::head_and_embedding:
      return of_head_or_embedding(op);
    case Effect::optimizer:
      return is(MemoryKind::optimizer);
    default:
      return false;
  }
}

bool changes_kernels(Effect effect) {
  switch (effect) {
    case Effect::attention:
    case Effect::memory_kernels:
    case Effect::casts:
    case Effect::token_permutation:
    case Effect::head_and_embedding:
    case Effect::optimizer:
    case Effect::gemm_curve:
      return true;
    default:
      return false;
  }
}

class KernelsWithout final : public CostModel {
 public:
  KernelsWithout(Effect effect, std::shared_ptr<const CostModel> kernels)
      : effect_(effect), kernels_(std::move(kernels)) {}

  KernelTime time(const Operator& op) const override {
    if (left_out(effect_, op)) return {Seconds(0), 0.0, Evidence::measured, KernelBound::launch};
    const auto* product = std::get_if<GemmShape>(&op.shape);
    if (effect_ != Effect::gemm_curve || product == nullptr) return kernels_->time(op);
    GemmShape large;
    large.m = large.n = large.k = kLargeProduct;
    large.precision = product->precision;
    large.quantized_inputs = false;
    KernelTime result = kernels_->time({op.name, large});
    result.time = result.time * (product->flops() / large.flops());
    return result;
  }
  KernelPower power(const Operator& op) const override { return kernels_->power(op); }
  const DeviceSpec& device() const override { return kernels_->device(); }
  std::string profile_name() const override { return kernels_->profile_name(); }
  std::string profile_source() const override { return kernels_->profile_source(); }
  double profile_error() const override { return kernels_->profile_error(); }

 private:
  Effect effect_;
  std::shared_ptr<const CostModel> kernels_;
};

/// Layers of each stage instead of each virtual stage.
void end_interleaving(ParallelPlan& parallel) {
  if (parallel.schedule != ScheduleKind::interleaved) return;
  const auto stages = static_cast<size_t>(parallel.pipeline);
  std::vector<int> layers(stages, 0);
  for (size_t v = 0; v < parallel.stage_layers.size(); ++v) layers[v % stages] += parallel.stage_layers[v];
  parallel.stage_layers = std::move(layers);
  parallel.interleave = 1;
  parallel.schedule = ScheduleKind::one_f_one_b;
}

/// Nothing runs beside anything else.
void end_overlap(Experiment& experiment) {
  OverlapPlan& overlap = experiment.parallel.overlap;
  overlap.gradient = overlap.parameter = overlap.tensor = overlap.pipeline = overlap.expert = false;
  experiment.software.async_tensor_backward = false;
  experiment.software.sharding.prefetch_forward = experiment.software.sharding.prefetch_backward = 0;
}

/// What the stage with most work has more than the mean of all stages in a step.
double excess_of_fullest_stage(const StepPlan& plan) {
  const auto stages = static_cast<size_t>(plan.stages());
  if (stages == 1) return 0.0;
  std::vector<double> work(stages, 0.0);
  for (size_t v = 0; v < plan.virtual_stages.size(); ++v) {
    double& stage = work[static_cast<size_t>(plan.placement.stage_of(static_cast<int>(v)))];
    for (const SegmentUse& use : plan.virtual_stages[v].uses) {
      const PlanSegment& segment = plan.segments[static_cast<size_t>(use.segment)];
      stage += static_cast<double>(use.times) * segment.duration.base();
    }
  }
  const double sum = std::accumulate(work.begin(), work.end(), 0.0);
  return *std::max_element(work.begin(), work.end()) - sum / static_cast<double>(stages);
}

}  // namespace

const std::array<EffectDescription, kEffects>& effects() {
  static constexpr std::array<EffectDescription, kEffects> kDescriptions = {{
      {"attention", "attention kernels take no time"},
      {"memory_kernels", "memory-bound kernels of the layers take no time"},
      {"casts", "casts to 8 and 4 bits take no time"},
      {"token_permutation", "moving tokens to their experts' rows and back takes no time"},
      {"gemm_curve", "every product runs at the rate of one of 8192 x 8192 x 8192"},
      {"wave_quantisation", "a partly filled last wave of tiles costs its share only"},
      {"sustained_clock", "kernels run at the clock of a short burst"},
      {"slowest_gpu", "all GPUs are equally fast"},
      {"host", "launches and the framework's own time cost nothing"},
      {"head_and_embedding", "embedding, output layer and loss take no time"},
      {"optimizer", "clipping gradients and updating parameters take no time"},
      {"recompute", "nothing is recomputed"},
      {"tensor_communication", "tensor and context collectives take no time"},
      {"expert_communication", "exchanges of tokens take no time"},
      {"data_communication", "gradient reductions and parameter gathers take no time"},
      {"pipeline_communication", "sends between stages take no time"},
      {"overlap", "no communication hides behind kernels"},
      {"overlap_slowdown", "kernels are as fast beside a collective as alone"},
      {"contention", "every communication has its links to itself (engine simulate)"},
      {"pipeline_bubble", "what the breakdown counts as bubble comes off the step"},
      {"stage_imbalance", "what the stage with most work has more than the mean comes off the step"},
      {"interleaving", "1F1B without virtual stages in place of the interleaved schedule"},
  }};
  return kDescriptions;
}

std::string_view name_of(Effect effect) { return effects()[static_cast<size_t>(effect)].name; }

Effect effect_named(const std::string& name) {
  std::vector<std::string> names;
  names.reserve(effects().size());
  for (size_t i = 0; i < effects().size(); ++i) {
    if (effects()[i].name == name) return static_cast<Effect>(i);
    names.emplace_back(effects()[i].name);
  }
  throw InputError(InputProblem{"--without", "", "\"" + name + "\"", one_of(names, name), ""});
}

Experiment experiment_without(Effect effect, Experiment experiment) {
  switch (effect) {
    case Effect::slowest_gpu:
      experiment.software.slowest_gpu_spread = 0.0;
      break;
    case Effect::recompute:
      experiment.training.recompute = Recompute::none;
      experiment.training.recompute_modules.clear();
      experiment.training.recompute_layers = -1;
      break;
    case Effect::overlap:
      end_overlap(experiment);
      break;
    case Effect::overlap_slowdown:
      experiment.software.overlap_slowdown = 0.0;
      break;
    case Effect::interleaving:
      end_interleaving(experiment.parallel);
      break;
    default:
      break;
  }
  return experiment;
}

KernelContext context_without(std::optional<Effect> effect, YearMonth date) {
  KernelContext context{date, true, true};
  if (effect == Effect::sustained_clock) context.sustained = false;
  if (effect == Effect::wave_quantisation) context.wave_quantisation = false;
  return context;
}

Factors factors_without(Effect effect) {
  Factors factors;
  switch (effect) {
    case Effect::host:
      factors[Factor::host] = 0.0;
      break;
    case Effect::tensor_communication:
      factors[Factor::tensor_communication] = 0.0;
      break;
    case Effect::expert_communication:
      factors[Factor::expert_communication] = 0.0;
      break;
    case Effect::data_communication:
      factors[Factor::data_communication] = 0.0;
      break;
    case Effect::pipeline_communication:
      factors[Factor::pipeline_communication] = 0.0;
      break;
    default:
      break;
  }
  return factors;
}

std::shared_ptr<const CostModel> kernels_without(Effect effect, std::shared_ptr<const CostModel> kernels) {
  if (!changes_kernels(effect)) return kernels;
  return std::make_shared<const KernelsWithout>(effect, std::move(kernels));
}

double seconds_off(Effect effect, const StepPlan& plan, const Breakdown& breakdown) {
  const double bubble = breakdown[static_cast<size_t>(BreakdownTerm::pipeline_bubble)];
  if (effect == Effect::pipeline_bubble) return bubble;
  return effect == Effect::stage_imbalance ? excess_of_fullest_stage(plan) : 0.0;
}

}  // namespace orrery
