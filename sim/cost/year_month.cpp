#include "sim/cost/year_month.hpp"

#include <fmt/format.h>

namespace orrery {

std::optional<YearMonth> parse_year_month(std::string_view text) {
  constexpr std::string_view kPattern = "dddd-dd";
  if (text.size() != kPattern.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kPattern[i] == 'd' ? !digit : text[i] != kPattern[i]) return std::nullopt;
  }
  const auto value = [&](size_t first, size_t count) {
    int sum = 0;
    for (size_t i = first; i < first + count; ++i) sum = sum * 10 + (text[i] - '0');
    return sum;
  };
  const YearMonth date{value(0, 4), value(5, 2)};
  if (date.month < 1 || date.month > 12) return std::nullopt;
  return date;
}

std::string to_text(YearMonth date) { return fmt::format("{:04d}-{:02d}", date.year, date.month); }

}  // namespace orrery
