#include "reports/answers/prediction.hpp"

namespace orrery {

std::string_view name_of(EngineKind engine) {
  return engine == EngineKind::estimate ? "estimate" : "simulate";
}

std::string_view name_of(Tier tier) {
  switch (tier) {
    case Tier::datasheet:
      return "datasheet";
    case Tier::measured:
      return "measured";
    case Tier::stack:
      return "stack";
    case Tier::site:
      break;
  }
  return "site";
}

std::string_view name_of(BesidePlacement placement) {
  return placement == BesidePlacement::after ? "after" : "alternate";
}

}  // namespace orrery
