#include "kernels/products/gemm_case.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <utility>

#include "kernels/harness/json_line.hpp"
#include "kernels/harness/options.hpp"
#include "kernels/harness/random.hpp"

namespace orrery::kernels {
namespace {

constexpr std::int64_t kMostRows = 1LL << 31;

/// (n, k) of the linear layers that transformers of these widths have.
constexpr std::array<std::pair<std::int64_t, std::int64_t>, 18> kWidths = {{
    {4096, 4096},
    {6144, 4096},
    {28672, 4096},
    {4096, 14336},  // 8B: projection, qkv, gated up, down
    {8192, 8192},
    {10240, 8192},
    {57344, 8192},
    {8192, 28672},  // 70B
    {1280, 8192},
    {7168, 8192},
    {8192, 1024},
    {8192, 3584},  // 70B, tensor 8
    {2048, 2048},
    {8192, 2048},
    {2048, 8192},  // 1 to 2B
    {6144, 12288},
    {12288, 6144},   // 175B, tensor 8
    {16384, 16384},  // 405B
}};

GemmCase read_case(const JsonLine& line) {
  GemmCase result;
  result.m = line.integer("m", 1, kMostRows);
  result.n = line.integer("n", 1, kMostRows);
  result.k = line.integer("k", 1, kMostRows);
  if (line.has("batch")) result.batch = line.integer("batch", 1, kMostRows);
  if (line.has("precision")) result.precision = line.text("precision");
  const auto& known = gemm_precisions();
  if (result.precision.starts_with("fp8_")) result.precision = "fp8";  // recipes differ in the cast alone
  if (std::find(known.begin(), known.end(), result.precision) == known.end()) {
    throw LineError("\"precision\": found \"" + result.precision + "\"; nearest is " +
                    nearest_name(result.precision, known));
  }
  result.output_bytes = default_output_bytes(result.precision);
  if (line.has("output_bytes")) {
    result.output_bytes = static_cast<int>(line.integer("output_bytes", 1, 8));
    if (result.output_bytes != 2 && result.output_bytes != 4 && result.output_bytes != 8) {
      throw LineError("\"output_bytes\": expected 2, 4 or 8");
    }
  }
  if (line.has("layout")) {
    result.layout = line.text("layout");
    if (result.layout != "tn" && result.layout != "nn" && result.layout != "nt") {
      throw LineError("\"layout\": found \"" + result.layout + "\", expected tn, nn or nt");
    }
  } else if (result.output_bytes == 8 && operand_bits(result.precision) >= 16) {
    result.layout = "nt";  // what is accumulated is a weight gradient
  }
  if (line.has("grouped")) result.grouped = line.truth("grouped");
  return result;
}

}  // namespace

const std::vector<std::string>& gemm_precisions() {
  static const std::vector<std::string> names = {"bf16", "fp16", "fp8", "mxfp8", "nvfp4", "tf32", "fp32"};
  return names;
}

int operand_bits(const std::string& precision) {
  if (precision == "nvfp4") return 4;
  if (precision == "fp8" || precision == "mxfp8") return 8;
  return precision == "tf32" || precision == "fp32" ? 32 : 16;
}

int default_output_bytes(const std::string& precision) { return operand_bits(precision) == 32 ? 4 : 2; }

double GemmCase::flops() const {
  return 2.0 * static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n) *
         static_cast<double>(k);
}

double GemmCase::bytes() const {
  const auto rows = static_cast<double>(m), columns = static_cast<double>(n), inner = static_cast<double>(k);
  const double operands = (rows + columns) * inner * operand_bits(precision) / 8.0;
  return static_cast<double>(batch) * (operands + rows * columns * output_bytes);
}

std::string GemmCase::title() const {
  std::string text = std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
  if (batch > 1) text += (grouped ? " groups " : " batch ") + std::to_string(batch);
  text += " " + precision + " " + layout;
  if (output_bytes == 8) text += " accumulated";
  return text;
}

