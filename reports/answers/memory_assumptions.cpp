#include "reports/answers/memory_assumptions.hpp"

#include <array>

#include "models/layer_shapes.hpp"
#include "models/memory.hpp"
#include "reports/experiment/settings.hpp"
#include "sim/base/errors.hpp"

namespace orrery {
namespace {

constexpr std::array<const char*, 3> kGradientDtypes = {"fp32", "bf16", "fp16"};

bool is_given(const Experiment& experiment, const char* pointer) {
  return experiment.document.contains(Json::json_pointer(pointer));
}

/// Adds what the peak is with `key` set otherwise, unless that is no legal experiment.
void add_assumption(const Experiment& experiment, Bytes collective_buffers, std::string key,
                    std::string taken, std::string otherwise, std::vector<MemoryAssumption>& list) {
  Json document = experiment.document;
  const Json::json_pointer software("/software");
  // A preset's name becomes an object that a key can be added to.
  if (document.contains(software) && document[software].is_string())
    document[software] = Json{{"preset", document[software]}};
  apply_setting(document, key + "=" + otherwise);
  try {
    const Experiment other = read_experiment(document, experiment.file);
    const MemoryUse use =
        memory_use(other.model, other.training, other.software, other.parallel, collective_buffers);
    list.push_back({std::move(key), std::move(taken), std::move(otherwise), use.peak});
  } catch (const InputError&) {
    // The software refuses the other type: the verdict rests on nothing unsaid.
  }
}

}  // namespace

std::vector<MemoryAssumption> memory_assumptions(const Experiment& experiment, Bytes collective_buffers) {
  std::vector<MemoryAssumption> list;
  const TrainingSpec& training = experiment.training;
  if (training.lora || activation_bytes(training.precision) >= 4.0) return list;
  if (!training.gradient_dtype && !is_given(experiment, "/software/gradient_dtype")) {
    const GradientDtype taken = experiment.software.gradient_dtype;
    const GradientDtype half =
        training.precision == Precision::fp16 ? GradientDtype::fp16 : GradientDtype::bf16;
    const GradientDtype other = taken == GradientDtype::fp32 ? half : GradientDtype::fp32;
    add_assumption(experiment, collective_buffers, "training.gradient_dtype",
                   kGradientDtypes[static_cast<size_t>(taken)], kGradientDtypes[static_cast<size_t>(other)],
                   list);
  }
  if (operand_bytes(training.precision) == 1.0 && experiment.parallel.zero >= 1 &&
      !is_given(experiment, "/software/fp8_parameter_gather")) {
    const bool taken = experiment.software.fp8_parameter_gather;
    add_assumption(experiment, collective_buffers, "software.fp8_parameter_gather", taken ? "true" : "false",
                   taken ? "false" : "true", list);
  }
  return list;
}

}  // namespace orrery
