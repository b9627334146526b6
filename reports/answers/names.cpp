#include "reports/answers/prediction.hpp"

namespace orrery {

std::string_view name_of(EngineKind engine) {
  return engine == EngineKind::estimate ? "estimate" : "simulate";
}

std::string_view name_of(Tier tier) { return tier == Tier::datasheet ? "datasheet" : "measured"; }

std::string_view name_of(BesidePlacement placement) {
  return placement == BesidePlacement::after ? "after" : "alternate";
}

}  // namespace orrery
