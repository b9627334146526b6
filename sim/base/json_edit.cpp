#include "sim/base/json_edit.hpp"

#include <charconv>

namespace orrery {
namespace {

constexpr size_t kDeepestPath = 64;

/// The element that `key` indexes, or null.
Json* element_at(Json& list, std::string_view key) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  if (error != std::errc() || end != key.data() + key.size() || index >= list.size()) return nullptr;
  return &list[index];
}

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> keys;
  while (true) {
    const size_t dot = path.find('.');
    keys.push_back(path.substr(0, dot));
    if (dot == std::string_view::npos) return keys;
    path.remove_prefix(dot + 1);
  }
}

Json value_of(const std::string& name, std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  const bool structured = start != std::string_view::npos && (text[start] == '{' || text[start] == '[');
  try {
    return parse_json(text, name);
  } catch (const InputError&) {
    if (structured) throw;
    return Json(std::string(text));
  }
}

}  // namespace

void set_json_path(Json& document, std::string_view path, std::string_view value_text) {
  Problems problems("--set " + std::string(path));
  const std::vector<std::string_view> keys = split_path(path);
  if (keys.size() > kDeepestPath) problems.add({}, "a path deeper than 64", "at most 64 keys");
  problems.throw_if_any();

  Json edited = document;
  Json* place = &edited;
  std::string pointer;
  for (const std::string_view key : keys) {
    if (key.empty())
      problems.add(pointer, "an empty key", "keys separated by single dots, such as training.micro_batch");
    if (place->is_string()) *place = Json{{"preset", *place}};
    if (place->is_object()) {
      pointer += '/' + pointer_token(key);
      // A key that is not there yet becomes an object, which the last step replaces by the value.
      if (!place->contains(key)) (*place)[std::string(key)] = Json::object();
      place = &(*place)[std::string(key)];
    } else if (place->is_array()) {
      Json* const element = element_at(*place, key);
      if (element == nullptr) {
        problems.add(pointer + '/' + pointer_token(key), "no such element",
                     place->empty() ? "no index: the list is empty"
                                    : "an index in [0, " + std::to_string(place->size() - 1) + "]");
      }
      problems.throw_if_any();
      pointer += '/' + std::string(key);
      place = element;
    } else {
      problems.add(pointer, describe_json(*place),
                   "an object, a list or a preset's name to set a key below it");
    }
    problems.throw_if_any();
  }
  *place = value_of(problems.file(), value_text);
  document = std::move(edited);
}

void merge_members(Json& base, const Json& changes) {
  for (const auto& [key, change] : changes.items()) {
    Json& place = base[key];
    if (place.is_object() && change.is_object()) {
      merge_members(place, change);
    } else {
      place = change;
    }
  }
}

}  // namespace orrery
