#pragma once

#include <algorithm>
#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "kernels/attention/attention_case.hpp"
#include "kernels/harness/json_line.hpp"
#include "kernels/harness/options.hpp"

namespace orrery::kernels {

/// "bf16" or "fp16".
inline std::string attention_precision(const AttentionCase& shape) {
  return shape.element == Element::fp16 ? "fp16" : "bf16";
}

/// "attention backward 4 x 4096, 32/8 heads of 128, causal, window 128, bf16"
inline std::string attention_title(const AttentionCase& shape) {
  std::string title = std::string("attention ") + (shape.backward ? "backward " : "forward ") +
                      std::to_string(shape.batch) + " x " + std::to_string(shape.seq_length) + ", " +
                      std::to_string(shape.heads);
  if (shape.kv_heads != shape.heads) title += "/" + std::to_string(shape.kv_heads);
  title += " heads of " + std::to_string(shape.head_dim);
  if (shape.value_dim != shape.head_dim) title += "/" + std::to_string(shape.value_dim);
  title += shape.causal ? ", causal" : ", full";
  if (shape.window > 0) title += ", window " + std::to_string(shape.window);
  return title + ", " + attention_precision(shape);
}

/// A line of op "attention" of a shapes or measurement file.
/// @throws LineError
inline AttentionCase attention_case_of(const JsonLine& line) {
  constexpr std::int64_t kMost = 1 << 24;
  AttentionCase shape;
  const auto count = [&](const char* key, std::int64_t otherwise) {
    return line.has(key) ? line.integer(key, 1, kMost) : otherwise;
  };
  shape.batch = count("batch", 1);
  shape.seq_length = line.integer("seq_length", 1, kMost);
  shape.heads = line.integer("heads", 1, kMost);
  shape.kv_heads = count("kv_heads", shape.heads);
  shape.head_dim = line.integer("head_dim", 1, kMost);
  shape.value_dim = count("value_dim", shape.head_dim);
  shape.causal = line.has("causal") ? line.truth("causal") : true;
  shape.window = line.has("window") ? line.integer("window", 0, kMost) : 0;
  if (shape.window >= shape.seq_length) shape.window = 0;  // nothing is out of sight
  const std::string pass = line.has("pass") ? line.text("pass") : "forward";
  if (pass != "forward" && pass != "backward") {
    throw LineError("\"pass\": found \"" + pass + "\", expected forward or backward");
  }
  shape.backward = pass == "backward";
  const std::string precision = line.has("precision") ? line.text("precision") : "bf16";
  if (precision != "bf16" && precision != "fp16") {
    throw LineError("\"precision\": found \"" + precision + "\", expected bf16 or fp16");
  }
  shape.element = precision == "bf16" ? Element::bf16 : Element::fp16;
  const std::string problem = attention_problem(shape);
  if (!problem.empty()) throw LineError(problem);
  return shape;
}

/// The attention lines of a shapes file, each shape once, in its order; lines of other operators are counted.
/// @throws OptionError with a line for each problem, or if there is no attention line
inline std::vector<AttentionCase> read_attention_cases(std::istream& lines, const std::string& name,
                                                       std::size_t* other_lines) {
  std::vector<AttentionCase> cases;
  std::string problems, text;
  *other_lines = 0;
  for (int number = 1; std::getline(lines, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      const JsonLine line(text);
      if (line.text("op") != "attention") {
        ++*other_lines;
        continue;
      }
      const AttentionCase found = attention_case_of(line);
      if (std::find(cases.begin(), cases.end(), found) == cases.end()) cases.push_back(found);
    } catch (const LineError& error) {
      problems += (problems.empty() ? "" : "\n") + name + ":" + std::to_string(number) + ": " + error.what();
    }
  }
  if (!problems.empty()) throw OptionError(problems);
  if (cases.empty())
    throw OptionError(name + ": found no line with \"op\": \"attention\", expected at least one");
  return cases;
}

}  // namespace orrery::kernels
