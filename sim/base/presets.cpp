#include "sim/base/presets.hpp"

#include <filesystem>
#include <vector>

#include "sim/base/data_files.hpp"
#include "sim/base/installed_json.hpp"

namespace orrery {
namespace {

constexpr const char* kPreset = "preset";

/// The content of the preset that `name` names, or an empty object with the problem recorded.
Json preset_content(const SpecReader& name, const std::string& folder) {
  if (!name.is_text()) {
    name.refuse("a preset's name");
    return Json::object();
  }
  const std::string& text = name.json().get_ref<const std::string&>();
  const std::string file = folder + "/" + text + ".json";
  const bool in_folder = text.find('/') == std::string::npos;
  std::error_code missing;
  if (!in_folder || !std::filesystem::is_regular_file(data_root() / file, missing)) {
    const std::vector<std::string> names = preset_names(folder);
    name.refuse(names.empty() ? "an object, because no preset is installed in " + folder
                              : one_of(names, text));
    return Json::object();
  }
  return installed_json(file);
}

}  // namespace

void lay_over(Json& base, const Json& changes) {
  for (const auto& [key, change] : changes.get_ref<const Json::object_t&>()) {
    Json& place = base[key];
    const bool merges = change.is_object() && !change.contains(kPreset);
    if (merges && place.is_string()) place = Json{{kPreset, place}};
    if (merges && place.is_object()) {
      lay_over(place, change);
    } else {
      place = change;
    }
  }
}

Json with_preset(const SpecReader& reader, const std::string& folder, std::string* preset_name) {
  if (preset_name != nullptr) preset_name->clear();
  if (!reader.is_text() && !reader.is_object()) {
    reader.refuse("a preset's name or an object");
    return Json::object();
  }
  if (reader.is_object() && !reader.has(kPreset)) return reader.json();
  const SpecReader name = reader.is_text() ? reader : reader.at(kPreset);
  Json whole = preset_content(name, folder);
  if (preset_name != nullptr && name.is_text()) *preset_name = name.json().get<std::string>();
  if (reader.is_object()) {
    Json changes = reader.json();
    changes.erase(kPreset);
    lay_over(whole, changes);
  }
  return whole;
}

}  // namespace orrery
