#include "models/bucket_offsets.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace orrery {

std::vector<double> offsets_of_parameter_shares(const std::vector<TimedParameters>& units, int n) {
  double total = 0;
  double duration = 0;
  for (const TimedParameters& unit : units) {
    total += unit.parameters;
    duration += unit.seconds;
  }
  std::vector<double> offsets;
  offsets.reserve(static_cast<size_t>(n));
  double parameters = 0;
  double seconds = 0;
  size_t next = 0;
  for (int k = 1; k < n; ++k) {
    const double wanted = total * k / n;
    while (next < units.size() && parameters + units[next].parameters < wanted) {
      parameters += units[next].parameters;
      seconds += units[next].seconds;
      ++next;
    }
    const double inside = next < units.size() && units[next].parameters > 0
                              ? (wanted - parameters) / units[next].parameters
                              : 0.0;
    const double offset = seconds + (next < units.size() ? inside * units[next].seconds : 0.0);
    offsets.push_back(std::min(offset, duration));
  }
  offsets.push_back(duration);
  return offsets;
}

bool has_plain_layers(const ModelSpec& model) { return !model.moe && model.attention != AttentionKind::mla; }

std::vector<double> stage_matrices(const RankShape& shape, int layers, bool embedding, bool head) {
  const auto matrix = [&shape](std::int64_t columns) {
    return static_cast<double>(shape.hidden) * static_cast<double>(columns);
  };
  std::vector<double> matrices;
  if (head) matrices.push_back(matrix(shape.vocab));
  for (int layer = 0; layer < layers; ++layer) {
    for (const std::int64_t columns :
         {shape.ffn, shape.up_columns, shape.attention_columns(), shape.qkv_columns()}) {
      matrices.push_back(matrix(columns));
    }
  }
  if (embedding) matrices.push_back(matrix(shape.vocab));
  return matrices;
}

int whole_tensor_buckets(const std::vector<double>& tensors, double size) {
  int buckets = 0;
  double filled = 0;
  for (const double tensor : tensors) {
    filled += tensor;
    if (filled < size) continue;
    ++buckets;
    filled = 0;
  }
  return std::max(1, filled > 0 ? buckets + 1 : buckets);
}

}  // namespace orrery
