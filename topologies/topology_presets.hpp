#pragma once

#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

enum class TopologyPresetKind { gpu, node, cluster };

/// Their names, sorted.
std::vector<std::string> topology_preset_names(TopologyPresetKind kind);

/// The preset's file as it stands, sources included.
/// @throws std::invalid_argument for an unknown name, with the known ones, nearest first
Json topology_preset(TopologyPresetKind kind, const std::string& name);

}  // namespace orrery
