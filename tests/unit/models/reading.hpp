#pragma once

#include <string>
#include <vector>

#include "models/model_spec.hpp"
#include "models/parallel_plan.hpp"
#include "models/software_stack.hpp"
#include "models/training_spec.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery::reading {

/// What a reader made of a text, and the lines that the user would see.
template <typename Spec>
struct Outcome {
  Spec spec;
  std::vector<std::string> lines;
};

/// Reads `text` as the member at `pointer` of experiment.json.
template <typename Read>
auto read_text(const std::string& text, const std::string& pointer, Read read) {
  const Json document = parse_json(text, "experiment.json");
  Problems problems("experiment.json");
  const SpecReader reader(document, pointer, problems);
  Outcome<decltype(read(reader))> outcome;
  outcome.spec = read(reader);
  for (const InputProblem& problem : problems.list()) outcome.lines.push_back(problem.line());
  return outcome;
}

inline Outcome<ModelSpec> model(const std::string& text) {
  return read_text(text, "/model", [](const SpecReader& reader) { return read_model_spec(reader); });
}
inline Outcome<TrainingSpec> training(const std::string& text) {
  return read_text(text, "/training", [](const SpecReader& reader) { return read_training_spec(reader); });
}
inline Outcome<SoftwareStack> software(const std::string& text) {
  return read_text(text, "/software", [](const SpecReader& reader) { return read_software_stack(reader); });
}
inline Outcome<ParallelPlan> plan(const std::string& text, const ModelSpec& model,
                                  const TrainingSpec& training, int gpus, const SoftwareStack& stack = {}) {
  return read_text(text, "/parallel", [&](const SpecReader& reader) {
    return read_parallel_plan(reader, model, training, stack, gpus);
  });
}

/// One input that must be refused with exactly these lines.
struct Refusal {
  std::string text;
  std::vector<std::string> lines;
};

}  // namespace orrery::reading
