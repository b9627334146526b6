#pragma once

#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orrery {

/// One thing that is wrong with an input, as the user reads it:
///   FILE: POINTER: found FOUND, expected EXPECTED      (or FILE: POINTER: MESSAGE where that says more)
struct InputProblem {
  std::string file;      ///< as the user named it; "-" is standard input
  std::string pointer;   ///< JSON pointer ("/parallel/tensor"); empty for the whole file
  std::string found;     ///< the offending value with its kind: `3.0`, `450 (number)`, `an unknown key`
  std::string expected;  ///< what would have been accepted, nearest name first
  std::string message;   ///< a whole sentence that replaces "found ..., expected ..."; may be empty

  /// The single line that is printed, without a newline.
  std::string line() const;
  // clang-tidy 14 takes the 0 in the comparison that the compiler writes for a null pointer.
  auto operator<=>(const InputProblem&) const = default;  // NOLINT(modernize-use-nullptr)
};

/// All problems of an input. Thrown once, at the end of reading, so that the user sees everything at once.
class InputError : public std::runtime_error {
 public:
  explicit InputError(std::vector<InputProblem> problems);
  explicit InputError(InputProblem problem);
  const std::vector<InputProblem>& problems() const { return problems_; }

 private:
  std::vector<InputProblem> problems_;
};

/// Collects problems while an input is read.
class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}
  const std::string& file() const { return file_; }
  void add(std::string pointer, std::string found, std::string expected);
  void add_message(std::string pointer, std::string message);
  /// Appends a problem that may belong to another file. The same problem twice is kept once.
  void add(InputProblem problem);
  bool empty() const { return list_.empty(); }
  const std::vector<InputProblem>& list() const { return list_; }
  /// Keys of the object at `pointer` of this file at or below which something was refused.
  std::set<std::string> refused_below(std::string_view pointer) const;
  /// @throws InputError if anything was added.
  void throw_if_any() const;

 private:
  std::string file_;
  std::vector<InputProblem> list_;  // in the order found
  std::set<InputProblem> known_;
};

/// The shortest candidate that goes on from `name` with a hyphen (h100: h100-sxm-80gb); else the closest by
/// edit distance (Levenshtein, a swap of neighbours counts one), the first of equals; empty if none is within
/// a third of the name's length (at least 2), if every letter would change, or if it has more than 200
/// characters.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

/// "a, b or c", with the nearest to `found` first when there is one. At most `most` names, then "...".
std::string list_names(std::span<const std::string> names, std::string_view found = {}, size_t most = 30);

/// What is expected where one of several names should have stood. With a near miss it comes first and in
/// quotes:
///   `one of tensor, pipeline, data`      (nothing is near)
///   `"pipeline" or one of tensor, data`  (found "pipelin")
///   `"tensor"`                           (a single name)
/// At most `most` names, then "...".
std::string one_of(std::span<const std::string> names, std::string_view found = {}, size_t most = 30);

}  // namespace orrery
