#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orrery::kernels {

/// The shortest decimal text that reads back as the same double. Refuses infinities and NaN: JSON has none.
/// @throws std::invalid_argument for a number that is not finite
inline std::string number_text(double value) {
  if (!std::isfinite(value)) throw std::invalid_argument("a record holds finite numbers only");
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

/// The text as a JSON string with its quotation marks. Bytes above 0x7f pass as they are (UTF-8).
inline std::string quoted_text(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20) {
      out += "\\u00";
      out += {kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// One JSON object of a measurement file, keys in the order in which they were first set. Setting a key again
/// replaces its value in place.
class Record {
 public:
  Record& set(std::string_view key, std::string_view text) { return put(key, quoted_text(text)); }
  Record& set(std::string_view key, const char* text) { return set(key, std::string_view(text)); }
  template <std::floating_point T>
  Record& set(std::string_view key, T number) {
    return put(key, number_text(static_cast<double>(number)));
  }
  template <std::integral T>
  Record& set(std::string_view key, T number) {
    if constexpr (std::same_as<T, bool>) return put(key, number ? "true" : "false");
    return put(key, std::to_string(number));
  }
  Record& set(std::string_view key, const std::vector<double>& numbers) {
    std::string list = "[";
    for (const double number : numbers) {
      if (list.size() > 1) list += ", ";
      list += number_text(number);
    }
    return put(key, list + "]");
  }
  Record& set(std::string_view key, const Record& object) { return put(key, object.json()); }
  /// Takes over every key of another record, in its order.
  Record& merge(const Record& other) {
    for (const auto& [key, value] : other.fields_) put(key, value);
    return *this;
  }
  bool has(std::string_view key) const {
    for (const auto& field : fields_)
      if (field.first == key) return true;
    return false;
  }
  /// The object on one line, without a line end.
  std::string json() const {
    std::string out = "{";
    for (const auto& [key, value] : fields_) {
      if (out.size() > 1) out += ", ";
      out += quoted_text(key) + ": " + value;
    }
    return out + "}";
  }

 private:
  Record& put(std::string_view key, std::string value) {
    for (auto& field : fields_) {
      if (field.first == key) {
        field.second = std::move(value);
        return *this;
      }
    }
    fields_.emplace_back(key, std::move(value));
    return *this;
  }

  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace orrery::kernels
