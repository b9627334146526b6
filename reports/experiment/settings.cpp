#include "reports/experiment/settings.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/base/data_files.hpp"
#include "sim/base/json_edit.hpp"

namespace orrery {
namespace {

/// Keys of training that are a name or an object: the name becomes the object's kind.
void open_kind(Json& document, std::string_view path) {
  if (!document.is_object()) return;
  const auto training = document.find("training");
  if (training == document.end() || !training->is_object()) return;
  for (const std::string key : {"recompute", "optimizer"}) {
    const auto value = training->find(key);
    if (path.starts_with("training." + key + ".") && value != training->end() && value->is_string())
      *value = Json{{"kind", *value}};
  }
}

bool is_file_argument(const std::string& argument) {
  return argument.find('/') != std::string::npos || argument.find(".json") != std::string::npos;
}

/// As the JSON library sees it.
bool is_utf8(std::string_view text) {
  try {
    return !Json(text).dump().empty();
  } catch (const Json::type_error&) {
    return false;
  }
}

}  // namespace

void apply_setting(Json& document, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    throw InputError(
        InputProblem{"--set", "", "\"" + std::string(assignment) + "\"", "path.to.key=value", ""});
  }
  if (!is_utf8(assignment)) {
    throw InputError(InputProblem{"--set", "", "\"" + std::string(assignment) + "\"", "text in UTF-8", ""});
  }
  const std::string_view path = assignment.substr(0, equals);
  open_kind(document, path);
  set_json_path(document, path, assignment.substr(equals + 1));
}

void apply_settings(Json& document, const std::vector<std::string>& assignments) {
  std::vector<InputProblem> problems;
  for (const std::string& assignment : assignments) {
    try {
      apply_setting(document, assignment);
    } catch (const InputError& error) {
      problems.insert(problems.end(), error.problems().begin(), error.problems().end());
    }
  }
  if (!problems.empty()) throw InputError(std::move(problems));
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
