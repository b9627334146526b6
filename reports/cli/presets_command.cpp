#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "reports/answers/model_shapes.hpp"
#include "reports/answers/presets.hpp"
#include "reports/cli/commands.hpp"
#include "reports/cli/options.hpp"
#include "reports/cli/output.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/presets_writer.hpp"

namespace orrery {
namespace {

struct PresetsArguments {
  std::string kind, name;
  bool shapes = false;
  std::string software, gpu;
  /// Options of --shapes by the key that they set in an experiment's `training` and `parallel`.
  std::vector<std::pair<std::string, std::string>> training = {
      {"seq_length", ""}, {"micro_batch", ""}, {"precision", ""}, {"recompute", ""}, {"optimizer", ""}};
  std::vector<std::pair<std::string, std::string>> parallel = {
      {"tensor", ""}, {"pipeline", ""}, {"context", ""}};
  bool sequence = false;
  CommonOptions common;

  bool describes_shapes() const {
    const auto given = [](const auto& option) { return !option.second.empty(); };
    return sequence || !software.empty() || !gpu.empty() ||
           std::any_of(training.begin(), training.end(), given) ||
           std::any_of(parallel.begin(), parallel.end(), given);
  }
};

/// A number where the text is one, else the text, for the reader to judge.
Json as_value(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return text;
}

int print_shapes(const PresetsArguments& arguments, OutputFormat format) {
  if (arguments.kind != "models" || arguments.name.empty()) {
    throw InputError(InputProblem{"--shapes", "", "no model", "presets models NAME --shapes", ""});
  }
  if (format == OutputFormat::csv) {
    throw InputError(InputProblem{"--format", "", "\"csv\"", "nothing: shapes are JSON lines", ""});
  }
  if (arguments.name.find('/') == std::string::npos && !arguments.name.ends_with(".json")) {
    find_preset(arguments.kind, arguments.name);  // refuses an unknown name with the nearest
  }
  ModelShapesOptions options;
  options.model = arguments.name;
  options.software = arguments.software;
  options.gpu = arguments.gpu;
  for (const auto& [key, value] : arguments.training) {
    if (!value.empty()) options.training[key] = as_value(value);
  }
  for (const auto& [key, value] : arguments.parallel) {
    if (!value.empty()) options.parallel[key] = as_value(value);
  }
  if (arguments.sequence) options.parallel["sequence"] = true;
  std::string text;
  for (const ModelKernel& kernel : model_shapes(options)) text += kernel_line_text(kernel) + "\n";
  print_result(text);
  return kSuccess;
}

int run_presets(const PresetsArguments& arguments) {
  const RunOptions options = check_common_options(arguments.common, EngineKind::estimate);
  if (arguments.shapes) return print_shapes(arguments, options.format);
  if (arguments.describes_shapes()) {
    throw InputError(
        InputProblem{"orrery presets", "", "", "", "--tensor, --precision and the like go with --shapes"});
  }
  if (!arguments.name.empty()) {
    const Preset preset = find_preset(arguments.kind, arguments.name);
    switch (options.format) {
      case OutputFormat::json:
        print_result(json_text(preset_json(preset)));
        break;
      case OutputFormat::csv:
        throw InputError(InputProblem{"--format", "", "\"csv\"", "text or json for a single preset", ""});
      case OutputFormat::text:
        print_result(preset_text(preset));
        break;
    }
    return kSuccess;
  }
  const std::vector<PresetList> lists = list_presets(arguments.kind);
  switch (options.format) {
    case OutputFormat::json:
      print_result(json_text(presets_json(lists)));
      break;
    case OutputFormat::csv:
      print_result(presets_csv(lists));
      break;
    case OutputFormat::text:
      print_result(presets_text(lists));
      break;
  }
  return kSuccess;
}

void add_shape_options(CLI::App& command, PresetsArguments& arguments) {
  command.add_flag(
      "--shapes", arguments.shapes,
      "of a model: the kernels that one GPU runs in a step of one micro-batch, as JSON lines for "
      "orrery kernel --input - and kernels/gemm --shapes -");
  const std::vector<std::string> training = {
      "tokens of a sequence (default: the model's max_positions, else 4096)",
      "sequences of a micro-batch (default 1)", "of the matrix products (default bf16)",
      "none (default), selective or full", "default adam"};
  for (size_t i = 0; i < training.size(); ++i) {
    std::string option = "--" + arguments.training[i].first;
    std::replace(option.begin(), option.end(), '_', '-');
    command.add_option(option, arguments.training[i].second, "with --shapes: " + training[i])
        ->type_name("VALUE");
  }
  for (auto& [key, value] : arguments.parallel) {
    command.add_option("--" + key, value, "with --shapes: " + key + "-parallel degree (default 1)")
        ->type_name("N");
  }
  command.add_flag("--sequence", arguments.sequence,
                   "with --shapes: sequence parallelism of the tensor ranks");
  command
      .add_option("--software", arguments.software, "with --shapes: software stack (default megatron-core)")
      ->type_name("NAME|FILE");
  command
      .add_option("--gpu", arguments.gpu,
                  "with --shapes: where a stack picks its attention kernel by the GPU")
      ->type_name("NAME|FILE");
}

}  // namespace

Command add_presets_command(CLI::App& application) {
  auto arguments = std::make_shared<PresetsArguments>();
  CLI::App* command = application.add_subcommand("presets", "lists and prints what ships");
  command->add_option("KIND", arguments->kind, "gpus, nodes, clusters, models, software or calibrations");
  command->add_option("NAME", arguments->name, "print this one");
  add_shape_options(*command, *arguments);
  add_output_options(*command, arguments->common);
  return {command, [arguments] { return run_presets(*arguments); }};
}

}  // namespace orrery
