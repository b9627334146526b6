#include "sim/base/evidence.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace orrery {
namespace {

constexpr std::array<std::string_view, 5> kEvidenceNames = {"measured", "interpolated", "extrapolated",
                                                            "datasheet", "assumed"};
static_assert(kEvidenceNames.size() == static_cast<size_t>(Evidence::assumed) + 1);

}  // namespace

std::string_view name_of(Evidence evidence) { return kEvidenceNames.at(static_cast<size_t>(evidence)); }

std::optional<Evidence> evidence_named(std::string_view name) {
  const auto* const found = std::find(kEvidenceNames.begin(), kEvidenceNames.end(), name);
  if (found == kEvidenceNames.end()) return std::nullopt;
  return static_cast<Evidence>(std::distance(kEvidenceNames.begin(), found));
}

std::span<const std::string_view> evidence_names() { return kEvidenceNames; }

}  // namespace orrery
