#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"

namespace orrery::testing {

/// The lines of the InputError that `action` throws; none if it throws nothing.
inline std::vector<std::string> refusals(const std::function<void()>& action) {
  std::vector<std::string> lines;
  try {
    action();
  } catch (const InputError& error) {
    for (const InputProblem& problem : error.problems()) lines.push_back(problem.line());
  }
  return lines;
}

/// The lines that `read` records while it reads the document as "f.json".
inline std::vector<std::string> problems_of(const std::string& document,
                                            const std::function<void(const SpecReader&)>& read) {
  const Json json = parse_json(document, "f.json");
  Problems problems("f.json");
  read(SpecReader(json, "", problems));
  std::vector<std::string> lines;
  for (const InputProblem& problem : problems.list()) lines.push_back(problem.line());
  return lines;
}

}  // namespace orrery::testing
