#include "topologies/topology_presets.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "sim/base/data_files.hpp"
#include "sim/base/installed_json.hpp"

namespace orrery {
namespace {

constexpr std::array<const char*, 3> kFolders = {"topologies/presets/gpus", "topologies/presets/nodes",
                                                 "topologies/presets/clusters"};

std::string folder_of(TopologyPresetKind kind) { return kFolders[static_cast<size_t>(kind)]; }

}  // namespace

std::vector<std::string> topology_preset_names(TopologyPresetKind kind) {
  return preset_names(folder_of(kind));
}

Json topology_preset(TopologyPresetKind kind, const std::string& name) {
  const std::vector<std::string> names = topology_preset_names(kind);
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw std::invalid_argument("\"" + name + "\" is not a preset; expected " + one_of(names, name));
  }
  return installed_json(folder_of(kind) + "/" + name + ".json");
}

}  // namespace orrery
