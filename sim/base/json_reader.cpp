#include "sim/base/json_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace orrery {
namespace {

constexpr size_t kLongestShownText = 60;
constexpr auto kNoUpperLimit = std::numeric_limits<std::int64_t>::max();
constexpr auto kNoLowerLimit = std::numeric_limits<std::int64_t>::min();

/// What at() refers to when there is no such member: static, so that readers of missing members may be kept.
const Json& missing_value() {
  static const Json missing(Json::value_t::discarded);
  return missing;
}

std::vector<std::string> as_strings(std::span<const std::string_view> names) {
  return {names.begin(), names.end()};
}

std::string range_text(bool no_lower, bool no_upper, const std::string& least, const std::string& most) {
  if (no_lower && no_upper) return "";
  if (no_upper) return " of at least " + least;
  if (no_lower) return " of at most " + most;
  return " in [" + least + ", " + most + "]";
}

/// `text` in JSON quotes, cut where a UTF-8 character begins.
std::string quoted(const std::string& text) {
  if (text.size() <= kLongestShownText) return Json(text).dump();
  size_t end = kLongestShownText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return Json(text.substr(0, end) + "...").dump();
}

}  // namespace

SpecReader::SpecReader(const Json& value, std::string pointer, Problems& problems)
    : value_(&value), pointer_(std::move(pointer)), problems_(&problems) {}

void SpecReader::refuse(const std::string& expected, bool number_expected) const {
  if (!silent_) problems_->add(pointer_, describe_json(*value_, number_expected), expected);
}

void SpecReader::refuse_message(const std::string& message) const {
  if (!silent_) problems_->add_message(pointer_, message);
}

bool SpecReader::require_object() const {
  if (!value_->is_object()) refuse("an object");
  return value_->is_object();
}

void SpecReader::only(std::initializer_list<std::string_view> keys) const {
  only(as_strings(std::span<const std::string_view>(keys.begin(), keys.size())));
}

void SpecReader::only(const std::vector<std::string>& keys) const {
  if (!require_object()) return;
  for (const auto& [key, value] : value_->get_ref<const Json::object_t&>()) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    problems_->add(pointer_ + '/' + pointer_token(key), "an unknown key",
                   keys.empty() ? "an empty object" : one_of(keys, key));
  }
}

bool SpecReader::has(std::string_view key) const { return value_->is_object() && value_->contains(key); }

SpecReader SpecReader::at(std::string_view key) const {
  const bool readable = require_object();
  const Json* member = &missing_value();
  if (readable) {
    const auto found = value_->find(key);
    if (found != value_->end()) member = &*found;
  }
  SpecReader reader(*member, pointer_ + '/' + pointer_token(key), *problems_);
  reader.silent_ = !readable;
  return reader;
}

std::vector<SpecReader> SpecReader::elements() const {
  std::vector<SpecReader> readers;
  if (!value_->is_array()) {
    refuse("a list");
    return readers;
  }
  readers.reserve(value_->size());
  for (const Json& element : *value_) {
    readers.emplace_back(element, pointer_ + '/' + std::to_string(readers.size()), *problems_);
  }
  return readers;
}

std::vector<std::pair<std::string, SpecReader>> SpecReader::members() const {
  std::vector<std::pair<std::string, SpecReader>> readers;
  if (!require_object()) return readers;
  for (const auto& [key, value] : value_->get_ref<const Json::object_t&>()) {
    readers.emplace_back(key, SpecReader(value, pointer_ + '/' + pointer_token(key), *problems_));
  }
  return readers;
}

std::int64_t SpecReader::integer(std::int64_t least, std::int64_t most) const {
  // Documents built in code may hold small integers as unsigned; above int64 only unsigned is left.
  const bool fits = value_->is_number_integer() &&
                    (!value_->is_number_unsigned() ||
                     value_->get<std::uint64_t>() <= static_cast<std::uint64_t>(kNoUpperLimit));
  if (fits) {
    const auto value = value_->get<std::int64_t>();
    if (least <= value && value <= most) return value;
  }
  refuse("an integer" + range_text(least == kNoLowerLimit, most == kNoUpperLimit, std::to_string(least),
                                   std::to_string(most)),
         true);
  return std::clamp<std::int64_t>(1, least, most);
}

double SpecReader::number(double least, double most) const {
  if (value_->is_number()) {
    const auto value = value_->get<double>();
    if (std::isfinite(value) && least <= value && value <= most) return value;
  }
  const auto unlimited = [](double limit) { return std::abs(limit) >= std::numeric_limits<double>::max(); };
  refuse("a number" +
             range_text(unlimited(least), unlimited(most), shortest_number(least), shortest_number(most)),
         true);
  return std::clamp(1.0, least, most);
}

double SpecReader::number_above(double least) const {
  if (value_->is_number()) {
    const auto value = value_->get<double>();
    if (std::isfinite(value) && value > least) return value;
  }
  refuse("a number above " + shortest_number(least), true);
  return least + 1.0;
}

bool SpecReader::boolean() const {
  if (value_->is_boolean()) return value_->get<bool>();
  refuse("true or false");
  return false;
}

std::string SpecReader::text() const {
  if (value_->is_string()) return value_->get<std::string>();
  refuse("a string");
  return {};
}

size_t SpecReader::choice(std::span<const std::string_view> names) const {
  if (!value_->is_string()) {
    refuse(one_of(as_strings(names)));
    return 0;
  }
  const std::string& text = value_->get_ref<const std::string&>();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  refuse(one_of(as_strings(names), text));
  return 0;
}

size_t SpecReader::choice(std::initializer_list<std::string_view> names) const {
  return choice(std::span<const std::string_view>(names.begin(), names.size()));
}

std::string describe_json(const Json& value, bool number_expected) {
  switch (value.type()) {
    case Json::value_t::discarded:
      return "nothing";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return quoted(value.get_ref<const std::string&>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return value.dump() + (number_expected ? "" : " (number)");
    default:
      return value.dump();
  }
}

std::string pointer_token(std::string_view key) {
  std::string token;
  token.reserve(key.size());
  for (const char c : key) {
    if (c == '~') {
      token += "~0";
    } else if (c == '/') {
      token += "~1";
    } else {
      token += c;
    }
  }
  return token;
}

}  // namespace orrery
