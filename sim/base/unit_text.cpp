#include "sim/base/unit_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <system_error>

namespace orrery {
namespace {

/// Which prefixes may stand before a unit.
enum class Prefixes { none, below_one, above_one, above_one_and_binary };

struct Unit {
  std::string_view name;
  double scale;  ///< to SI base units
  Prefixes prefixes;
};

struct Prefix {
  std::string_view name;
  int exponent;
};

constexpr std::array<Prefix, 5> kAboveOne = {{{"k", 3}, {"M", 6}, {"G", 9}, {"T", 12}, {"P", 15}}};
constexpr std::array<Prefix, 3> kBelowOne = {{{"m", -3}, {"u", -6}, {"n", -9}}};
/// Exponents of two.
constexpr std::array<Prefix, 5> kBinary = {{{"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}}};

constexpr double kBit = 0.125;
constexpr std::array<Unit, 5> kTimes = {{{"s", 1.0, Prefixes::below_one},
                                         {"min", 60.0, Prefixes::none},
                                         {"h", 3600.0, Prefixes::none},
                                         {"day", 86400.0, Prefixes::none},
                                         {"days", 86400.0, Prefixes::none}}};
constexpr std::array<Unit, 2> kSizes = {
    {{"B", 1.0, Prefixes::above_one_and_binary}, {"b", kBit, Prefixes::above_one_and_binary}}};
constexpr std::array<Unit, 2> kRates = {
    {{"B/s", 1.0, Prefixes::above_one_and_binary}, {"b/s", kBit, Prefixes::above_one_and_binary}}};
constexpr std::array<Unit, 1> kWorkRates = {{{"FLOP/s", 1.0, Prefixes::above_one}}};
constexpr std::array<Unit, 1> kFrequencies = {{{"Hz", 1.0, Prefixes::above_one}}};
constexpr std::array<Unit, 1> kPowers = {{{"W", 1.0, Prefixes::above_one}}};
constexpr std::array<Unit, 2> kEnergies = {
    {{"J", 1.0, Prefixes::above_one}, {"Wh", 3600.0, Prefixes::above_one}}};
constexpr std::array<Unit, 1> kMoney = {{{"USD", 1.0, Prefixes::above_one}}};

/// A unit with its prefix: the value is number * 10^decimal * 2^binary * scale.
struct ScaledUnit {
  int decimal = 0;
  int binary = 0;
  double scale = 1.0;
};

const Prefix* find_prefix(std::span<const Prefix> prefixes, std::string_view name) {
  const auto found = std::find_if(prefixes.begin(), prefixes.end(),
                                  [name](const Prefix& prefix) { return prefix.name == name; });
  return found == prefixes.end() ? nullptr : &*found;
}

std::optional<ScaledUnit> read_unit(std::string_view text, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    if (!text.ends_with(unit.name)) continue;
    const std::string_view prefix = text.substr(0, text.size() - unit.name.size());
    if (prefix.empty()) return ScaledUnit{0, 0, unit.scale};
    const bool above =
        unit.prefixes == Prefixes::above_one || unit.prefixes == Prefixes::above_one_and_binary;
    if (above) {
      if (const Prefix* found = find_prefix(kAboveOne, prefix))
        return ScaledUnit{found->exponent, 0, unit.scale};
    }
    if (unit.prefixes == Prefixes::above_one_and_binary) {
      if (const Prefix* found = find_prefix(kBinary, prefix))
        return ScaledUnit{0, found->exponent, unit.scale};
    }
    if (unit.prefixes == Prefixes::below_one) {
      if (const Prefix* found = find_prefix(kBelowOne, prefix))
        return ScaledUnit{found->exponent, 0, unit.scale};
    }
  }
  return std::nullopt;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Length of the JSON number without sign at the start of the text (1.5, 2e-06); 0 if there is none.
size_t number_length(std::string_view text) {
  const auto digits_from = [text](size_t at) {
    while (at < text.size() && is_digit(text[at])) ++at;
    return at;
  };
  size_t end = digits_from(0);
  if (end == 0) return 0;
  if (end < text.size() && text[end] == '.') {
    const size_t fraction = digits_from(end + 1);
    if (fraction == end + 1) return 0;
    end = fraction;
  }
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t exponent = end + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    const size_t after = digits_from(exponent);
    if (after > exponent) end = after;
  }
  return end;
}

/// number * 10^shift, rounded once.
std::optional<double> shifted_number(std::string_view number, int shift) {
  const size_t mark = number.find_first_of("eE");
  int exponent = 0;
  if (mark != std::string_view::npos) {
    std::string_view text = number.substr(mark + 1);
    if (text.front() == '+') text.remove_prefix(1);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), exponent);
    if (read.ec != std::errc() || std::abs(exponent) > 100000) return std::nullopt;
  }
  const std::string shifted = fmt::format("{}e{}", number.substr(0, mark), exponent + shift);
  double value = 0.0;
  const auto read = std::from_chars(shifted.data(), shifted.data() + shifted.size(), value);
  if (read.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<double> read_quantity(std::string_view text, std::span<const Unit> units) {
  const std::string_view number = text.substr(0, number_length(text));
  if (number.empty()) return std::nullopt;
  text.remove_prefix(number.size());
  if (text.starts_with(' ')) text.remove_prefix(1);
  const std::optional<ScaledUnit> unit = read_unit(text, units);
  if (!unit) return std::nullopt;
  const std::optional<double> value = shifted_number(number, unit->decimal);
  if (!value) return std::nullopt;
  const double base = std::ldexp(*value, unit->binary) * unit->scale;
  if (!std::isfinite(base)) return std::nullopt;
  return base;
}

template <typename Q>
std::optional<Q> read_as(std::string_view text, std::span<const Unit> units) {
  const std::optional<double> base = read_quantity(text, units);
  return base ? std::optional<Q>(Q(*base)) : std::nullopt;
}

/// Rounded to three significant digits; whole numbers above.
double rounded(double value) {
  if (value == 0.0 || std::abs(value) >= 1000.0) return std::round(value);
  double nearest = 0.0;
  const std::string text = fmt::format("{:.2e}", value);
  std::from_chars(text.data(), text.data() + text.size(), nearest);
  return nearest;
}

/// Up to three significant digits without an exponent and without trailing zeros.
std::string three_digits(double value) {
  const double shown = rounded(value);
  if (shown == 0.0) return "0";
  const int magnitude = static_cast<int>(std::floor(std::log10(std::abs(shown))));
  std::string text = fmt::format("{:.{}f}", shown, std::max(0, 2 - magnitude));
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

/// "450 GB/s": the value with the first of the prefixes (smallest first, each with its factor) that keeps the
/// number below `step`.
struct Scale {
  std::string_view prefix;
  double factor;
};
std::string with_prefix(double value, std::span<const Scale> scales, double step, std::string_view unit) {
  if (!std::isfinite(value)) return fmt::format("{} {}", value, unit);
  if (value < 0.0) return fmt::format("-{}", with_prefix(-value, scales, step, unit));
  if (value == 0.0) return fmt::format("0 {}", unit);
  for (const Scale& scale : scales) {
    if (rounded(value / scale.factor) < step || &scale == &scales.back()) {
      return fmt::format("{} {}{}", three_digits(value / scale.factor), scale.prefix, unit);
    }
  }
  return {};
}

constexpr std::array<Scale, 6> kSiScales = {
    {{"", 1.0}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15}}};
constexpr std::array<Scale, 6> kIecScales = {{{"", 1.0},
                                              {"Ki", 1024.0},
                                              {"Mi", 1048576.0},
                                              {"Gi", 1073741824.0},
                                              {"Ti", 1099511627776.0},
                                              {"Pi", 1125899906842624.0}}};
constexpr std::array<Scale, 4> kTimeScales = {{{"n", 1e-9}, {"u", 1e-6}, {"m", 1e-3}, {"", 1.0}}};

std::string with_si_prefix(double value, std::string_view unit) {
  return with_prefix(value, kSiScales, 1000.0, unit);
}

std::string exact_with(double value, std::string_view unit) {
  // Whole numbers without an exponent while every digit of them is exact.
  if (std::abs(value) < 9007199254740992.0 && value == std::trunc(value))
    return fmt::format("{:.0f} {}", value, unit);
  return fmt::format("{} {}", shortest_number(value), unit);
}

}  // namespace

template <>
std::optional<Seconds> parse_quantity<Seconds>(std::string_view text) {
  return read_as<Seconds>(text, kTimes);
}
template <>
std::optional<Bytes> parse_quantity<Bytes>(std::string_view text) {
  return read_as<Bytes>(text, kSizes);
}
template <>
std::optional<BytesPerSecond> parse_quantity<BytesPerSecond>(std::string_view text) {
  return read_as<BytesPerSecond>(text, kRates);
}
template <>
std::optional<FlopsPerSecond> parse_quantity<FlopsPerSecond>(std::string_view text) {
  return read_as<FlopsPerSecond>(text, kWorkRates);
}
template <>
std::optional<Hertz> parse_quantity<Hertz>(std::string_view text) {
  return read_as<Hertz>(text, kFrequencies);
}
template <>
std::optional<Watts> parse_quantity<Watts>(std::string_view text) {
  return read_as<Watts>(text, kPowers);
}
template <>
std::optional<Joules> parse_quantity<Joules>(std::string_view text) {
  return read_as<Joules>(text, kEnergies);
}
template <>
std::optional<Dollars> parse_quantity<Dollars>(std::string_view text) {
  return read_as<Dollars>(text, kMoney);
}

template <>
std::string expected_unit_text<Seconds>() {
  return "a string with a time unit such as \"1.5 us\"";
}
template <>
std::string expected_unit_text<Bytes>() {
  return "a string with a size unit such as \"80 GiB\"";
}
template <>
std::string expected_unit_text<BytesPerSecond>() {
  return "a string with a rate unit such as \"450 GB/s\"";
}
template <>
std::string expected_unit_text<FlopsPerSecond>() {
  return "a string with a work rate unit such as \"989 TFLOP/s\"";
}
template <>
std::string expected_unit_text<Hertz>() {
  return "a string with a frequency unit such as \"1.98 GHz\"";
}
template <>
std::string expected_unit_text<Watts>() {
  return "a string with a power unit such as \"700 W\"";
}
template <>
std::string expected_unit_text<Joules>() {
  return "a string with an energy unit such as \"3.6 MJ\"";
}
template <>
std::string expected_unit_text<Dollars>() {
  return "a string with a money unit such as \"2.5 kUSD\"";
}

std::string format_quantity(Seconds value) {
  const double base = value.base();
  if (base < 0.0) return fmt::format("-{}", format_quantity(-value));
  if (!std::isfinite(base) || rounded(base) < 60.0) return with_prefix(base, kTimeScales, 1000.0, "s");
  const double whole_seconds = std::round(base);
  if (whole_seconds < 3600.0) {
    const double minutes = std::floor(whole_seconds / 60.0);
    return fmt::format("{:.0f} min {:.0f} s", minutes, whole_seconds - 60.0 * minutes);
  }
  const double whole_minutes = std::round(base / 60.0);
  if (whole_minutes < 1440.0) {
    const double hours = std::floor(whole_minutes / 60.0);
    return fmt::format("{:.0f} h {:.0f} min", hours, whole_minutes - 60.0 * hours);
  }
  const std::string days = three_digits(base / 86400.0);
  return days + (days == "1" ? " day" : " days");
}
std::string format_quantity(Bytes value) { return with_prefix(value.base(), kIecScales, 1024.0, "B"); }
std::string format_quantity(BytesPerSecond value) { return with_si_prefix(value.base(), "B/s"); }
std::string format_quantity(FlopsPerSecond value) { return with_si_prefix(value.base(), "FLOP/s"); }
std::string format_quantity(Hertz value) { return with_si_prefix(value.base(), "Hz"); }
std::string format_quantity(Watts value) { return with_si_prefix(value.base(), "W"); }
std::string format_quantity(Joules value) { return with_si_prefix(value.base(), "J"); }
std::string format_quantity(Dollars value) { return with_si_prefix(value.base(), "USD"); }

std::string exact_text(Seconds value) { return exact_with(value.base(), "s"); }
std::string exact_text(Bytes value) { return exact_with(value.base(), "B"); }
std::string exact_text(BytesPerSecond value) { return exact_with(value.base(), "B/s"); }
std::string exact_text(FlopsPerSecond value) { return exact_with(value.base(), "FLOP/s"); }
std::string exact_text(Hertz value) { return exact_with(value.base(), "Hz"); }
std::string exact_text(Watts value) { return exact_with(value.base(), "W"); }
std::string exact_text(Joules value) { return exact_with(value.base(), "J"); }
std::string exact_text(Dollars value) { return exact_with(value.base(), "USD"); }

std::string shortest_number(double value) {
  std::array<char, 32> buffer{};
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), written.ptr);
}

}  // namespace orrery
