#include "models/training_spec.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace orrery {

namespace {

constexpr std::int64_t kMostSequences = std::int64_t{1} << 40;

constexpr std::array<std::string_view, 8> kOptimizers = {"sgd",   "momentum", "adagrad",   "adam",
                                                         "adamw", "lamb",     "adafactor", "muon"};
constexpr std::array<std::string_view, 3> kRecomputes = {"none", "selective", "full"};
constexpr std::array<std::string_view, 4> kStateDtypes = {"fp32", "bf16", "fp16", "fp8"};
constexpr std::array<std::string_view, 5> kMasterWeights = {"fp32", "remainder", "bf16", "fp16", "none"};
constexpr std::array<std::string_view, 3> kGradientDtypes = {"fp32", "bf16", "fp16"};
constexpr std::array<std::string_view, 2> kFlopsConventions = {"full", "causal"};
constexpr std::array<std::string_view, 6> kModules = {"core_attn", "mla_up_proj", "mlp",
                                                      "layernorm", "moe_act",     "moe"};

void read_modules(const SpecReader& reader, TrainingSpec& training) {
  for (const SpecReader& element : reader.elements()) {
    const std::string name(kModules[element.choice(kModules)]);
    std::vector<std::string>& modules = training.recompute_modules;
    if (std::find(modules.begin(), modules.end(), name) != modules.end()) {
      element.refuse_message("\"" + name + "\" is listed twice");
    }
    modules.push_back(name);
  }
  if (reader.is_list() && reader.json().empty()) reader.refuse("at least one module");
}

void read_recompute(const SpecReader& reader, TrainingSpec& training) {
  if (reader.is_object()) {
    reader.only({"kind", "layers", "modules"});
    training.recompute = static_cast<Recompute>(reader.at("kind").choice(kRecomputes));
    if (reader.has("layers")) {
      training.recompute_layers = static_cast<int>(reader.at("layers").integer(0, 1 << 20));
      if (training.recompute == Recompute::none) {
        reader.at("layers").refuse_message("is only legal with kind \"selective\" or \"full\"");
      }
    }
    if (reader.has("modules")) {
      read_modules(reader.at("modules"), training);
      if (training.recompute != Recompute::selective) {
        reader.at("modules").refuse_message("is only legal with kind \"selective\"");
      }
    }
  } else {
    training.recompute = static_cast<Recompute>(reader.choice(kRecomputes));
  }
  if (training.recompute == Recompute::selective && training.recompute_modules.empty()) {
    training.recompute_modules = {"core_attn"};
  }
}

void read_optimizer(const SpecReader& reader, TrainingSpec& training) {
  if (!reader.is_object()) {
    training.optimizer = static_cast<Optimizer>(reader.choice(kOptimizers));
    return;
  }
  reader.only({"kind", "state_dtype", "master_weights"});
  if (reader.has("kind")) training.optimizer = static_cast<Optimizer>(reader.at("kind").choice(kOptimizers));
  OptimizerStorage& storage = training.optimizer_storage;
  if (reader.has("state_dtype")) {
    storage.states = static_cast<StateDtype>(reader.at("state_dtype").choice(kStateDtypes));
  }
  if (reader.has("master_weights")) {
    storage.master = static_cast<MasterWeights>(reader.at("master_weights").choice(kMasterWeights));
  }
}

OffloadSpec read_offload(const SpecReader& reader) {
  OffloadSpec offload;
  reader.only({"activations_layers", "optimizer"});
  if (!reader.is_object()) return offload;
  if (reader.has("activations_layers")) {
    offload.activations_layers = static_cast<int>(reader.at("activations_layers").integer(0, 1 << 20));
  }
  if (reader.has("optimizer")) offload.optimizer = reader.at("optimizer").boolean();
  return offload;
}

LoraSpec read_lora(const SpecReader& reader) {
  constexpr std::array<std::string_view, 3> kTargets = {"attention", "mlp", "all"};
  LoraSpec lora;
  reader.only({"rank", "targets"});
  if (!reader.is_object()) return lora;
  lora.rank = static_cast<int>(reader.at("rank").integer(1, 1 << 20));
  const SpecReader targets = reader.at("targets");
  for (const SpecReader& element : targets.elements()) {
    const size_t target = element.choice(kTargets);
    lora.attention = lora.attention || target != 1;
    lora.mlp = lora.mlp || target != 0;
  }
  if (targets.is_list() && targets.json().empty()) targets.refuse("at least one of attention, mlp, all");
  return lora;
}

}  // namespace

