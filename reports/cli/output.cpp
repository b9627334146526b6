#include "reports/cli/output.hpp"

#include <fmt/core.h>

#include <cstdio>
#include <stdexcept>

#include "sim/base/json_reader.hpp"

namespace orrery {

void print_result(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw std::runtime_error("standard output cannot be written");
  }
}

void print_note(std::string_view line) { fmt::print(stderr, "{}\n", line); }

void print_refusal(const std::vector<InputProblem>& problems, bool as_json) {
  if (!as_json) {
    for (const InputProblem& problem : problems) print_note(problem.line());
    return;
  }
  Json errors = Json::array();
  for (const InputProblem& problem : problems) {
    errors.push_back({{"file", problem.file},
                      {"pointer", problem.pointer},
                      {"found", problem.found},
                      {"expected", problem.expected},
                      {"message", problem.line()}});
  }
  // Texts of a refused input may hold any bytes; what is no UTF-8 is replaced rather than thrown about.
  const Json document = {{"errors", std::move(errors)}};
  print_note(document.dump(2, ' ', false, Json::error_handler_t::replace));
}

void Stopwatch::lap(std::string_view what) {
  const auto now = std::chrono::steady_clock::now();
  if (prints_) {
    print_note(fmt::format("timing: {} {:.3f} s", what, std::chrono::duration<double>(now - last_).count()));
  }
  last_ = now;
}

}  // namespace orrery
