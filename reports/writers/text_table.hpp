#pragma once

#include <string>
#include <vector>

namespace orrery {

/// Columns of text, as wide as their widest cell. Lines are indented by two spaces and carry no trailing
/// blanks.
class TextTable {
 public:
  /// @param heading of each column; a heading that starts with '>' (not printed) aligns its column to the
  /// right
  explicit TextTable(std::vector<std::string> headings);
  /// A line with as many cells as there are headings (fewer are filled up with empty ones).
  void add(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> lines_;
};

/// "12.3 %" with one digit; "-" for nothing is the caller's.
std::string percent(double fraction);
/// "+12.3 %".
std::string signed_percent(double fraction);
/// Three to four significant digits, for people: "0.0123", "4.21", "1536".
std::string short_number(double value);

}  // namespace orrery
