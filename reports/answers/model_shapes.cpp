#include "reports/answers/model_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "calibration/kernels/kernel_profile.hpp"
#include "models/layer_operators.hpp"
#include "models/layer_shapes.hpp"
#include "models/optimizer_step.hpp"
#include "reports/answers/kernel.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kUsualLength = 4096;  // tokens of a sequence where neither user nor model says

/// What is lowered: a model on one GPU of a plan.
struct Setting {
  ModelSpec model;
  TrainingSpec training;
  SoftwareStack software;
  ParallelPlan parallel;
};

Json document_of(const std::string& argument) {
  const bool file = argument.find('/') != std::string::npos || argument.ends_with(".json");
  return file ? read_json_file(argument) : Json(argument);
}

/// Readers name places of an experiment; the user typed options: "/parallel/tensor" is "--tensor",
/// "/training/seq_length" is "--seq-length".
InputProblem of_option(InputProblem problem) {
  const size_t last = problem.pointer.rfind('/');
  if (last == std::string::npos) return problem;
  std::string option = "--" + problem.pointer.substr(last + 1);
  std::replace(option.begin(), option.end(), '_', '-');
  problem.file = option == "--global-batch" ? "--micro-batch" : option;
  problem.pointer.clear();
  return problem;
}

std::int64_t degree(const Json& parallel, const char* key) {
  const auto found = parallel.find(key);
  return found != parallel.end() && found->is_number_integer()
             ? std::clamp<std::int64_t>(found->get<std::int64_t>(), 1, 1 << 20)
             : 1;
}

/// The model's name in messages and a fresh reading of it.
ModelSpec read_model(const std::string& argument, Problems& problems) {
  const Json document = document_of(argument);
  return read_model_spec(SpecReader(document, "", problems));
}

Setting read_setting(const ModelShapesOptions& options) {
  Setting setting;
  Problems model_problems(options.model);
  setting.model = read_model(options.model, model_problems);
  model_problems.throw_if_any();

  Problems problems("presets --shapes");
  Json training = options.training;
  if (!training.contains("seq_length")) {
    training["seq_length"] = setting.model.max_positions > 0 ? setting.model.max_positions : kUsualLength;
  }
  if (!training.contains("micro_batch")) training["micro_batch"] = 1;
  training["global_batch"] = training["micro_batch"];
  const Json software = options.software.empty() ? Json::object() : document_of(options.software);
  setting.training = read_training_spec(SpecReader(training, "/training", problems));
  setting.software = read_software_stack(SpecReader(software, "/software", problems),
                                         asked_of_stack(setting.training, options.parallel));
  const std::int64_t gpus = degree(options.parallel, "tensor") * degree(options.parallel, "pipeline") *
                            degree(options.parallel, "context");
  if (problems.empty() && gpus <= (1 << 20)) {
    setting.parallel = read_parallel_plan(SpecReader(options.parallel, "/parallel", problems), setting.model,
                                          setting.training, setting.software, static_cast<int>(gpus));
  } else if (gpus > (1 << 20)) {
    problems.add_message(
        "", fmt::format("{} GPUs of tensor x pipeline x context: expected at most {}", gpus, 1 << 20));
  }
  if (!problems.empty()) {
    Problems by_option(
        "presets --shapes");  // global_batch is micro_batch here: what is wrong with both is said once
    for (const InputProblem& problem : problems.list()) by_option.add(of_option(problem));
    by_option.throw_if_any();
  }
  const std::string architecture = options.gpu.empty() ? "" : read_gpu_argument(options.gpu).architecture;
  setting.software.choose_for_architecture(architecture, setting.model.has_unequal_heads());
  setting.software.settle_attention(architecture, setting.training.precision);
  return setting;
}

/// Collects operators by shape, in order of first use.
class ShapeList {
 public:
  void add(const LayerPass& pass, std::int64_t times) {
    for (const LayerItem& item : pass.items) {
      if (const auto* op = std::get_if<Operator>(&item)) add(*op, times);
    }
  }
  std::vector<ModelKernel> take() { return std::move(kernels_); }

 private:
  void add(const Operator& op, std::int64_t times) {
    if (times == 0) return;
    const auto found = std::find_if(kernels_.begin(), kernels_.end(),
                                    [&](const ModelKernel& kernel) { return kernel.op.shape == op.shape; });
    if (found == kernels_.end()) {
      kernels_.push_back({std::string(op.name), times, op});
      return;
    }
    found->count += times;
    // Whole names: "output_dgrad" is no part of "qkv_output_dgrad".
    if (("+" + found->name + "+").find("+" + std::string(op.name) + "+") == std::string::npos) {
      found->name += "+" + std::string(op.name);
    }
  }

  std::vector<ModelKernel> kernels_;
};

void add_work(const LayerWork& work, std::int64_t times, ShapeList& list) {
  list.add(work.forward, times);
  list.add(work.recompute, times);
  list.add(work.backward, times);
}

