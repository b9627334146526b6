#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace orrery {

/// The folder that holds models/presets, topologies/presets, calibration/profiles and so on: $ORRERY_DATA if
/// set, else
/// ../share/orrery beside the program, else the source tree it was built from.
/// @throws std::runtime_error if $ORRERY_DATA is set and is no folder, or if none of the others is one
std::filesystem::path data_root();

/// Names (file stems, sorted) of the *.json in data_root()/folder, not in its subfolders; none if there is no
/// such folder.
std::vector<std::string> preset_names(const std::string& folder);

}  // namespace orrery
