#include "models/training_checks.hpp"

#include <algorithm>
#include <string>

#include "models/layer_shapes.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {
namespace {

/// A problem of a value beside `parallel` in the experiment.
void refuse_training(const SpecReader& parallel, const std::string& place, const std::string& found,
                     const std::string& expected) {
  const std::string parent = parallel.pointer().substr(0, parallel.pointer().find_last_of('/'));
  parallel.problems().add(parent + "/training/" + place, found, expected);
}

std::string quoted(Optimizer optimizer) { return "\"" + std::string(name_of(optimizer)) + "\""; }

bool works_on_matrices(Optimizer optimizer) {
  return optimizer == Optimizer::adafactor || optimizer == Optimizer::muon;
}

/// What an optimizer stores otherwise than in fp32.
void check_optimizer_storage(const SpecReader& reader, const TrainingSpec& training,
                             const SoftwareStack& stack, const ParallelPlan& plan) {
  const OptimizerStorage& storage = training.optimizer_storage;
  if (storage == OptimizerStorage{}) return;
  const bool of_states = storage.states != StateDtype::fp32;
  const std::string key = of_states ? "optimizer/state_dtype" : "optimizer/master_weights";
  const std::string name(of_states ? name_of(storage.states) : name_of(storage.master));
  if (!stack.narrow_optimizer) {
    refuse_training(reader, key, "\"" + name + "\"",
                    "\"fp32\": software \"" + stack.name + "\" of " + to_text(stack.date) +
                        " keeps nothing narrower (software.narrow_optimizer says otherwise)");
    return;
  }
  if (training.optimizer != Optimizer::adam && training.optimizer != Optimizer::adamw) {
    refuse_training(reader, "optimizer/kind", quoted(training.optimizer),
                    "adam or adamw with state_dtype or master_weights: others keep fp32");
  }
  if (training.offload.optimizer) {
    refuse_training(reader, key, "\"" + name + "\"",
                    "\"fp32\" with offload.optimizer: the host updates in fp32");
  }
  if (storage.master == MasterWeights::fp32) return;
  const auto refuse_master = [&](const std::string& expected) {
    refuse_training(reader, "optimizer/master_weights", "\"" + std::string(name_of(storage.master)) + "\"",
                    expected);
  };
  const Precision precision = training.precision;
  if (activation_bytes(precision) >= 4.0) {
    refuse_master("none of it with precision " + std::string(orrery::name_of(precision)) +
                  ": the weights themselves are fp32");
  } else if (plan.zero == 3) {
    refuse_master("\"fp32\" with zero 3, which shards the master weights and casts what it gathers");
  } else if (storage.master == MasterWeights::remainder && precision == Precision::fp16) {
    refuse_master("\"fp32\": only bf16 weights are the upper half of fp32 ones");
  } else if (stack.fp8_parameter_gather && operand_bytes(precision) < 2.0 &&
             (storage.master == MasterWeights::remainder || storage.master == MasterWeights::none)) {
    refuse_master(
        "\"fp32\", \"bf16\" or \"fp16\" with weights held in 8 bits (software.fp8_parameter_gather)");
  }
}

}  // namespace

void check_optimizer(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
                     const SoftwareStack& stack, const ParallelPlan& plan) {
  check_optimizer_storage(reader, training, stack, plan);
  if (!works_on_matrices(training.optimizer)) return;
  const auto refuse = [&](const std::string& expected) {
    refuse_training(reader, "optimizer", quoted(training.optimizer), expected);
  };
  if (model.moe) {
    refuse(
        "adamw or another one by element with a mixture of experts: updates of experts' matrices are not "
        "modelled");
  } else if (model.mtp_layers > 0) {
    refuse("adamw or another one by element with mtp_layers: updates of their matrices are not modelled");
  }
  if (training.sync.kind == SyncKind::async) {
    refuse(
        "adamw or another one by element with sync \"async\": a server's shard of a flat buffer has no "
        "whole matrices");
  }
  if (training.optimizer == Optimizer::adafactor && plan.zero > 0) {
    reader.problems().add(reader.pointer() + "/zero", std::to_string(plan.zero),
                          "0 with optimizer adafactor: a shard of a flat buffer has no rows and columns");
  }
  if (training.optimizer == Optimizer::muon && plan.zero >= 2) {
    reader.problems().add(reader.pointer() + "/zero", std::to_string(plan.zero),
                          "0 or 1 with optimizer muon, whose update needs whole momenta (Liu et al. 2025)");
  }
}

void check_offload(const SpecReader& reader, const ModelSpec& model, const TrainingSpec& training,
                   const SoftwareStack& stack, const ParallelPlan& plan) {
  const OffloadSpec& offload = training.offload;
  const std::string of_stack = "software \"" + stack.name + "\" of " + to_text(stack.date);
  if (offload.activations_layers > 0) {
    const std::string found = std::to_string(offload.activations_layers);
    const auto refuse = [&](const std::string& expected) {
      refuse_training(reader, "offload/activations_layers", found, expected);
    };
    int fewest = model.layers;
    for (int stage = 0; stage < plan.pipeline && !plan.stage_layers.empty(); ++stage) {
      fewest = std::min(fewest, layers_of_stage(plan, stage));
    }
    if (!stack.offloads.activations) {
      refuse("0: " + of_stack +
             " keeps no activations on the host (software.offloads.activations says otherwise)");
    } else if (plan.pipeline > 1 && !stack.offloads.activations_with_pipeline) {
      refuse(
          "0 with pipeline " + std::to_string(plan.pipeline) + ": " + of_stack +
          " offloads without a pipeline only (software.offloads.activations_with_pipeline says otherwise)");
    } else if (offload.activations_layers >= fewest) {
      refuse("at most " + std::to_string(fewest - 1) +
             ", one less than the layers of the smallest stage: the last one's are needed at once");
    } else if (training.recompute != Recompute::none) {
      refuse(
          "0 with recomputation: a layer's activations are either kept on the host or computed again "
          "(recompute \"none\")");
    } else if (splits_backward(plan.schedule)) {
      refuse(
          "0 with a schedule that splits the backward: activations that wait for weight gradients are not "
          "modelled on the host");
    } else if (model.mtp_layers > 0) {
      refuse("0 with mtp_layers: offloading beside multi-token prediction is not modelled");
    }
  }
  if (!offload.optimizer) return;
  const auto refuse = [&](const std::string& expected) {
    refuse_training(reader, "offload/optimizer", "true", expected);
  };
  const bool on_host = training.optimizer == Optimizer::adam || training.optimizer == Optimizer::adamw ||
                       training.optimizer == Optimizer::adagrad;
  if (stack.offloads.host_bandwidth_share <= 0.0) {
    refuse("false: " + of_stack +
           " updates on the GPUs only (software.offloads.host_bandwidth_share says otherwise)");
  } else if (!on_host) {
    refuse_training(reader, "optimizer", quoted(training.optimizer),
                    "adam, adamw or adagrad with offload.optimizer: others have no update on the host");
  } else if (training.sync.kind != SyncKind::step) {
    refuse("false with sync \"local\" or \"async\": their states on the host are not modelled");
  }
}

}  // namespace orrery
