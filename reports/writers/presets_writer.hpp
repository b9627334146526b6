#pragma once

#include <string>
#include <vector>

#include "reports/answers/presets.hpp"

namespace orrery {

std::string presets_text(const std::vector<PresetList>& lists);
/// orrery.presets/1: {"schema", "presets": {KIND: [NAME]}}.
Json presets_json(const std::vector<PresetList>& lists);
/// kind,name
std::string presets_csv(const std::vector<PresetList>& lists);

/// The preset's values, one a line, with the parameter count of a model.
std::string preset_text(const Preset& preset);
/// orrery.preset/1: {"schema", "kind", "name", "parameters" (of a model), "preset"}.
Json preset_json(const Preset& preset);

}  // namespace orrery
