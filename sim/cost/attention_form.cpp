#include "sim/cost/attention_form.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "sim/cost/gemm_form.hpp"

namespace orrery {
namespace {

constexpr double kQueryTile = 128.0;  // query rows a block works on
constexpr double kBackwardTraffic =
    2.5;  // Q, K, V, O, dO read and dQ, dK, dV written, over the forward's four

void check(const AttentionShape& shape) {
  if (shape.kernel == AttentionKernel::unfused) {
    throw std::invalid_argument(
        "unfused attention is not one kernel: build it from batched products and memory passes");
  }
  if (shape.batch < 1 || shape.seq_q < 1 || shape.seq_kv < 1 || shape.heads < 1 || shape.kv_heads < 1 ||
      shape.head_dim < 1 || shape.value_dim < 1) {
    throw std::invalid_argument(
        fmt::format("attention of batch {}, {} x {} positions, {} heads ({} of keys), head size {} / {}: "
                    "every dimension must be at "
                    "least 1",
                    shape.batch, shape.seq_q, shape.seq_kv, shape.heads, shape.kv_heads, shape.head_dim,
                    shape.value_dim));
  }
}

/// Factor of the head size on the rate; 1 at 128.
double head_factor(const AttentionParameters& parameters, const AttentionShape& shape) {
  const auto size = static_cast<double>(shape.head_dim);
  if (size <= 128.0) return std::pow(size / 128.0, parameters.narrow);
  const double wide = shape.pass == AttentionPass::forward ? parameters.wide : parameters.backward_wide;
  return std::pow(wide, (size - 128.0) / 64.0);
}

/// Share of the SMs at work on average, from the blocks an SM gets.
double occupancy_of(const AttentionParameters& parameters, double blocks, bool causal) {
  if (causal) {
    const double full_blocks = 0.5 * blocks;
    return full_blocks / std::max(full_blocks + parameters.tail, 1.0);
  }
  const double rounded =
      parameters.quantisation * std::ceil(blocks) + (1.0 - parameters.quantisation) * std::max(blocks, 1.0);
  return blocks / rounded;
}

}  // namespace

AttentionPieces attention_pieces(const AttentionParameters& parameters, const DeviceSpec& device,
                                 const AttentionShape& shape, double clock) {
  check(shape);
  const double peak = require_peak(device, shape.precision).base() * clock;
  const auto batch = static_cast<double>(shape.batch), heads = static_cast<double>(shape.heads);
  const auto queries = static_cast<double>(shape.seq_q), keys = static_cast<double>(shape.seq_kv);

  const double length = std::sqrt(queries * keys);
  const double ramp = parameters.ramp * (shape.causal ? 1.0 : parameters.full_ramp);
  const double blocks = batch * heads * std::ceil(queries / kQueryTile) / static_cast<double>(device.sms);
  const double occupancy = occupancy_of(parameters, blocks, shape.causal);
  double rate =
      peak * parameters.efficiency * length / (length + ramp) * head_factor(parameters, shape) * occupancy;
  if (shape.pass == AttentionPass::backward) rate *= parameters.backward;

  const auto head_sizes = static_cast<double>(shape.head_dim + shape.value_dim);
  double traffic = batch * head_sizes * activation_bytes(shape.precision) *
                   (queries * heads + keys * static_cast<double>(shape.kv_heads));
  if (shape.pass == AttentionPass::backward) traffic *= kBackwardTraffic;

  AttentionPieces pieces;
  pieces.launch = parameters.launch;
  pieces.compute = Seconds(attention_flops(shape).base() / rate);
  pieces.memory = Seconds(traffic / (device.memory_bandwidth.base() * parameters.memory));
  return pieces;
}

}  // namespace orrery
