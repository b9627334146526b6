#include "sim/cost/factors.hpp"

#include <algorithm>
#include <cmath>
#include <variant>

namespace orrery {

const std::array<std::string_view, kFactors>& factor_names() {
  static constexpr std::array<std::string_view, kFactors> kNames = {"products",
                                                                    "grouped_products",
                                                                    "attention",
                                                                    "memory",
                                                                    "host",
                                                                    "tensor_communication",
                                                                    "expert_communication",
                                                                    "data_communication",
                                                                    "data_per_doubling",
                                                                    "pipeline_communication"};
  return kNames;
}

std::optional<Factor> factor_named(std::string_view name) {
  const auto& names = factor_names();
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Factor>(found - names.begin());
}

Factors Factors::operator*(const Factors& other) const {
  Factors result;
  for (size_t i = 0; i < value.size(); ++i) result.value[i] = value[i] * other.value[i];
  result.growths = growths;
  result.growths.insert(result.growths.end(), other.growths.begin(), other.growths.end());
  return result;
}

double Factors::on(const Operator& op) const {
  if (const auto* product = std::get_if<GemmShape>(&op.shape)) {
    const double all = (*this)[Factor::products];
    return product->grouped ? all * (*this)[Factor::grouped_products] : all;
  }
  return (*this)[std::holds_alternative<AttentionShape>(op.shape) ? Factor::attention : Factor::memory];
}

double Factors::on(GroupKind group, int nodes) const {
  switch (group) {
    case GroupKind::tensor:
    case GroupKind::context:
      return (*this)[Factor::tensor_communication];
    case GroupKind::expert:
      return (*this)[Factor::expert_communication];
    case GroupKind::pipeline:
      return (*this)[Factor::pipeline_communication];
    case GroupKind::data:
      break;
  }
  const double each = (*this)[Factor::data_communication];
  const double more = (*this)[Factor::data_per_doubling];
  double growth = nodes > 1 && more != 1.0 ? std::pow(more, std::log2(nodes)) : 1.0;
  for (const Growth& one : growths) {
    const int counted = std::min(nodes, one.most_nodes);
    if (counted > 1) growth *= std::pow(one.per_doubling, std::log2(counted));
  }
  return each * growth;
}

}  // namespace orrery
