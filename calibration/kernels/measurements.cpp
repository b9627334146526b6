#include "calibration/kernels/measurements.hpp"

#include <fmt/format.h>

#include <optional>
#include <set>
#include <sstream>
#include <string_view>

namespace orrery {
namespace {

constexpr std::int64_t kLargest = 1'000'000'000;

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string text_or_empty(const SpecReader& row, std::string_view key) {
  return row.has(key) ? row.at(key).text() : std::string();
}

std::int64_t count_or(const SpecReader& row, std::string_view key, std::int64_t otherwise) {
  return row.has(key) ? row.at(key).integer(1, kLargest) : otherwise;
}

std::optional<Precision> precision_of(const SpecReader& row) {
  return precision_named(row.at("precision").text());
}

/// Calls `take` with a reader for every line; problems carry the line number in the file's name.
template <typename Take>
void for_each_line(const std::string& path, Take take) {
  std::istringstream lines(read_text_file(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty()) continue;
    const std::string place = fmt::format("{}:{}", path, number);
    Problems problems(place);
    const Json value = parse_json(line, place);
    take(SpecReader(value, "", problems));
    problems.throw_if_any();
  }
}

Campaign gemm_campaign(const std::string& method, const std::string& note) {
  if (method.starts_with("CUDA-graph replay")) return Campaign::burst;
  if (method.starts_with("XLA")) return Campaign::compiler;
  if (method.starts_with("mamf-finder")) return Campaign::peak_search;
  if (contains(note, "sustained")) return Campaign::sustained;
  return Campaign::kernel;
}

/// The tables call GPUs that were not named exactly by their class.
std::string gpu_of_class(const std::string& gpu) {
  if (gpu.starts_with("B200-class")) return "b200-sxm-180gb";
  if (gpu.starts_with("GB200-class")) return "gb200";
  if (gpu.starts_with("Hopper")) return "h100-sxm-80gb";
  return gpu;
}

}  // namespace

std::vector<GemmMeasurement> read_gemm_measurements(const std::string& path) {
  std::vector<GemmMeasurement> rows;
  for_each_line(path, [&](const SpecReader& row) {
    const std::string kernel = text_or_empty(row, "kernel");
    const bool zeros = row.has("data") && row.at("data").text() == "zeros";
    const auto precision = precision_of(row);
    if (contains(kernel, "grouped") || zeros || !precision) return;
    GemmMeasurement result;
    result.gpu = row.at("gpu").text();
    result.campaign = gemm_campaign(text_or_empty(row, "method"), text_or_empty(row, "note"));
    result.shape.m = row.at("m").integer(1, kLargest);
    result.shape.n = row.at("n").integer(1, kLargest);
    result.shape.k = row.at("k").integer(1, kLargest);
    result.shape.batch = count_or(row, "batch", 1);
    result.shape.precision = *precision;
    if (*precision == Precision::tf32 || *precision == Precision::fp32) result.shape.output_bytes = 4;
    result.shape.quantized_inputs = !is_quantized(*precision) || result.campaign == Campaign::burst;
    result.time = Seconds(row.at("time_s").number_above(0));
    result.source = row.at("source").text();
    rows.push_back(std::move(result));
  });
  return rows;
}

std::vector<AttentionMeasurement> read_attention_measurements(const std::string& path) {
  std::vector<AttentionMeasurement> rows;
  for_each_line(path, [&](const SpecReader& row) {
    if (row.at("precision").text() != "bf16" || !row.has("causal") || !row.has("seq_length")) return;
    AttentionMeasurement result;
    const std::string gpu = row.at("gpu").text(), note = text_or_empty(row, "note");
    result.gpu = gpu_of_class(gpu);
    result.kernel = row.at("kernel").text();
    result.source = row.at("source").text();
    result.module_overhead = contains(note, "module latency");
    const bool simumax = contains(result.source, "SimuMax");
    result.campaign = result.module_overhead ? Campaign::burst
                      : simumax              ? Campaign::sustained
                                             : Campaign::kernel;
    AttentionShape& shape = result.shape;
    shape.batch = row.at("batch").integer(1, kLargest);
    shape.seq_q = shape.seq_kv = row.at("seq_length").integer(1, kLargest);
    shape.head_dim = row.at("head_dim").integer(1, 1024);
    shape.value_dim = simumax && shape.head_dim == 192 ? 128 : shape.head_dim;
    shape.heads = count_or(row, "heads", 2048 / shape.head_dim);
    shape.kv_heads = count_or(row, "kv_heads", shape.heads);
    shape.causal = row.at("causal").boolean();
    shape.pass = row.at("pass").text() == "forward" ? AttentionPass::forward : AttentionPass::backward;
    const FlopsPerSecond rate = teraflops(row.at("tflops").number_above(0));
    // A rate rounded to a decimal is worse than the time it came from, where a time is given in the same
    // convention.
    const bool convert = !row.has("time_s") || shape.value_dim != shape.head_dim;
    result.time = convert ? attention_flops(shape) / rate : Seconds(row.at("time_s").number_above(0));
    rows.push_back(std::move(result));
  });
  return rows;
}

}  // namespace orrery
