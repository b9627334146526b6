#include "reports/experiment/settings.hpp"

#include <algorithm>
#include <vector>

#include "sim/base/data_files.hpp"
#include "sim/base/json_edit.hpp"

namespace orrery {
namespace {

/// Recomputation is the one key besides presets that is a name or an object.
void open_recompute(Json& document, std::string_view path) {
  if (!path.starts_with("training.recompute.") || !document.is_object()) return;
  const auto training = document.find("training");
  if (training == document.end() || !training->is_object()) return;
  const auto recompute = training->find("recompute");
  if (recompute != training->end() && recompute->is_string()) *recompute = Json{{"kind", *recompute}};
}

bool is_file_argument(const std::string& argument) {
  return argument.find('/') != std::string::npos || argument.find(".json") != std::string::npos;
}

}  // namespace

void apply_setting(Json& document, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    throw InputError(
        InputProblem{"--set", "", "\"" + std::string(assignment) + "\"", "path.to.key=value", ""});
  }
  const std::string_view path = assignment.substr(0, equals);
  open_recompute(document, path);
  set_json_path(document, path, assignment.substr(equals + 1));
}

ExperimentDocument read_experiment_document(const std::string& argument) {
  if (argument == "-" || is_file_argument(argument)) return {argument, read_json_file(argument)};
  const std::vector<std::string> names = preset_names("examples");
  if (std::find(names.begin(), names.end(), argument) == names.end()) {
    throw InputError(InputProblem{argument, "", "no example of this name",
                                  one_of(names, argument) + ", a file (with \"/\" or \".json\") or \"-\"",
                                  ""});
  }
  return {argument, read_json_file((data_root() / "examples" / (argument + ".json")).string())};
}

}  // namespace orrery
