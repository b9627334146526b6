#include "topologies/provenance.hpp"

#include "sim/base/evidence.hpp"
#include "sim/base/installed_json.hpp"
#include "sim/base/presets.hpp"

namespace orrery {
namespace {

constexpr std::string_view kDefaultsFile = "topologies/presets/defaults.json";

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + '.' + key;
}

void collect_leaves(const Json& value, const std::string& path,
                    std::vector<std::pair<std::string, const Json*>>& leaves) {
  for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
    if (path.empty() && (key == "sources" || key == "note")) continue;
    if (member.is_object()) {
      collect_leaves(member, join(path, key), leaves);
    } else {
      leaves.emplace_back(join(path, key), &member);
    }
  }
}

const Json* value_at(const Json& document, std::string_view path) {
  const Json* value = &document;
  while (!path.empty()) {
    const size_t dot = path.find('.');
    if (!value->is_object()) return nullptr;
    const auto member = value->find(std::string(path.substr(0, dot)));
    if (member == value->end()) return nullptr;
    value = &*member;
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
  }
  return value;
}

}  // namespace

const std::string& Origins::of(const std::string& path) const {
  static const std::string kDefault = "default";
  const auto found = by_path.find(path);
  return found == by_path.end() ? kDefault : found->second;
}

std::string source_of(const Json& sources, std::string_view path) {
  while (sources.is_object() && !path.empty()) {
    const auto found = sources.find(std::string(path));
    if (found != sources.end() && found->is_string()) return found->get<std::string>();
    const size_t dot = path.rfind('.');
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
  }
  return {};
}

std::vector<std::pair<std::string, const Json*>> leaves_of(const Json& document) {
  std::vector<std::pair<std::string, const Json*>> leaves;
  if (document.is_object()) collect_leaves(document, "", leaves);
  return leaves;
}

Provenance::Provenance(Origins& origins)
    : origins_(origins),
      defaults_(installed_json(std::string(kDefaultsFile))),
      default_problems_(std::string(kDefaultsFile)) {}

Json Provenance::expand(const SpecReader& value, const std::string& folder, const std::string& path,
                        std::string* preset_name) {
  std::string name;
  Json whole = with_preset(value, folder, &name);
  const Json sources = whole.value("sources", Json::object());
  for (const auto& [leaf, content] : leaves_of(whole)) {
    const std::string full_path = join(path, leaf);
    if (name.empty() || value_at(value.json(), leaf) != nullptr) {
      origins_.by_path.emplace(full_path, "given");  // kept if the object around it knows better
    } else {
      origins_.by_path[full_path] = "preset " + name;
      note_assumption(full_path, *content, source_of(sources, leaf));
    }
  }
  if (preset_name != nullptr) *preset_name = name;
  return whole;
}

SpecReader Provenance::default_for(const std::string& default_path, const std::string& path) {
  const Json* value = value_at(defaults_, default_path);
  if (value == nullptr) {
    throw InputError(InputProblem{default_problems_.file(), "", "", "", "no default for " + default_path});
  }
  note_assumption(path, *value, source_of(defaults_.value("sources", Json::object()), default_path));
  return {*value, "/" + default_path, default_problems_};
}

SpecReader Provenance::member_or_default(const SpecReader& object, std::string_view key,
                                         const std::string& default_path, const std::string& path) {
  return object.has(key) ? object.at(key) : default_for(default_path, path);
}

void Provenance::note_assumption(const std::string& path, const Json& value, const std::string& source) {
  if (!Source{source}.assumed()) return;
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  origins_.assumptions.push_back(path + ": " + text + " (" + source + ")");
}

}  // namespace orrery
