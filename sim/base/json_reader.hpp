#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/base/errors.hpp"
#include "sim/base/unit_text.hpp"

namespace orrery {

/// Keys keep the order of the file, so that what is printed back looks like what was given.
using Json = nlohmann::ordered_json;

/// Parses one JSON document strictly. Refused, each with line and column or pointer: syntax errors, text
/// after the document, duplicate keys, numbers that overflow (1e999), NaN and Infinity, nesting deeper than
/// 64, invalid UTF-8, a byte-order mark, an empty text.
/// @throws InputError naming `file`
Json parse_json(std::string_view text, const std::string& file);
/// Reads a whole file ("-" is standard input) of at most 256 MiB.
/// @throws InputError if it cannot be read (missing, a directory, too large)
std::string read_text_file(const std::string& path);
/// parse_json of read_text_file.
Json read_json_file(const std::string& path);

/// Writes a file whole or not at all: a temporary beside it, flushed, then renamed over it.
/// @throws InputError (pointer empty) if the folder does not exist or cannot be written
void write_text_file_atomically(const std::filesystem::path& path, std::string_view text);

/// A view of one JSON value that reads it strictly: every refusal is recorded in Problems with its JSON
/// pointer and reading goes on with a harmless value, so that one pass finds all independent problems of a
/// file. What follows from a problem that is already recorded (the members of something that is no object) is
/// not recorded again.
class SpecReader {
 public:
  /// Both must outlive the reader. `pointer` is this value's JSON pointer.
  SpecReader(const Json& value, std::string pointer, Problems& problems);

  const Json& json() const { return *value_; }
  const std::string& pointer() const { return pointer_; }
  Problems& problems() const { return *problems_; }

  bool is_object() const { return value_->is_object(); }
  bool is_text() const { return value_->is_string(); }
  bool is_list() const { return value_->is_array(); }
  /// Records a problem at this value: "found <this value>, expected <expected>". A number is shown with its
  /// kind, `450 (number)`, unless a number was expected: `3.0`.
  void refuse(const std::string& expected, bool number_expected = false) const;
  void refuse_message(const std::string& message) const;

  /// Requires an object; records every key that is not listed, with the nearest one first (see one_of).
  void only(std::initializer_list<std::string_view> keys) const;
  void only(const std::vector<std::string>& keys) const;
  /// True if this is an object with that key (a null value counts as absent only where the contract says so:
  /// never).
  bool has(std::string_view key) const;
  /// The member, or a missing value that records "found nothing, expected ..." when it is read. If this is no
  /// object, that is recorded here, once, and reading the member records nothing more.
  SpecReader at(std::string_view key) const;
  /// Elements of a list; records a problem and returns nothing if this is not a list.
  std::vector<SpecReader> elements() const;
  /// Members of an object in file order; records a problem and returns nothing if this is not an object.
  std::vector<std::pair<std::string, SpecReader>> members() const;

  /// An integer in [least, most]; 3.0 is refused.
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  /// A finite number in [least, most].
  double number(double least, double most) const;
  /// A finite number greater than `least`.
  double number_above(double least) const;
  bool boolean() const;
  std::string text() const;
  /// A text that is one of the names; the index into them (0 after a refusal).
  size_t choice(std::span<const std::string_view> names) const;
  size_t choice(std::initializer_list<std::string_view> names) const;
  /// A text that names one of the values: `reader.choice_of<Kind>({{"ring", Kind::ring}, {"tree",
  /// Kind::tree}})`.
  template <typename T>
  T choice_of(std::span<const std::pair<std::string_view, T>> values) const {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : values) names.push_back(name);
    return values[choice(names)].second;
  }
  template <typename T>
  T choice_of(std::initializer_list<std::pair<std::string_view, T>> values) const {
    return choice_of(std::span<const std::pair<std::string_view, T>>(values.begin(), values.size()));
  }
  /// A text with a unit, zero allowed only if `zero_allowed`.
  template <typename Q>
  Q quantity(bool zero_allowed = false) const {
    if (value_->is_string()) {
      const std::optional<Q> parsed = parse_quantity<Q>(value_->template get_ref<const std::string&>());
      if (parsed && (zero_allowed || parsed->base() > 0.0)) return *parsed;
      if (parsed) {
        refuse(expected_unit_text<Q>() + ", above zero");
        return Q(1.0);
      }
    }
    refuse(expected_unit_text<Q>());
    return Q(1.0);
  }

 private:
  /// False, and that recorded, if this is not an object.
  bool require_object() const;

  const Json* value_;
  std::string pointer_;
  Problems* problems_;
  bool silent_ = false;  // below something that has been refused already
};

/// How a value is shown in "found ...": `450 (number)` (`450` where a number was expected), `"abc"`, `true`,
/// `null`, `a list`, `an object`; `nothing` for what SpecReader::at did not find. Long texts are cut after 60
/// bytes.
std::string describe_json(const Json& value, bool number_expected = false);
/// Escapes ~ and / for a JSON pointer token.
std::string pointer_token(std::string_view key);

}  // namespace orrery
