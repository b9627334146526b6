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
  CommonOptions common;
};

int run_presets(const PresetsArguments& arguments) {
  const RunOptions options = check_common_options(arguments.common, EngineKind::estimate);
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

}  // namespace

Command add_presets_command(CLI::App& application) {
  auto arguments = std::make_shared<PresetsArguments>();
  CLI::App* command = application.add_subcommand("presets", "lists and prints what ships");
  command->add_option("KIND", arguments->kind, "gpus, nodes, clusters, models, software or calibrations");
  command->add_option("NAME", arguments->name, "print this one");
  add_common_options(*command, arguments->common);
  return {command, [arguments] { return run_presets(*arguments); }};
}

}  // namespace orrery
