#include "reports/answers/presets.hpp"

#include <algorithm>
#include <map>

#include "models/model_spec.hpp"
#include "sim/base/data_files.hpp"

namespace orrery {
namespace {

const std::map<std::string, std::string>& folders() {
  static const std::map<std::string, std::string> kFolders = {{"gpus", "topologies/presets/gpus"},
                                                              {"nodes", "topologies/presets/nodes"},
                                                              {"clusters", "topologies/presets/clusters"},
                                                              {"models", "models/presets"},
                                                              {"software", "models/software"},
                                                              {"calibrations", "calibration/profiles"}};
  return kFolders;
}

void require_kind(const std::string& kind) {
  const std::vector<std::string>& kinds = preset_kinds();
  if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) return;
  throw InputError(InputProblem{"presets", "", "\"" + kind + "\"", one_of(kinds, kind), ""});
}

double model_parameters(const std::string& name) {
  const Json reference = name;
  Problems problems("models/presets/" + name + ".json");
  const ModelSpec model = read_model_spec(SpecReader(reference, "", problems));
  problems.throw_if_any();
  return parameter_count(model, model.max_positions);
}

}  // namespace

const std::vector<std::string>& preset_kinds() {
  static const std::vector<std::string> kKinds = {"gpus",   "nodes",    "clusters",
                                                  "models", "software", "calibrations"};
  return kKinds;
}

const std::string& preset_folder(const std::string& kind) { return folders().at(kind); }

std::vector<PresetList> list_presets(const std::string& kind) {
  if (!kind.empty()) {
    require_kind(kind);
    return {{kind, preset_names(preset_folder(kind))}};
  }
  std::vector<PresetList> lists;
  for (const std::string& each : preset_kinds()) lists.push_back({each, preset_names(preset_folder(each))});
  return lists;
}

Preset find_preset(const std::string& kind, const std::string& name) {
  require_kind(kind);
  const std::vector<std::string> names = preset_names(preset_folder(kind));
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw InputError(InputProblem{"presets " + kind, "", "\"" + name + "\"", one_of(names, name, 60), ""});
  }
  Preset preset;
  preset.kind = kind;
  preset.name = name;
  preset.document = read_json_file((data_root() / preset_folder(kind) / (name + ".json")).string());
  if (kind == "models") preset.parameters = model_parameters(name);
  return preset;
}

}  // namespace orrery