/// Layers of each kind on the stage that has most layers.
std::vector<std::pair<LayerKind, std::int64_t>> layers_of_fullest_stage(const Setting& setting) {
  const std::vector<LayerKind> kinds = layer_kinds(setting.model);
  const std::vector<int> by_layer = kinds_by_layer(setting.model);
  std::vector<std::int64_t> fullest(kinds.size(), 0);
  for (int stage = 0; stage < setting.parallel.pipeline; ++stage) {
    std::vector<std::int64_t> layers(kinds.size(), 0);
    const std::vector<LayerRange> ranges = layers_by_virtual_stage(setting.training, setting.parallel);
    for (auto v = static_cast<size_t>(stage); v < ranges.size();
         v += static_cast<size_t>(setting.parallel.pipeline)) {
      for (int i = 0; i < ranges[v].count; ++i) {
        ++layers[static_cast<size_t>(
            by_layer[static_cast<size_t>(ranges[v].first) + static_cast<size_t>(i)])];
      }
    }
    const auto total = [](const std::vector<std::int64_t>& of) {
      return std::accumulate(of.begin(), of.end(), std::int64_t{0});
    };
    if (total(layers) > total(fullest)) fullest = layers;
  }
  for (int i = 0; i < setting.model.mtp_layers; ++i) {
    ++fullest[static_cast<size_t>(
        by_layer[static_cast<size_t>(setting.model.layers) + static_cast<size_t>(i)])];
  }
  std::vector<std::pair<LayerKind, std::int64_t>> result;
  for (size_t kind = 0; kind < kinds.size(); ++kind) result.emplace_back(kinds[kind], fullest[kind]);
  return result;
}

std::string members_of(const GemmShape& shape) {
  std::string text = fmt::format("\"m\": {}, \"n\": {}, \"k\": {}", shape.m, shape.n, shape.k);
  if (shape.batch > 1 || shape.grouped) text += fmt::format(", \"batch\": {}", shape.batch);
  if (shape.grouped) text += ", \"grouped\": true";
  text += fmt::format(", \"precision\": \"{}\", \"output_bytes\": {}", name_of(shape.precision),
                      std::llround(shape.output_bytes));
  if (is_quantized(shape.precision))
    text += fmt::format(", \"includes_quantize\": {}", shape.quantized_inputs);
  return text;
}

std::string members_of(const AttentionShape& shape) {
  std::string text = fmt::format("\"batch\": {}, \"seq_length\": {}", shape.batch, shape.seq_q);
  if (shape.seq_kv != shape.seq_q) text += fmt::format(", \"kv_seq_length\": {}", shape.seq_kv);
  text += fmt::format(", \"heads\": {}, \"kv_heads\": {}, \"head_dim\": {}", shape.heads, shape.kv_heads,
                      shape.head_dim);
  if (shape.value_dim != shape.head_dim) text += fmt::format(", \"value_dim\": {}", shape.value_dim);
  text += fmt::format(", \"causal\": {}", shape.causal);
  if (shape.window > 0) text += fmt::format(", \"window\": {}", shape.window);
  return text + fmt::format(", \"pass\": \"{}\", \"precision\": \"{}\", \"kernel\": \"{}\"",
                            shape.pass == AttentionPass::forward ? "forward" : "backward",
                            name_of(shape.precision), name_of(shape.kernel));
}

std::string members_of(const MemoryShape& shape) {
  std::string text =
      fmt::format("\"bytes\": {}, \"kind\": \"{}\"", std::llround(shape.traffic.base()), name_of(shape.kind));
  if (shape.launches > 1) text += fmt::format(", \"launches\": {}", shape.launches);
  const auto nanoseconds = std::llround(shape.sm_time.base() * 1e9);
  if (nanoseconds > 0) text += fmt::format(", \"sm_ns\": {}", nanoseconds);
  return text;
}

}  // namespace

std::vector<ModelKernel> model_shapes(const ModelShapesOptions& options) {
  const Setting setting = read_setting(options);
  const auto& [model, training, software, parallel] = setting;
  double parameters = embedding_parameters_per_rank(model, training, parallel, software.vocab_multiple) +
                      head_parameters_per_rank(model, parallel, software.vocab_multiple) +
                      model.mtp_layers * token_prediction_parameters_per_rank(model, parallel);
  double matrices = 0;
  int layer_count = 0;
  ShapeList list;
  add_work(embedding_work(model, training, software, parallel), 1, list);
  for (const auto& [kind, layers] : layers_of_fullest_stage(setting)) {
    parameters += static_cast<double>(layers) * layer_parameters_per_rank(model, parallel, kind);
    matrices += static_cast<double>(layers) * layer_matrix_parameters_per_rank(model, parallel, kind);
    layer_count += static_cast<int>(layers);
    add_work(transformer_layer_work(model, training, software, parallel, kind), layers, list);
  }
  add_work(head_work(model, training, software, parallel), 1 + model.mtp_layers, list);
  add_work(token_prediction_work(model, training, software, parallel), model.mtp_layers, list);
  OptimizerLoad load;
  load.updated = load.resident = parameters;
  load.cast_weights = matrices;
  load.matrices = trained_matrices(model, training, parallel, layer_count);
  list.add(optimizer_pass(training, software, parallel, load), 1);
  return list.take();
}

std::string kernel_line_text(const ModelKernel& kernel) {
  const std::string_view op = std::holds_alternative<GemmShape>(kernel.op.shape)        ? "gemm"
                              : std::holds_alternative<AttentionShape>(kernel.op.shape) ? "attention"
                                                                                        : "memory";
  return fmt::format("{{\"op\": \"{}\", \"name\": \"{}\", \"count\": {}, {}}}", op, kernel.name, kernel.count,
                     std::visit([](const auto& shape) { return members_of(shape); }, kernel.op.shape));
}

}  // namespace orrery
