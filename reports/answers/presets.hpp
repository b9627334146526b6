#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// The names of one kind of preset.
struct PresetList {
  std::string kind;  ///< "gpus", "nodes", "clusters", "models", "software", "calibrations"
  std::vector<std::string> names;
};

/// One preset as it ships.
struct Preset {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
  std::string kind, name;
  Json document;
  std::optional<double> parameters;  ///< of a model: whole, embeddings included, tied weights once
};

/// Kinds of presets, in the order in which they are listed.
const std::vector<std::string>& preset_kinds();
/// The folder below data_root() that holds a kind. @throws std::out_of_range for an unknown kind
const std::string& preset_folder(const std::string& kind);

/// All kinds, or the one named. @throws InputError for an unknown kind
std::vector<PresetList> list_presets(const std::string& kind);
/// @throws InputError for an unknown kind or name
Preset find_preset(const std::string& kind, const std::string& name);

}  // namespace orrery
