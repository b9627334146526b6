#include "sim/cost/gemm_form.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace orrery {
namespace {

struct Tile {
  int rows, columns;
  bool square;  ///< only where square_tiles
};
constexpr std::array<Tile, TileTimes::kTiles> kTiles = {
    Tile{256, 256, true}, {256, 128, false}, {128, 256, false}, {128, 128, false},
    {128, 64, false},     {64, 128, false},  {64, 64, false}};
constexpr std::array<int, 4> kSplits = {1, 2, 4, 8};
constexpr double kShortestSplit = 512.0;  // elements of k below which a split saves nothing more
constexpr double kPartialSumBytes = 8.0;  // fp32, written once and read once

double divide_up(double a, double b) { return std::ceil(a / b); }

/// Waves that a number of waves costs, when a share `quantisation` of the empty part of the last one is lost.
double rounded_waves(double waves, double quantisation) {
  return quantisation * std::ceil(waves) + (1.0 - quantisation) * std::max(waves, 1.0);
}

/// (a^p + b^p)^(1/p) with p = 1 / contention.
double overlapped(double a, double b, double contention) {
  const double longer = std::max(a, b), shorter = std::min(a, b);
  if (contention <= 0.0 || shorter <= 0.0) return longer;
  return longer * std::pow(1.0 + std::pow(shorter / longer, 1.0 / contention), contention);
}

void check_dimensions(const GemmShape& shape) {
  if (shape.m < 1 || shape.n < 1 || shape.k < 1 || shape.batch < 1) {
    throw std::invalid_argument(
        fmt::format("matrix product {} x {} x {} (batch {}): every dimension must be at least 1", shape.m,
                    shape.n, shape.k, shape.batch));
  }
}

}  // namespace

Seconds overlapped(Seconds a, Seconds b, double contention) {
  return Seconds(overlapped(a.base(), b.base(), contention));
}

bool misaligned(const GemmShape& shape) {
  const double width = operand_bytes(shape.precision);
  const auto aligned = [&](std::int64_t length) {
    return std::fmod(static_cast<double>(length) * width, 16.0) == 0.0;
  };
  return !aligned(shape.k) || !aligned(shape.n);
}

FlopsPerSecond require_peak(const DeviceSpec& device, Precision precision) {
  if (const auto peak = device.peak_for(precision)) return *peak;
  std::string known;
  for (size_t i = 0; i < device.peak.size(); ++i) {
    if (device.peak[i]) known += (known.empty() ? "" : ", ") + std::string(precision_names()[i]);
  }
  throw std::invalid_argument(fmt::format("{} has no peak for matrix products in {}, only in {}", device.name,
                                          name_of(precision), known.empty() ? "no precision at all" : known));
}

GemmPieces gemm_pieces(const GemmParameters& parameters, const DeviceSpec& device, const GemmShape& shape,
                       double clock, TileTimes* known) {
  check_dimensions(shape);
  const double peak = require_peak(device, shape.precision).base() * clock;
  const auto m = static_cast<double>(shape.m), n = static_cast<double>(shape.n),
             k = static_cast<double>(shape.k);
  const auto batch = static_cast<double>(shape.batch), sms = static_cast<double>(device.sms);
  const double bandwidth = device.memory_bandwidth.base();

  const std::array<double, 3> alignments = {1.0, parameters.misaligned, parameters.misaligned_batched};
  const size_t alignment = !misaligned(shape) ? 0 : shape.batch > 1 ? 2 : 1;
  const double sm_rate =
      peak * parameters.efficiency * alignments[alignment] / sms;  // of one SM with the largest tile
  const double width = operand_bytes(shape.precision);

  TileTimes own;
  auto& of_tile = (known != nullptr ? *known : own).of_tile[alignment];
  double compute = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < kTiles.size(); ++i) {
    const Tile& tile = kTiles[i];
    if (tile.square && !parameters.square_tiles) continue;
    const double tiles = batch * divide_up(m, tile.rows) * divide_up(n, tile.columns);
    const double mma = 2.0 * tile.rows * tile.columns / sm_rate;  // of one element of k
    const double feed = (tile.rows + tile.columns) * width * parameters.feed / clock;
    const double least = std::max(mma, feed);
    for (const int split : kSplits) {
      if (split > 1 && tiles > sms) break;
      const double length = split == 1 ? k : std::max(k / split, kShortestSplit);
      const double reduction = split == 1
                                   ? 0.0
                                   : parameters.split_launch.base() + kPartialSumBytes * split * batch * m *
                                                                          n / (bandwidth * parameters.memory);
      const double columns =
          rounded_waves(tiles * split / sms, parameters.quantisation) * (length + parameters.ramp);
      if (columns * least + reduction >= compute) continue;
      if (of_tile[i] == 0.0) of_tile[i] = overlapped(mma, feed, parameters.contention);
      compute = std::min(compute, columns * of_tile[i] + reduction);
    }
  }

  const double traffic = batch * ((m * k + k * n) * width + m * n * shape.output_bytes);
  GemmPieces pieces;
  pieces.launch = parameters.launch;
  pieces.contention = parameters.contention;
  pieces.compute = Seconds(compute);
  pieces.memory = Seconds(traffic / (bandwidth * parameters.memory));
  if (is_quantized(shape.precision) && shape.quantized_inputs) {
    const double quantize_traffic = batch * m * k * (activation_bytes(shape.precision) + width);
    pieces.quantize =
        parameters.quantize_launch + Seconds(quantize_traffic / (bandwidth * parameters.quantize_memory));
  }
  return pieces;
}

}  // namespace orrery
