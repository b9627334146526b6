#include "reports/writers/presets_writer.hpp"

#include <fmt/core.h>

#include "reports/experiment/dotted_path.hpp"
#include "reports/writers/json_text.hpp"
#include "reports/writers/text_table.hpp"

namespace orrery {
namespace {

constexpr size_t kLongestList = 80;

void add_values(const Json& value, const std::string& path, TextTable& table) {
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) add_values(member, dotted_path(path, key), table);
    return;
  }
  if (value.is_array() && value.dump().size() > kLongestList) {
    table.add({path, fmt::format("a list of {} (see --format json)", value.size())});
    return;
  }
  table.add({path, value.is_string() ? value.get<std::string>() : value.dump()});
}

}  // namespace

std::string presets_text(const std::vector<PresetList>& lists) {
  std::string text;
  for (const PresetList& list : lists) {
    text += list.kind + "\n";
    for (const std::string& name : list.names) text += "  " + name + "\n";
  }
  return text;
}

Json presets_json(const std::vector<PresetList>& lists) {
  Json kinds = Json::object();
  for (const PresetList& list : lists) kinds[list.kind] = list.names;
  return {{"schema", "orrery.presets/1"}, {"presets", kinds}};
}

std::string presets_csv(const std::vector<PresetList>& lists) {
  std::string text = "kind,name\n";
  for (const PresetList& list : lists) {
    for (const std::string& name : list.names) text += csv_field(list.kind) + "," + csv_field(name) + "\n";
  }
  return text;
}

std::string preset_text(const Preset& preset) {
  std::string text = preset.kind + " " + preset.name + "\n";
  if (preset.parameters) {
    text +=
        fmt::format("  {:.0f} parameters ({:.4g} billion)\n", *preset.parameters, *preset.parameters / 1e9);
  }
  TextTable table({"key", "value"});
  add_values(preset.document, "", table);
  return text + table.text();
}

Json preset_json(const Preset& preset) {
  Json json = {{"schema", "orrery.preset/1"}, {"kind", preset.kind}, {"name", preset.name}};
  if (preset.parameters) json["parameters"] = *preset.parameters;
  json["preset"] = preset.document;
  return json;
}

}  // namespace orrery
