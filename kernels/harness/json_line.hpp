#pragma once

#include <cctype>
#include <charconv>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace orrery::kernels {

/// A line is not what a measurement or shapes file holds. The message says what was found and expected.
struct LineError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One flat JSON object: text, numbers and truth values. An object or array inside is refused: no line of
/// shapes has one.
class JsonLine {
 public:
  /// @throws LineError
  explicit JsonLine(std::string_view text) : rest_(text) {
    expect('{', "an object");
    skip_spaces();
    if (!take('}')) {
      do {
        const std::string key = string_value("a key in quotation marks");
        expect(':', "a colon after \"" + key + "\"");
        if (!values_.emplace(key, value(key)).second) throw LineError("found \"" + key + "\" twice");
      } while (take(','));
      expect('}', "a comma or the closing brace");
    }
    skip_spaces();
    if (!rest_.empty()) throw LineError("found text after the closing brace");
  }

  bool has(const std::string& key) const { return values_.count(key) != 0; }

  /// @throws LineError if the key is missing or holds no text
  const std::string& text(const std::string& key) const {
    const auto* value = std::get_if<std::string>(&find(key));
    if (value == nullptr) throw LineError("\"" + key + "\": expected a text");
    return *value;
  }
  /// @throws LineError if the key is missing or holds no whole number in the range
  std::int64_t integer(const std::string& key, std::int64_t lowest, std::int64_t highest) const {
    const auto* value = std::get_if<double>(&find(key));
    const bool whole = value != nullptr && *value >= static_cast<double>(lowest) &&
                       *value <= static_cast<double>(highest) &&
                       static_cast<double>(static_cast<std::int64_t>(*value)) == *value;
    if (!whole) {
      throw LineError("\"" + key + "\": expected an integer in [" + std::to_string(lowest) + ", " +
                      std::to_string(highest) + "]");
    }
    return static_cast<std::int64_t>(*value);
  }
  bool truth(const std::string& key) const {
    const auto* value = std::get_if<bool>(&find(key));
    if (value == nullptr) throw LineError("\"" + key + "\": expected true or false");
    return *value;
  }

 private:
  using Value = std::variant<std::string, double, bool>;

  const Value& find(const std::string& key) const {
    const auto place = values_.find(key);
    if (place == values_.end()) throw LineError("\"" + key + "\" is missing");
    return place->second;
  }
  void skip_spaces() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0)
      rest_.remove_prefix(1);
  }
  bool take(char wanted) {
    skip_spaces();
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char wanted, const std::string& what) {
    if (!take(wanted)) throw LineError("expected " + what);
  }
  bool take_word(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::string string_value(const std::string& what) {
    expect('"', what);
    std::string out;
    while (!rest_.empty() && rest_.front() != '"') {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '\\') {
        if (rest_.empty()) break;
        c = escaped(rest_.front());
        rest_.remove_prefix(1);
      }
      out += c;
    }
    if (rest_.empty()) throw LineError("expected a closing quotation mark");
    rest_.remove_prefix(1);
    return out;
  }
  static char escaped(char letter) {
    switch (letter) {
      case 'n':
        return '\n';
      case 't':
        return '\t';
      case '"':
      case '\\':
      case '/':
        return letter;
      default:
        throw LineError(std::string("found the escape \\") + letter + ", which no shape needs");
    }
  }
  Value value(const std::string& key) {
    skip_spaces();
    if (rest_.starts_with('"')) return string_value("a text");
    if (take_word("true")) return true;
    if (take_word("false")) return false;
    double number = 0.0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    if (error != std::errc()) throw LineError("\"" + key + "\": expected a text, a number, true or false");
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return number;
  }

  std::string_view rest_;
  std::map<std::string, Value> values_;
};

}  // namespace orrery::kernels
