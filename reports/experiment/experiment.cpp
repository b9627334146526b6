#include "reports/experiment/experiment.hpp"

#include <fmt/core.h>

#include "models/accepted_keys.hpp"
#include "models/layer_operators.hpp"
#include "models/moe_shape.hpp"
#include "sim/cost/year_month.hpp"

namespace orrery {
namespace {

const Json& empty_object() {
  static const Json kEmpty = Json::object();
  return kEmpty;
}

/// A member that may be left out, read as an empty object then.
SpecReader optional_section(const SpecReader& reader, std::string_view key) {
  if (reader.has(key)) return reader.at(key);
  return {empty_object(), reader.pointer() + "/" + std::string(key), reader.problems()};
}

std::string default_name(const Experiment& experiment) {
  return fmt::format("{} on {} x {}", experiment.model.name.empty() ? "model" : experiment.model.name,
                     experiment.shape.gpus, experiment.device.name);
}

/// What a stack's own defaults leave alone but a given key may ask for.
void check_parameter_gather(const SpecReader& reader, const Experiment& experiment) {
  const Json::json_pointer place("/software/fp8_parameter_gather");
  if (!experiment.software.fp8_parameter_gather || !reader.json().contains(place)) return;
  const std::string at = reader.pointer() + place.to_string();
  if (operand_bytes(experiment.training.precision) != 1.0) {
    reader.problems().add(
        at, "true",
        fmt::format("false with precision {}: parameters are gathered in 8 bits only under fp8, "
                    "fp8_current, fp8_block and mxfp8",
                    name_of(experiment.training.precision)));
  } else if (experiment.parallel.zero == 0) {
    reader.problems().add(at, "true", "false with zero 0, which gathers no parameters");
  }
}

void check_activation_input(const SpecReader& reader, const Experiment& experiment) {
  if (!experiment.software.fp8_activation_input || experiment.model.gated) return;
  reader.problems().add(reader.pointer() + "/software/fp8_activation_input", "true",
                        "false with a plain activation: only a gated one's input is kept in FP8");
}

void check_output_projection(const SpecReader& reader, const Experiment& experiment) {
  if (!experiment.software.fp8_output_projection || is_quantized(experiment.training.precision)) return;
  reader.problems().add(
      reader.pointer() + "/software/fp8_output_projection", "true",
      fmt::format("false with precision {}: the logits' product takes the format of an 8- or "
                  "4-bit recipe",
                  name_of(experiment.training.precision)));
}

/// A fused attention kernel that was asked for has to run on the GPU and in the precision.
void check_attention_kernel(const SpecReader& reader, const Experiment& experiment) {
  const auto& kernel = experiment.software.unusable_attention_kernel;
  const Json::json_pointer place("/software/attention_kernel");
  if (!kernel || !reader.json().contains(place)) return;
  reader.problems().add(
      reader.pointer() + place.to_string(),
      fmt::format("\"{}\"", kAttentionKernels[static_cast<size_t>(*kernel)]),
      "\"unfused\" " + bar_to_fused_attention(experiment.device.architecture, experiment.training.precision));
}

/// A library that was asked for has to run on the GPU.
void check_collectives(const SpecReader& reader, const Experiment& experiment) {
  const Json::json_pointer place("/software/collectives");
  if (!reader.json().contains(place)) return;
  if (experiment.software.collectives == "rccl" && !experiment.device.architecture.starts_with("cdna")) {
    reader.problems().add(
        reader.pointer() + place.to_string(), "\"rccl\"",
        fmt::format("\"nccl\" on {}: RCCL runs on AMD's GPUs only", experiment.device.name));
  }
}

/// Attention in 8 bits needs a recipe that has it, a kernel with a backward in 8 bits and, between context
/// ranks, an exchange whose tensors are counted.
void check_fp8_attention(const SpecReader& reader, const Experiment& experiment) {
  const SoftwareStack& software = experiment.software;
  if (!software.fp8_attention) return;
  const auto refuse = [&](const std::string& expected) {
    reader.problems().add(reader.pointer() + "/software/fp8_attention", "true", expected);
  };
  const Precision precision = experiment.training.precision;
  if (!is_quantized(precision)) {
    refuse(
        fmt::format("false with precision {}: operands are cast by the recipe of fp8, fp8_current, mxfp8 "
                    "or nvfp4",
                    name_of(precision)));
  } else if (software.fp8_attention_costs.kept <= 0.0) {
    refuse(
        fmt::format("false where the software has no attention in 8 bits under {} "
                    "(software.fp8_attention_costs counts none at {}; a later software.date may have it)",
                    name_of(precision), to_text(software.date)));
  } else if (experiment.device.exponentials.base() <= 0.0 ||
             experiment.device.shared_memory_bandwidth.base() <= 0.0) {
    refuse("false on a GPU whose exponentials and shared_memory_bandwidth are not given");
  } else if (software.attention_kernel != AttentionKernel::cudnn) {
    refuse("false unless attention_kernel is cudnn: no other's backward runs in 8 bits");
  } else if (experiment.parallel.context > 1 &&
             experiment.parallel.context_method != ContextMethod::ulysses) {
    refuse("false with context parallelism of context_method ring or all_gather: only ulysses is counted");
  }
}

/// The GPU has units for the products' format; tells whether it has.
bool check_precision(const SpecReader& reader, const Experiment& experiment) {
  const DeviceSpec& device = experiment.device;
  const Precision asked = experiment.training.precision;
  if (device.peak_for(asked)) return true;
  std::vector<std::string> available;
  for (const std::string_view name : precision_names()) {
    if (device.peak_for(*precision_named(name))) available.emplace_back(name);
  }
  // The next wider format that the GPU has; formats stand in the order of their width.
  auto nearest = static_cast<size_t>(asked);
  while (nearest > 0 && !device.peak_for(static_cast<Precision>(nearest))) --nearest;
  reader.problems().add(
      reader.pointer() + "/training/precision", fmt::format("\"{}\"", name_of(asked)),
      fmt::format("a precision that {} has matrix units for: {}; the nearest is {}", device.name,
                  list_names(available), name_of(static_cast<Precision>(nearest))));
  return false;
}

/// What the software does in 8 bits goes with the precision's recipe, the GPU and the plan.
void check_narrow_formats(const SpecReader& reader, const Experiment& experiment) {
  check_parameter_gather(reader, experiment);
  check_activation_input(reader, experiment);
  check_output_projection(reader, experiment);
  check_fp8_attention(reader, experiment);
}

/// Muon orthogonalises its updates by products in bf16, whatever the model is trained in.
void check_muon(const SpecReader& reader, const Experiment& experiment) {
  if (experiment.training.optimizer != Optimizer::muon || experiment.device.peak_for(Precision::bf16)) return;
  reader.problems().add(reader.pointer() + "/training/optimizer", "\"muon\"",
                        fmt::format("adamw or another one by element: muon's products run in bf16, for "
                                    "which {} has no matrix units",
                                    experiment.device.name));
}

/// Whether the rates that offloading rests on are known.
void check_host_memory(const SpecReader& reader, const Experiment& experiment) {
  const OffloadSpec& offload = experiment.training.offload;
  if (offload.optimizer && experiment.shape.host_memory_bandwidth.base() <= 0.0) {
    reader.problems().add_message(
        reader.pointer() + "/training/offload/optimizer",
        "the rate of the host's memory is not known; expected cluster.node.host_memory, such as "
        "{\"bandwidth\": \"600 GB/s\"}");
  }
  if ((offload.optimizer || offload.activations_layers > 0) &&
      experiment.shape.host_memory_link.base() <= 0.0) {
    reader.problems().add_message(
        reader.pointer() + "/training/offload",
        "the rate between GPU and host is not known; expected cluster.node.host_memory, such as "
        "{\"link\": \"64 GB/s\"}");
  }
}

/// GPUs of a cluster whose size was accepted, whatever else of it was not; else 0.
int known_gpus(const SpecReader& reader, const ClusterSpec& cluster) {
  const std::string place = reader.pointer() + "/cluster";
  if (!AcceptedKeys(optional_section(reader, "parallel")).sections({})) return 0;
  for (const std::string& key : reader.problems().refused_below(place)) {
    if (key != "fabric" && key != "storage" && key != "price") return 0;
  }
  for (const InputProblem& problem : reader.problems().list()) {
    if (problem.pointer == place) return 0;
  }
  return cluster.gpus;
}

/// What reads well on its own but cannot be predicted, or not together.
/// @param accepted of the sections, before the plan was read
/// @param plan_accepted whether the plan was, too
void cross_check(const SpecReader& reader, const Experiment& experiment, const AcceptedKeys& accepted,
                 bool plan_accepted) {
  Problems& problems = reader.problems();
  if (!accepted.sections({"cluster"})) return;
  const bool training = accepted.sections({"training"});
  if (training && !experiment.shape.storage.exists) {
    const std::string expected =
        "cluster.storage, such as {\"kind\": \"local\", \"read_bandwidth\": \"14 GB/s\"}";
    const auto refuse_without_storage = [&](std::string_view key, std::string_view what) {
      problems.add_message(reader.pointer() + "/training/" + std::string(key),
                           fmt::format("{}, but the cluster has no storage; expected {}", what, expected));
    };
    if (experiment.training.data && experiment.training.data->reads)
      refuse_without_storage("data", "samples are read");
    if (experiment.training.checkpoint) refuse_without_storage("checkpoint", "checkpoints are written");
  }
  const auto refuse_of_plan = [&](const char* key, const char* what) {
    problems.add_message(
        reader.pointer() + "/cluster/" + key,
        fmt::format("{} follow with `orrery plan`, which is not built yet; a step does not depend "
                    "on them: expected none",
                    what));
  };
  if (experiment.cluster.power) refuse_of_plan("power", "energy and peak power");
  if (experiment.cluster.reliability) refuse_of_plan("reliability", "failures and goodput");
  if (!training) return;
  check_host_memory(reader, experiment);
  const bool has_precision = check_precision(reader, experiment);
  if (accepted.sections({"software"})) {
    if (has_precision) check_attention_kernel(reader, experiment);
    check_collectives(reader, experiment);
  }
  if (has_precision && plan_accepted && accepted.sections({"model", "software"}))
    check_narrow_formats(reader, experiment);
  check_muon(reader, experiment);
}

}  // namespace

Experiment read_experiment(const SpecReader& reader) {
  Experiment experiment;
  experiment.file = reader.problems().file();
  experiment.document = reader.json();
  reader.only(std::vector<std::string>(kExperimentKeys.begin(), kExperimentKeys.end()));
  if (!reader.is_object()) return experiment;
  if (reader.has("schema")) reader.at("schema").choice({"orrery.experiment/1"});
  if (reader.has("name")) experiment.name = reader.at("name").text();
  if (reader.has("calibration")) experiment.calibration = reader.at("calibration").text();
  if (reader.has("measured")) experiment.measured = read_measured_run(reader.at("measured"));
  experiment.cluster = read_cluster_spec(reader.at("cluster"));
  experiment.model = read_model_spec(reader.at("model"));
  experiment.training = read_training_spec(reader.at("training"));
  experiment.software =
      read_software_stack(optional_section(reader, "software"),
                          asked_of_stack(experiment.training, optional_section(reader, "parallel").json()));
  const SpecReader parallel = optional_section(reader, "parallel");
  const AcceptedKeys accepted(parallel);
  if (accepted.sections({"cluster"})) {
    experiment.shape = cluster_shape(experiment.cluster);
    experiment.device = device_spec(experiment.cluster);
    experiment.software.choose_for_architecture(experiment.device.architecture,
                                                experiment.model.has_unequal_heads());
    experiment.software.settle_attention(experiment.device.architecture, experiment.training.precision);
    experiment.software.run_on_host(experiment.cluster.node.host_speed);
  }
  experiment.parallel = read_parallel_plan(parallel, experiment.model, experiment.training,
                                           experiment.software, known_gpus(reader, experiment.cluster));
  cross_check(reader, experiment, accepted, AcceptedKeys(parallel).whole_plan());
  // A recipe's default that has nothing to act on: what is sent without it (to and from servers) is not cast.
  if (experiment.parallel.zero == 0) experiment.software.fp8_parameter_gather = false;
  if (experiment.name.empty() && reader.problems().empty()) experiment.name = default_name(experiment);
  return experiment;
}

Experiment read_experiment(const Json& document, const std::string& file) {
  Problems problems(file);
  Experiment experiment = read_experiment(SpecReader(document, "", problems));
  problems.throw_if_any();
  return experiment;
}

StepWork step_work(const Experiment& experiment) {
  const double expert_rows =
      expert_rows_share(experiment.model, experiment.training, experiment.software, experiment.parallel);
  const StepFlops flops =
      step_flops(experiment.model, experiment.training, experiment.parallel, 1, expert_rows);
  StepWork work;
  work.gpus = experiment.shape.gpus;
  work.tokens = static_cast<double>(experiment.training.global_batch) *
                static_cast<double>(experiment.training.seq_length);
  work.model_flops = flops.model.base();
  work.hardware_flops = flops.hardware.base();
  const auto peak = experiment.device.peak_for(experiment.training.precision);
  work.peak_flops = peak ? peak->base() * work.gpus : 0.0;
  return work;
}

}  // namespace orrery