void GemmCase::write(Record* record) const {
  record->set("m", m).set("n", n).set("k", k).set("batch", batch).set("precision", precision);
  record->set("output_bytes", output_bytes).set("layout", layout);
  if (grouped) record->set("grouped", true);
}

std::vector<GemmCase> read_gemm_cases(std::istream& lines, const std::string& name,
                                      std::size_t* other_lines) {
  std::vector<GemmCase> cases;
  std::string problems, text;
  *other_lines = 0;
  for (int number = 1; std::getline(lines, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      const JsonLine line(text);
      if (line.text("op") != "gemm") {
        ++*other_lines;
        continue;
      }
      const GemmCase found = read_case(line);
      if (std::find(cases.begin(), cases.end(), found) == cases.end()) cases.push_back(found);
    } catch (const LineError& error) {
      problems += (problems.empty() ? "" : "\n") + name + ":" + std::to_string(number) + ": " + error.what();
    }
  }
  if (!problems.empty()) throw OptionError(problems);
  if (cases.empty()) throw OptionError(name + ": found no line with \"op\": \"gemm\", expected at least one");
  return cases;
}

std::vector<GemmCase> read_gemm_file(const std::string& path, std::size_t* other_lines) {
  if (path == "-") return read_gemm_cases(std::cin, "standard input", other_lines);
  std::ifstream lines(path);
  if (!lines) throw OptionError("--shapes: cannot read " + path);
  return read_gemm_cases(lines, path, other_lines);
}

std::vector<GemmCase> gemm_grid(const std::vector<std::string>& precisions, std::uint64_t seed, bool quick) {
  std::vector<GemmCase> cases;
  for (const std::string& precision : precisions) {
    const bool wide = operand_bits(precision) >= 16;
    // Training runs in these; the others are there to compare.
    const bool trained = !wide || precision == "bf16";
    for (const auto& [n, k] : kWidths) {
      for (const std::int64_t m : {128, 512, 1024, 2048, 4096, 8192, 16384}) {
        if (!trained && m != 512 && m != 4096) continue;
        GemmCase forward{m, n, k, 1, precision, default_output_bytes(precision), "tn", false};
        cases.push_back(forward);
        if (!trained || (m != 1024 && m != 4096 && m != 8192)) continue;
        // The gradients of the same layer: of the input [m, k], of the weight [n, k] summed over the tokens.
        cases.push_back({m, k, n, 1, precision, forward.output_bytes, wide ? "nn" : "tn", false});
        cases.push_back({n, k, m, 1, precision, 8, wide ? "nt" : "tn", false});
      }
    }
  }
  std::sort(cases.begin(), cases.end());
  cases.erase(std::unique(cases.begin(), cases.end()), cases.end());
  for (std::size_t left = cases.size(); left > 1; --left) {  // Fisher and Yates
    std::swap(cases[left - 1], cases[integer_at(seed, left, static_cast<std::uint32_t>(left))]);
  }
  if (quick) cases.resize(std::min<std::size_t>(cases.size(), 4 * precisions.size()));
  return cases;
}

std::vector<std::int64_t> uneven_rows(std::int64_t groups, std::int64_t mean_rows, double unevenness,
                                      std::uint64_t seed) {
  const auto count = static_cast<std::size_t>(groups);
  std::vector<double> upper(count);
  double sum = 0.0;
  for (std::size_t group = 0; group < count; ++group) {
    sum += 1.0 + unevenness * static_cast<double>(uniform_at(seed, group));
    upper[group] = sum;
  }
  std::vector<std::int64_t> rows(count, 0);
  for (std::int64_t row = 0; row < groups * mean_rows; ++row) {
    const double draw = sum * static_cast<double>(uniform_at(seed + 1, static_cast<std::uint64_t>(row)));
    const auto place = std::lower_bound(upper.begin(), upper.end(), draw);
    ++rows[std::min<std::size_t>(static_cast<std::size_t>(place - upper.begin()), count - 1)];
  }
  return rows;
}

}  // namespace orrery::kernels
