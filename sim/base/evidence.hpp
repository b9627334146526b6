#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace orrery {

/// What a number rests on, strongest first (contract section 3.1, `evidence`).
enum class Evidence { measured, interpolated, extrapolated, datasheet, assumed };

std::string_view name_of(Evidence evidence);
/// The evidence of that name, or nothing.
std::optional<Evidence> evidence_named(std::string_view name);
/// All names, strongest first.
std::span<const std::string_view> evidence_names();
/// The weaker of the two: `assumed` is weaker than `measured`.
constexpr Evidence weaker(Evidence a, Evidence b) { return a < b ? b : a; }

/// Where a number was read: a paper and table, a vendor document, a file of measurements; or "assumed: why".
struct Source {
  std::string text;
  /// True if the text starts with "assumed".
  bool assumed() const { return text.rfind("assumed", 0) == 0; }
};

/// A quantity with its relative standard deviation and what it rests on.
template <typename Q>
struct Estimate {
  Q value{};
  double relative_spread = 0.0;
  Evidence evidence = Evidence::assumed;
};

}  // namespace orrery
