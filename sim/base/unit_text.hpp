#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sim/base/quantity.hpp"

namespace orrery {

/// Reads "450 GB/s", "400 Gb/s", "80 GiB", "1.5 us", "700 W", "2.5 kUSD": a number, an optional space, an SI
/// (k M G T P, m u n) or IEC (Ki Mi Gi Ti Pi) prefix, a unit. `b` is a bit, `B` a byte. Nothing else may
/// stand in the text; a bare number, a negative, non-finite or overflowing value gives nothing. Also accepted
/// for times: "min", "h", "days"; for frequencies "Hz"; for energy "J", "Wh"; for work rates "FLOP/s".
///
/// Prefixes below one (m u n) go with "s" alone and prefixes above one with everything else, so that "80 mB"
/// and "5 Ms" are refused rather than read as something a billion times off. IEC prefixes go with bits and
/// bytes. SI prefixes move the decimal exponent, so "1.5 us" is the double nearest to 1.5e-6.
template <typename Q>
std::optional<Q> parse_quantity(std::string_view text);
template <>
std::optional<Seconds> parse_quantity<Seconds>(std::string_view text);
template <>
std::optional<Bytes> parse_quantity<Bytes>(std::string_view text);
template <>
std::optional<BytesPerSecond> parse_quantity<BytesPerSecond>(std::string_view text);
template <>
std::optional<FlopsPerSecond> parse_quantity<FlopsPerSecond>(std::string_view text);
template <>
std::optional<Hertz> parse_quantity<Hertz>(std::string_view text);
template <>
std::optional<Watts> parse_quantity<Watts>(std::string_view text);
template <>
std::optional<Joules> parse_quantity<Joules>(std::string_view text);
template <>
std::optional<Dollars> parse_quantity<Dollars>(std::string_view text);

/// What an error message says was expected: "a string with a rate unit such as \"450 GB/s\"".
template <typename Q>
std::string expected_unit_text();
template <>
std::string expected_unit_text<Seconds>();
template <>
std::string expected_unit_text<Bytes>();
template <>
std::string expected_unit_text<BytesPerSecond>();
template <>
std::string expected_unit_text<FlopsPerSecond>();
template <>
std::string expected_unit_text<Hertz>();
template <>
std::string expected_unit_text<Watts>();
template <>
std::string expected_unit_text<Joules>();
template <>
std::string expected_unit_text<Dollars>();

/// For people: three significant digits and the prefix that keeps the number in [1, 1000): "450 GB/s", "1.5
/// us", "79.1 GiB" (Bytes use IEC prefixes, rates SI; 1000 to 1023 of an IEC unit keep four digits). Times of
/// a minute and more are "12 min 5 s", of an hour and more "2 h 5 min", days "3.2 days". What is below the
/// smallest prefix or above the largest keeps it ("0.05 USD", "0.25 ns").
std::string format_quantity(Seconds value);
std::string format_quantity(Bytes value);
std::string format_quantity(BytesPerSecond value);
std::string format_quantity(FlopsPerSecond value);
std::string format_quantity(Hertz value);
std::string format_quantity(Watts value);
std::string format_quantity(Joules value);
std::string format_quantity(Dollars value);

/// Exact text that parse_quantity reads back to the same double: "25000000000 B/s", "1.5e-06 s".
std::string exact_text(Seconds value);
std::string exact_text(Bytes value);
std::string exact_text(BytesPerSecond value);
std::string exact_text(FlopsPerSecond value);
std::string exact_text(Hertz value);
std::string exact_text(Watts value);
std::string exact_text(Joules value);
std::string exact_text(Dollars value);

/// Shortest decimal text that reads back to the same double, in the C locale: "2.5e+10", "0.1", "7".
std::string shortest_number(double value);

}  // namespace orrery
