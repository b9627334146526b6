#include "sim/base/evidence.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"measured", "interpolated", "extrapolated", "datasheet",
                                                    "assumed"};
static_assert(kNames.size() == static_cast<size_t>(Evidence::assumed) + 1);

}  // namespace

std::string_view name_of(Evidence evidence) { return kNames.at(static_cast<size_t>(evidence)); }

std::optional<Evidence> evidence_named(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Evidence>(std::distance(kNames.begin(), found));
}

std::span<const std::string_view> evidence_names() { return kNames; }

}  // namespace orrery
