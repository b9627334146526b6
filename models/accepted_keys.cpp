#include "models/accepted_keys.hpp"

#include <algorithm>
#include <span>

namespace orrery {
namespace {

using Names = std::span<const std::string_view>;

bool accepted(Names asked, const std::set<std::string>& refused, Names known) {
  const auto among = [](Names names, const std::string& key) {
    return std::find(names.begin(), names.end(), key) != names.end();
  };
  return std::none_of(refused.begin(), refused.end(),
                      [&](const std::string& key) { return among(asked, key) || !among(known, key); });
}

}  // namespace

AcceptedKeys::AcceptedKeys(const SpecReader& plan)
    : sections_(plan.problems().refused_below(plan.pointer().substr(0, plan.pointer().find_last_of('/')))),
      keys_(plan.problems().refused_below(plan.pointer())) {}

bool AcceptedKeys::sections(std::initializer_list<std::string_view> names) const {
  return accepted({names.begin(), names.size()}, sections_, kExperimentKeys);
}

bool AcceptedKeys::plan(std::initializer_list<std::string_view> keys) const {
  return accepted({keys.begin(), keys.size()}, keys_, kPlanKeys);
}

}  // namespace orrery
