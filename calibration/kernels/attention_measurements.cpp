#include <algorithm>

#include "calibration/kernels/measurement_lines.hpp"
#include "calibration/kernels/measurements.hpp"

namespace orrery {

std::optional<AttentionMeasurement> attention_measurement(const SpecReader& row) {
  const Precision precision = precision_of(row).value_or(Precision::bf16);
  if (precision != Precision::bf16 || !row.has("causal") || !row.has("seq_length")) return std::nullopt;
  AttentionMeasurement result;
  read_origin(row, result);
  const std::string note = text_or_empty(row, "note");
  result.kernel = row.at("kernel").text();
  result.module_overhead = contains(note, "module latency");
  const bool simumax = contains(result.source, "SimuMax");
  result.campaign = stated_campaign(row).value_or(result.module_overhead ? Campaign::burst
                                                  : simumax              ? Campaign::sustained
                                                                         : Campaign::kernel);
  AttentionShape& shape = result.shape;
  shape.batch = row.at("batch").integer(1, kLargestCount);
  shape.seq_q = shape.seq_kv = row.at("seq_length").integer(1, kLargestCount);
  shape.head_dim = row.at("head_dim").integer(1, 1024);
  shape.value_dim = count_or(row, "value_dim", simumax && shape.head_dim == 192 ? 128 : shape.head_dim);
  shape.heads = count_or(row, "heads", std::max<std::int64_t>(1, 2048 / shape.head_dim));
  shape.kv_heads = count_or(row, "kv_heads", shape.heads);
  shape.causal = row.at("causal").boolean();
  if (row.has("window")) shape.window = row.at("window").integer(0, kLargestCount);
  shape.pass = row.at("pass").choice_of<AttentionPass>(
      {{"forward", AttentionPass::forward}, {"backward", AttentionPass::backward}});
  // A rate rounded to a decimal is worse than the time it came from, where a time is given in the same
  // convention.
  const bool other_convention = simumax && shape.value_dim != shape.head_dim;
  if (row.has("time_s") && !other_convention) {
    result.time = Seconds(row.at("time_s").number_above(0));
  } else {
    result.time = attention_flops(shape) / teraflops(row.at("tflops").number_above(0));
  }
  return result;
}

std::vector<AttentionMeasurement> read_attention_measurements(const std::string& path) {
  std::vector<AttentionMeasurement> rows;
  for_each_line(path, [&](const SpecReader& row) {
    if (auto result = attention_measurement(row)) rows.push_back(std::move(*result));
  });
  return rows;
}

}  // namespace orrery
