#include <utility>

#include "calibration/kernels/measurement_lines.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {
namespace {

Campaign gemm_campaign(const std::string& method, const std::string& note, const std::string& data) {
  if (method.starts_with("CUDA-graph replay")) return Campaign::burst;
  if (method.starts_with("XLA")) return Campaign::compiler;
  if (method.starts_with("mamf-finder")) return Campaign::peak_search;
  if (contains(note, "sustained")) return Campaign::sustained;
  if (data == "randn") return Campaign::random_loop;
  return Campaign::kernel;
}

}  // namespace

std::optional<GemmMeasurement> gemm_measurement(const SpecReader& row) {
  GemmMeasurement result;
  read_origin(row, result);
  const std::string kernel = text_or_empty(row, "kernel");
  const std::string data = text_or_empty(row, "data");
  const auto stated = stated_campaign(row);
  result.campaign =
      stated.value_or(gemm_campaign(text_or_empty(row, "method"), text_or_empty(row, "note"), data));
  const Precision precision = precision_of(row).value_or(Precision::bf16);
  GemmShape& shape = result.shape;
  shape.m = row.at("m").integer(1, kLargestCount);
  shape.n = row.at("n").integer(1, kLargestCount);
  shape.k = row.at("k").integer(1, kLargestCount);
  shape.batch = count_or(row, "batch", 1);
  shape.precision = precision;
  shape.grouped = flag_or(row, "grouped", contains(kernel, "grouped"));
  const bool wide = precision == Precision::tf32 || precision == Precision::fp32;
  shape.output_bytes = row.has("output_bytes") ? row.at("output_bytes").number(1, 16) : wide ? 4 : 2;
  shape.quantized_inputs = !is_quantized(precision) ||
                           flag_or(row, "includes_quantize", !stated && result.campaign == Campaign::burst);
  result.time = Seconds(row.at("time_s").number_above(0));
  if (data == "zeros" || shape.grouped || row.has("beside")) return std::nullopt;
  return result;
}

std::vector<GemmMeasurement> read_gemm_measurements(const std::string& path) {
  std::vector<GemmMeasurement> rows;
  for_each_line(path, [&](const SpecReader& row) {
    if (auto result = gemm_measurement(row)) rows.push_back(std::move(*result));
  });
  return rows;
}

}  // namespace orrery
