#include "tests/validation/what_if/what_if_document.hpp"

#include <stdexcept>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

constexpr const char* kProgram = "orrery";

std::string answer_to(const std::string& command) {
  std::vector<std::string> words = words_of(command);
  if (words.empty() || words.front() != kProgram) throw std::runtime_error("no orrery command: " + command);
  words.erase(words.begin());
  const CliRun run = run_orrery(words);
  if (run.exit_code != 0 && run.exit_code != 3) throw std::runtime_error(command + "\n" + run.err);
  return essence_of(run.out);
}

}  // namespace

std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words;
  bool quoted = false, inside = false;
  for (const char letter : command) {
    if (letter == '\'') {
      quoted = !quoted;
      if (!inside) words.emplace_back();
      inside = true;
    } else if (letter == ' ' && !quoted) {
      inside = false;
    } else {
      if (!inside) words.emplace_back();
      inside = true;
      words.back() += letter;
    }
  }
  if (quoted) throw std::invalid_argument("a quote does not end: " + command);
  return words;
}

std::string essence_of(const std::string& comparison) {
  const size_t begin = comparison.find("\nB takes ");
  const size_t last = comparison.find("\n  step  ", comparison.find("where the difference is"));
  if (begin == std::string::npos || last == std::string::npos) return comparison;
  return comparison.substr(begin + 1, comparison.find('\n', last + 1) - begin);
}

std::string with_answers(const std::string& document) {
  const std::string opening = "```answer\n", closing = "```\n";
  std::string result;
  size_t place = 0;
  for (size_t block = document.find(opening); block != std::string::npos;
       block = document.find(opening, place)) {
    const size_t command = block + opening.size();
    const size_t line_end = document.find('\n', command);
    const size_t end = document.find(closing, line_end);
    if (line_end == std::string::npos || end == std::string::npos)
      throw std::runtime_error("a block does not end");
    result += document.substr(place, line_end + 1 - place);
    result += answer_to(document.substr(command, line_end - command));
    place = end;
  }
  return result + document.substr(place);
}

}  // namespace orrery::test
