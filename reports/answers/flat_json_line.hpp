#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery {

/// A member of a flat JSON object. Texts and keys are views into the line or into the FlatJsonLine.
struct FlatMember {
  enum class Kind { integer, real, boolean, text, other };
  std::string_view key;
  Kind kind = Kind::other;
  std::int64_t integer = 0;
  double real = 0.0;
  bool boolean = false;
  std::string_view text;
  const Json* value = nullptr;  ///< null where the value was read without building JSON

  /// The value as messages show it (describe_json).
  std::string shown(bool number_expected) const;
};

/// One line of a JSON Lines file that holds one object of numbers, texts and booleans, read as strictly as
/// parse_json reads. What is plain (integers, true and false, ASCII texts without escapes) is scanned in
/// place in 0.2 us; everything else goes through parse_json. Keeps its buffers from line to line.
class FlatJsonLine {  // NOLINT(bugprone-exception-escape): moving ordered JSON allocates nothing
 public:
  /// The members stay valid until the next parse and as long as `line` does.
  /// @throws InputError naming `file`, the column and what is wrong, for what is no JSON object or names a
  /// key twice
  void parse(std::string_view line, const std::string& file);
  const std::vector<FlatMember>& members() const { return members_; }
  /// The line's text between the braces, blanks at both ends cut.
  std::string_view inside() const { return inside_; }

 private:
  bool scan(std::string_view line);
  void take(const Json& document);

  std::vector<FlatMember> members_;
  std::string_view inside_;
  Json document_;
};

}  // namespace orrery
