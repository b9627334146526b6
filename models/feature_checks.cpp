#include "models/feature_checks.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "models/layer_shapes.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {
namespace {

/// A problem of a value beside `parallel` in the experiment.
void refuse_beside_plan(const SpecReader& parallel, std::string_view place, const std::string& found,
                        const std::string& expected) {
  const std::string parent = parallel.pointer().substr(0, parallel.pointer().find_last_of('/'));
  parallel.problems().add(parent + "/training/" + std::string(place), found, expected);
}

bool gives_overlap(const SpecReader& parallel, std::string_view key) {
  return parallel.has("overlap") && parallel.at("overlap").has(key) &&
         parallel.at("overlap").at(key).boolean();
}

}  // namespace

void check_stack_features(const SpecReader& parallel, const ModelSpec& model, const TrainingSpec& training,
                          const SoftwareStack& stack, const ParallelPlan& plan) {
  const auto lacks = [&stack](PlanFeature feature) {
    return std::find(stack.lacks.begin(), stack.lacks.end(), feature) != stack.lacks.end();
  };
  const std::string of_stack = ": software \"" + stack.name + "\" of " + to_text(stack.date);
  const auto refuse = [&](std::string_view key, const std::string& found, const std::string& expected) {
    parallel.problems().add(parallel.pointer() + "/" + std::string(key), found, expected);
  };
  struct Degree {
    PlanFeature feature;
    std::string_view key;
    int found;
  };
  for (const Degree& degree : {Degree{PlanFeature::tensor, "tensor", plan.tensor},
                               Degree{PlanFeature::pipeline, "pipeline", plan.pipeline},
                               Degree{PlanFeature::context, "context", plan.context}}) {
    if (degree.found == 1 || !lacks(degree.feature)) continue;
    refuse(degree.key, std::to_string(degree.found),
           "1" + of_stack + " has no " + std::string(degree.key) + " parallelism (software.lacks)");
  }
  if (plan.zero > stack.sharding.most_zero) {
    refuse("zero", std::to_string(plan.zero),
           "at most " + std::to_string(stack.sharding.most_zero) + of_stack +
               " has no higher level (software.sharding.most_zero)");
  }
  if (plan.sequence && plan.tensor > 1 && lacks(PlanFeature::sequence)) {
    refuse("sequence", "true", "false" + of_stack + " has no sequence parallelism (software.lacks)");
  }
  if (training.recompute == Recompute::selective && lacks(PlanFeature::selective_recompute)) {
    refuse_beside_plan(parallel, "recompute", "\"selective\"",
                       "\"none\" or \"full\"" + of_stack + " recomputes whole layers only (software.lacks)");
  }
  if (gives_overlap(parallel, "tensor") && plan.tensor > 1) {
    if (lacks(PlanFeature::tensor_overlap)) {
      refuse("overlap/tensor", "true",
             "false" + of_stack + " runs tensor collectives beside nothing (software.lacks)");
    } else if (!plan.sequence && lacks(PlanFeature::tensor_overlap_alone)) {
      refuse("overlap/tensor", "true",
             "false, or sequence true" + of_stack +
                 " overlaps under sequence parallelism only (software.lacks)");
    }
  }
  const bool latent = model.attention == AttentionKind::mla;  // keys of every head
  const std::int64_t key_heads = latent ? model.heads : model.kv_heads;
  if (plan.context > 1 && plan.context_method == ContextMethod::ulysses &&
      lacks(PlanFeature::repeated_key_heads) && key_heads % (std::int64_t{plan.tensor} * plan.context) != 0) {
    std::int64_t nearest = plan.context;
    while (nearest > 1 && key_heads % (plan.tensor * nearest) != 0) --nearest;
    refuse("context", std::to_string(plan.context),
           "kv_heads " + std::to_string(key_heads) + " to be a multiple of tensor " +
               std::to_string(plan.tensor) + " x context under ulysses, such as context " +
               std::to_string(nearest) + of_stack + " repeats no key heads (software.lacks)");
  }
}

void check_adapters(const SpecReader& parallel, const ModelSpec& model, const TrainingSpec& training,
                    const SoftwareStack& stack) {
  if (!training.lora) return;
  const auto refuse = [&](const std::string& expected) {
    refuse_beside_plan(parallel, "lora", "an object", expected);
  };
  if (model.moe) refuse("a model without a mixture of experts: frozen experts are not modelled");
  if (training.lora->attention && model.attention == AttentionKind::mla) {
    refuse_beside_plan(parallel, "lora/targets", "attention",
                       "mlp alone with latent attention: adapters of its projections are not modelled");
  }
  if (model.mtp_layers > 0) {
    refuse("a model without mtp_layers: adapters beside multi-token prediction are not modelled");
  }
  // A fused backward may have no pass of its own over the output: the scale is part of the product.
  if (stack.adapter_forward.output <= 0.0 ||
      stack.adapter_backward.input + stack.adapter_backward.output <= 0.0) {
    refuse(
        "a stack that counts the kernels of adapters, such as megatron-core (or give "
        "software.adapter_forward and adapter_backward)");
  }
  std::int64_t least = model.hidden;
  if (training.lora->attention) least = std::min(least, model.heads * model.head_dim);
  if (training.lora->mlp) least = std::min(least, model.ffn_hidden);
  if (training.lora->rank > least) {
    refuse_beside_plan(parallel, "lora/rank", std::to_string(training.lora->rank),
                       "at most " + std::to_string(least) + ", the rank of the smallest adapted matrix");
  }
}

void check_recomputed_modules(const SpecReader& parallel, const ModelSpec& model,
                              const TrainingSpec& training) {
  const bool has_dense_layers = !model.moe || model.moe->first_dense_layers > 0 || model.moe->every > 1;
  if (has_dense_layers || !recomputes_module(training, "mlp")) return;
  refuse_beside_plan(parallel, "recompute/modules", "\"mlp\"",
                     "modules that the model has, such as \"moe\": every layer is a mixture of experts");
}

}  // namespace orrery