std::string_view name_of(Optimizer optimizer) { return kOptimizers[static_cast<size_t>(optimizer)]; }

int optimizer_states(Optimizer optimizer) {
  switch (optimizer) {
    case Optimizer::sgd:
    case Optimizer::adafactor:
      return 0;
    case Optimizer::momentum:
    case Optimizer::adagrad:
    case Optimizer::muon:
      return 1;
    case Optimizer::adam:
    case Optimizer::adamw:
    case Optimizer::lamb:
      return 2;
  }
  return 0;
}

std::string_view name_of(StateDtype dtype) { return kStateDtypes[static_cast<size_t>(dtype)]; }
std::string_view name_of(MasterWeights master) { return kMasterWeights[static_cast<size_t>(master)]; }

OptimizerBytes optimizer_bytes(Optimizer optimizer, Precision precision, const OptimizerStorage& storage) {
  constexpr std::array<double, 4> kStateBytes = {4.0, 2.0, 2.0, 1.0};
  constexpr std::array<double, 5> kMasterBytes = {4.0, 2.0, 2.0, 2.0, 0.0};
  const bool mixed = activation_bytes(precision) < 4.0;
  return {kStateBytes[static_cast<size_t>(storage.states)] * optimizer_states(optimizer),
          mixed ? kMasterBytes[static_cast<size_t>(storage.master)] : 0.0};
}

OptimizerBytes optimizer_bytes(const TrainingSpec& training) {
  return optimizer_bytes(training.optimizer, training.precision, training.optimizer_storage);
}

std::optional<GradientDtype> read_gradient_dtype(const SpecReader& reader) {
  if (!reader.has("gradient_dtype")) return std::nullopt;
  return static_cast<GradientDtype>(reader.at("gradient_dtype").choice(kGradientDtypes));
}

TrainingSpec read_training_spec(const SpecReader& reader) {
  TrainingSpec training;
  reader.only({"schema", "seq_length", "global_batch", "micro_batch", "precision", "gradient_dtype",
               "optimizer", "recompute", "offload", "lora", "sync", "tokens", "data", "checkpoint",
               "flops_convention"});
  training.seq_length = reader.at("seq_length").integer(1, kMostSequences);
  training.global_batch = reader.at("global_batch").integer(1, kMostSequences);
  training.micro_batch = reader.at("micro_batch").integer(1, kMostSequences);
  if (reader.has("precision")) {
    training.precision = static_cast<Precision>(reader.at("precision").choice(precision_names()));
  }
  training.gradient_dtype = read_gradient_dtype(reader);
  if (reader.has("optimizer")) read_optimizer(reader.at("optimizer"), training);
  if (reader.has("recompute")) read_recompute(reader.at("recompute"), training);
  if (reader.has("sync")) training.sync = read_sync_spec(reader.at("sync"));
  if (reader.has("tokens")) training.tokens = reader.at("tokens").number_above(0.0);
  if (reader.has("offload")) training.offload = read_offload(reader.at("offload"));
  if (reader.has("lora")) training.lora = read_lora(reader.at("lora"));
  if (reader.has("data")) training.data = read_data_spec(reader.at("data"));
  if (reader.has("checkpoint")) training.checkpoint = read_checkpoint_spec(reader.at("checkpoint"));
  if (reader.has("flops_convention")) {
    training.flops_convention =
        static_cast<FlopsConvention>(reader.at("flops_convention").choice(kFlopsConventions));
  }
  return training;
}

}  // namespace orrery
