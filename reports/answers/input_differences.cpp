#include "reports/answers/input_differences.hpp"

#include "reports/experiment/dotted_path.hpp"

namespace orrery {
namespace {

const Json& member_of(const Json& object, const std::string& key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto member = object.find(key);
  return member == object.end() ? kNull : *member;
}

void add_differences(const std::string& path, const Json& a, const Json& b,
                     std::vector<InputDifference>& differences) {
  if (a == b) return;
  if (!a.is_object() && !b.is_object()) {
    differences.push_back({path, a, b});
    return;
  }
  // An object on one side alone is listed member by member, beside nothing.
  if (a.is_object() && !b.is_object() && !b.is_null()) differences.push_back({path, nullptr, b});
  if (b.is_object() && !a.is_object() && !a.is_null()) differences.push_back({path, a, nullptr});
  if (a.is_object()) {
    for (const auto& [key, value] : a.items()) {
      add_differences(dotted_path(path, key), value, member_of(b, key), differences);
    }
  }
  if (b.is_object()) {
    for (const auto& [key, value] : b.items()) {
      if (!a.is_object() || !a.contains(key))
        add_differences(dotted_path(path, key), nullptr, value, differences);
    }
  }
}

}  // namespace

std::vector<InputDifference> input_differences(const ResolvedExperiment& a, const ResolvedExperiment& b) {
  Json left = a.values, right = b.values;
  for (const char* label : {"schema", "name", "measured"}) {
    left.erase(label);
    right.erase(label);
  }
  std::vector<InputDifference> differences;
  add_differences("", left, right, differences);
  return differences;
}

}  // namespace orrery
