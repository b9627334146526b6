#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "calibration/kernels/measurements.hpp"
#include "sim/base/json_reader.hpp"
#include "sim/base/precision.hpp"

namespace orrery {

inline constexpr std::int64_t kLargestCount = 1'000'000'000;

inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

inline std::string text_or_empty(const SpecReader& row, std::string_view key) {
  return row.has(key) ? row.at(key).text() : std::string();
}

inline std::int64_t count_or(const SpecReader& row, std::string_view key, std::int64_t otherwise) {
  return row.has(key) ? row.at(key).integer(1, kLargestCount) : otherwise;
}

inline bool flag_or(const SpecReader& row, std::string_view key, bool otherwise) {
  return row.has(key) ? row.at(key).boolean() : otherwise;
}

/// The line's precision, or nothing and that recorded.
inline std::optional<Precision> precision_of(const SpecReader& row) {
  return static_cast<Precision>(row.at("precision").choice(precision_names()));
}

/// What `conditions` says, where it is given.
inline std::optional<Campaign> stated_campaign(const SpecReader& row) {
  if (!row.has("conditions")) return std::nullopt;
  return row.at("conditions")
      .choice_of<Campaign>({{"burst", Campaign::burst}, {"sustained", Campaign::sustained}});
}

/// GPU, source, power and place of a line.
inline void read_origin(const SpecReader& row, MeasurementOrigin& origin) {
  origin.gpu = row.at("gpu").text();
  origin.source = row.at("source").text();
  origin.place = row.problems().file();
  if (row.has("power_w")) origin.power = Watts(row.at("power_w").number_above(0));
  origin.states_conditions = row.has("conditions");
}

/// Calls `take` with a reader for every line; problems carry the line number in the file's name.
template <typename Take>
void for_each_line(const std::string& path, Take take) {
  std::istringstream lines(read_text_file(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    const std::string place = fmt::format("{}:{}", path, number);
    Problems problems(place);
    const Json value = parse_json(line, place);
    take(SpecReader(value, "", problems));
    problems.throw_if_any();
  }
}

}  // namespace orrery
