#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace orrery::testing {

/// The layer a path (relative to the root, with forward slashes) belongs to: "sim/base", "models",
/// "calibration/kernels"; empty if it lies in none.
std::string layer_of(std::string_view path);

/// True if files of layer `from` may include, and its library may link, those of layer `to`.
/// Layers are the names that layer_of gives.
bool may_use(std::string_view from, std::string_view to);

/// Everything in the layers below `root` that breaks the house's rules, sorted, each as "FILE:LINE: what":
/// includes that go up or sideways or into tests/, whichever way they are written; SimGrid outside
/// sim/engine; CUDA outside kernels; source files in no layer; files of more than 700 lines (tests included).
std::vector<std::string> broken_rules(const std::filesystem::path& root);

/// Checks link edges, each a line "FOLDER LIBRARY FOLDER LIBRARY" (user first), against the same rules.
std::vector<std::string> broken_links(const std::vector<std::string>& edges);

}  // namespace orrery::testing
