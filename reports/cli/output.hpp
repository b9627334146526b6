#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "sim/base/errors.hpp"

namespace orrery {

// Exit codes of the contract, section 1.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kRefused = 2;
inline constexpr int kDoesNotFit = 3;

/// Writes a result to standard output. @throws std::runtime_error if it cannot be written whole (a closed
/// pipe)
void print_result(std::string_view text);
/// One line on standard error.
void print_note(std::string_view line);
/// A refusal on standard error: a line a problem, or {"errors": [...]} as JSON.
void print_refusal(const std::vector<InputProblem>& problems, bool as_json);

/// Prints how long each part took on standard error when asked to; results hold no wall clock.
class Stopwatch {
 public:
  explicit Stopwatch(bool prints) : prints_(prints), last_(std::chrono::steady_clock::now()) {}
  /// Time since the last lap (or the start).
  void lap(std::string_view what);

 private:
  bool prints_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace orrery
