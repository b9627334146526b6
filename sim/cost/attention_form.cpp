#include "sim/cost/attention_form.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <stdexcept>

#include "sim/cost/gemm_form.hpp"

namespace orrery {
namespace {

constexpr std::int64_t kReferenceHead = 128;  // the head size whose rate AttentionParameters::efficiency is
constexpr std::int64_t kTile = 128;           // query rows, and keys, that a block works on at a time
constexpr Seconds kThrottled = milliseconds(10);
constexpr double kBackwardFlops = 2.5;  // five products instead of two
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

std::int64_t rounded_up(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

/// Sizes of heads of keys and of values together, as the kernel works on them.
double worked_width(const AttentionShape& shape) {
  const std::int64_t keys = kernel_head_size(shape.kernel, shape.head_dim);
  const bool one_size = shape.kernel == AttentionKernel::flash1 || shape.kernel == AttentionKernel::flash2;
  const std::int64_t values = kernel_head_size(shape.kernel, shape.value_dim);
  return static_cast<double>(keys + (one_size ? std::max(keys, values) : values));
}

/// Factor of the head size on the rate; 1 at 128.
double head_factor(const AttentionParameters& parameters, const AttentionShape& shape) {
  const auto size = static_cast<double>(kernel_head_size(shape.kernel, shape.head_dim));
  constexpr auto kReference = static_cast<double>(kReferenceHead);
  if (size == kReference) return 1.0;
  if (size < kReference) return std::pow(size / kReference, parameters.narrow);
  const double wide = shape.pass == AttentionPass::forward ? parameters.wide : parameters.backward_wide;
  return std::pow(wide, (size - kReference) / 64.0);
}

/// cuDNN's backward in 8 bits masks what is outside a window, but works through it.
bool ignores_window(const AttentionShape& shape) {
  return shape.kernel == AttentionKernel::cudnn && shape.pass == AttentionPass::backward &&
         is_quantized(shape.precision);
}

/// The window that covers the key tiles which a query tile touches; 0 without one.
std::int64_t worked_window(const AttentionShape& shape) {
  return shape.window > 0 && !ignores_window(shape) ? rounded_up(shape.window, kTile) + kTile / 2 : 0;
}

/// Keys that the SM with most to do works through.
double span_of(const AttentionParameters& parameters, const AttentionShape& shape, double tiles_an_sm) {
  AttentionShape worked = shape;
  worked.window = worked_window(shape);
  const double start = parameters.full_ramp * parameters.ramp;
  const double rounded = parameters.quantisation * std::ceil(tiles_an_sm) +
                         (1.0 - parameters.quantisation) * std::max(tiles_an_sm, 1.0);
  const double keys = attended_keys(worked);
  if (!shape.causal) return (keys + start) * rounded;
  const auto all = static_cast<double>(shape.seq_kv);
  const double longest = worked.window > 0 ? std::min(all, static_cast<double>(worked.window)) : all;
  const double causal =
      std::max(tiles_an_sm * (keys + 0.5 * parameters.ramp) + parameters.tail * longest, longest);
  return std::min(causal, (all + start) * rounded);
}

/// Bytes through shared memory for a pair of query and key in tiles of both (kTile): a product's operands,
/// but for the probabilities and their gradient, which stay in tensor memory or registers as left operands.
/// In the backward their gradient also goes there and back for dQ, whose sums (4 B) are laid there and sent
/// from there.
double shared_bytes(const AttentionShape& shape, double element) {
  const auto keys = static_cast<double>(kernel_head_size(shape.kernel, shape.head_dim));
  const auto values = static_cast<double>(kernel_head_size(shape.kernel, shape.value_dim));
  const auto tile = static_cast<double>(kTile);
  if (shape.pass == AttentionPass::forward) return element * (2.0 * keys + values) / tile;
  return (element * (4.0 * keys + 3.0 * values) + 8.0 * keys) / tile + 2.0 * element;
}

/// Clocks of an SM's 128 lanes for what is done to a score in fp32: scaled and its maximum taken off,
/// compared (at half rate), added up; in the backward scaled, taken off twice and multiplied.
constexpr double kVectorOperations = 4.0;

/// Time of a kernel in 8 bits over that of the same in 16 bits where nothing but a pair's products, its
/// exponential, its arithmetic in fp32 and its bytes of shared memory counts.
double narrow_share(const DeviceSpec& device, const AttentionShape& shape) {
  const double products =
      2.0 * worked_width(shape) * (shape.pass == AttentionPass::backward ? kBackwardFlops : 1.0);
  const auto time = [](double work, double rate) { return rate > 0.0 ? work / rate : 0.0; };
  const double exponential = time(1.0, device.exponentials.base());
  const auto fp32 = device.peak_for(Precision::fp32);
  const double vector = fp32 ? time(2.0 * kVectorOperations, fp32->base()) : 0.0;  // 2 FLOP an operation
  const auto busy = [&](Precision precision) {
    const double shared =
        time(shared_bytes(shape, operand_bytes(precision)), device.shared_memory_bandwidth.base());
    return std::hypot(std::hypot(products / require_peak(device, precision).base(), exponential),
                      std::hypot(vector, shared));
  };
  return busy(shape.precision) / busy(kAttentionRows);
}

}  // namespace

std::int64_t kernel_head_size(AttentionKernel kernel, std::int64_t size) {
  static constexpr std::array<std::int64_t, 3> kFlash1 = {32, 64, 128};
  static constexpr std::array<std::int64_t, 6> kFlash2 = {32, 64, 96, 128, 192, 256};
  static constexpr std::array<std::int64_t, 5> kFlash3 = {64, 96, 128, 192, 256};
  std::span<const std::int64_t> sizes;
  switch (kernel) {
    case AttentionKernel::flash1:
      sizes = kFlash1;
      break;
    case AttentionKernel::flash2:
      sizes = kFlash2;
      break;
    case AttentionKernel::flash3:
      sizes = kFlash3;
      break;
    case AttentionKernel::flash4:
      return rounded_up(size, 16);
    case AttentionKernel::cudnn:
      return rounded_up(size, 8);
    case AttentionKernel::unfused:
      return size;
  }
  const auto found = std::lower_bound(sizes.begin(), sizes.end(), size);
  return found == sizes.end() ? rounded_up(size, 64) : *found;
}

AttentionPieces attention_pieces(const AttentionParameters& parameters, const DeviceSpec& device,
                                 const AttentionShape& shape, double clock) {
  check(shape);
  const bool narrow = is_quantized(shape.precision);
  const double peak = require_peak(device, narrow ? kAttentionRows : shape.precision).base() * clock;
  const auto batch = static_cast<double>(shape.batch), heads = static_cast<double>(shape.heads);
  const auto queries = static_cast<double>(shape.seq_q), keys = static_cast<double>(shape.seq_kv);
  const bool backward = shape.pass == AttentionPass::backward;

  const double tiles = std::ceil(queries / static_cast<double>(kTile));
  const double span = span_of(parameters, shape, batch * heads * tiles / static_cast<double>(device.sms));
  const auto compute_of = [&](const AttentionShape& worked) {
    const double rate = peak * parameters.efficiency * head_factor(parameters, worked) /
                        static_cast<double>(device.sms) *
                        (backward ? parameters.backward / kBackwardFlops : 1.0);
    const double time = span * static_cast<double>(kTile) * 2.0 * worked_width(worked) / rate;
    return narrow ? time * narrow_share(device, worked) : time;
  };
  double compute = compute_of(shape);
  if (narrow && std::max(shape.head_dim, shape.value_dim) < kReferenceHead) {
    AttentionShape wider = shape;
    wider.head_dim = wider.value_dim = kReferenceHead;
    compute = std::min(compute, compute_of(wider));
  }
  if (!backward && parameters.throttle > 0.0) {
    compute /= 1.0 - parameters.throttle * compute / (compute + kThrottled.base());
  }

  double traffic = batch * static_cast<double>(shape.head_dim + shape.value_dim) *
                   operand_bytes(shape.precision) *
                   (queries * heads + keys * static_cast<double>(shape.kv_heads));
  if (backward) traffic *= kBackwardTraffic;

  AttentionPieces pieces;
  pieces.launch = parameters.launch;
  pieces.compute = Seconds(compute);
  pieces.memory = Seconds(traffic / (device.memory_bandwidth.base() * parameters.memory));
  return pieces;
}

}  // namespace orrery
