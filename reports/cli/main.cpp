#include <algorithm>
#include <array>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/cli/commands.hpp"
#include "reports/cli/output.hpp"
#include "reports/experiment/version.hpp"
#include "sim/base/errors.hpp"

namespace orrery {
namespace {

/// Commands of the contract that are not built yet.
constexpr std::array kUnbuilt = std::to_array<std::string_view>({"search", "plan", "sensitivity", "replay"});

/// Whether refusals are wanted as JSON: asked before the options are parsed, since parsing may be what fails.
bool wants_json(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--format=json") return true;
    if (arguments[i] == "--format" && i + 1 < arguments.size() && arguments[i + 1] == "json") return true;
  }
  return false;
}

/// The command that the arguments name, refused here if there is none: CLI11 would only say that one is
/// required.
std::optional<InputProblem> check_command(const std::vector<std::string>& arguments) {
  static const std::vector<std::string> kBuilt = {"predict", "validate", "kernel",  "calibrate",  "presets",
                                                  "compare", "scale",    "traffic", "collective", "topology"};
  const std::string command = arguments.empty() ? "-" : arguments.front();
  if (command == "--help" || command == "-h" || command == "--version") return std::nullopt;
  if (command.starts_with('-'))
    return InputProblem{"orrery", "", "no command", one_of(kBuilt) + " (see --help)", ""};
  if (std::find(kBuilt.begin(), kBuilt.end(), command) != kBuilt.end()) return std::nullopt;
  if (std::find(kUnbuilt.begin(), kUnbuilt.end(), command) != kUnbuilt.end()) {
    return InputProblem{"orrery", "", "", "",
                        "the command \"" + command + "\" is not built yet (--help lists those that are)"};
  }
  return InputProblem{"orrery", "", "\"" + command + "\"", one_of(kBuilt, command), ""};
}

/// Arguments that a command does not know: options with the nearest known one.
std::vector<InputProblem> unknown_arguments(const std::vector<Command>& commands) {
  std::vector<InputProblem> problems;
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    std::vector<std::string> known;
    for (const CLI::Option* option : command.app->get_options()) {
      if (!option->get_lnames().empty() && !option->get_group().empty())
        known.push_back("--" + option->get_lnames().front());
    }
    for (const std::string& argument : command.app->remaining()) {
      if (!argument.starts_with("--")) continue;
      const std::string name = argument.substr(0, argument.find('='));
      problems.push_back({"orrery " + command.app->get_name(), "", name, one_of(known, name), ""});
    }
    if (problems.empty() && !command.app->remaining().empty()) {
      problems.push_back({"orrery " + command.app->get_name(), "",
                          "\"" + command.app->remaining().front() + "\"", "no further argument", ""});
    }
  }
  return problems;
}

/// Options that were given an empty text: none takes one, and it must not pass for the option left out.
std::vector<InputProblem> empty_values(const Command& command) {
  std::vector<InputProblem> problems;
  for (const CLI::Option* option : command.app->get_options()) {
    const std::vector<std::string> values = option->results();
    if (!option->get_lnames().empty() && std::find(values.begin(), values.end(), "") != values.end())
      problems.push_back({"--" + option->get_lnames().front(), "", "an empty text", "a value", ""});
  }
  return problems;
}

/// Prints help or the version.
int print_wanted(const CLI::App& application, const CLI::Success& wanted) {
  const int code = application.exit(wanted);
  if (std::cout.flush()) return code;
  print_note("orrery: standard output cannot be written");
  return kFailure;
}

int run(std::vector<std::string> arguments) {
  const bool as_json = wants_json(arguments);
  if (const auto problem = check_command(arguments)) {
    print_refusal({*problem}, as_json);
    return kRefused;
  }
  CLI::App application("Predicts how fast a GPU cluster trains a large model, and why.", "orrery");
  application.set_version_flag("--version", version());
  application.require_subcommand(1);
  const std::vector<Command> commands = {
      add_predict_command(application),    add_validate_command(application),
      add_kernel_command(application),     add_calibrate_command(application),
      add_presets_command(application),    add_compare_command(application),
      add_scale_command(application),      add_traffic_command(application),
      add_collective_command(application), add_topology_command(application)};
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes its arguments last first
    application.parse(arguments);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return print_wanted(application, wanted);
  } catch (const CLI::ParseError& error) {
    std::vector<InputProblem> problems = unknown_arguments(commands);
    if (problems.empty()) problems.push_back({"orrery", "", "", "", error.what()});
    print_refusal(problems, as_json);
    return kRefused;
  }
  try {
    for (const Command& command : commands) {
      if (!command.app->parsed()) continue;
      const std::vector<InputProblem> problems = empty_values(command);
      if (!problems.empty()) throw InputError(problems);
      return command.run();
    }
    return kFailure;
  } catch (const InputError& error) {
    print_refusal(error.problems(), as_json);
    return kRefused;
  } catch (const std::exception& error) {
    print_note(std::string("orrery: ") + error.what());
    return kFailure;
  }
}

}  // namespace
}  // namespace orrery

int main(int argc, char** argv) {
  try {
    return orrery::run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (...) {  // what cannot even be reported: no memory
    return orrery::kFailure;
  }
}
