#include "sim/cost/attention_form.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <tuple>

#include "tests/unit/cost/test_device.hpp"

namespace orrery {
namespace {

using test::round_device;

AttentionShape call(std::int64_t batch, std::int64_t length, std::int64_t heads, bool causal) {
  AttentionShape shape;
  shape.batch = batch;
  shape.seq_q = shape.seq_kv = length;
  shape.heads = shape.kv_heads = heads;
  shape.head_dim = shape.value_dim = 128;
  shape.causal = causal;
  return shape;
}

TEST(AttentionForm, WholeWavesRunAtTheRate) {
  // 4096 / 128 = 32 tiles x 25 heads = 800 tiles, 8 on each SM; 4 b h s^2 d FLOP in full.
  AttentionParameters parameters;
  parameters.efficiency = 0.5;
  const double flops = 4.0 * 25 * 4096.0 * 4096 * 128;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(1, 4096, 25, false)).compute.base(),
              flops / 50e12, 1e-9);
  // Half of it causal; a ramp of 4096 halves the rate there and, at a share of 0.25, takes a fifth without
  // mask.
  parameters.ramp = 4096;
  parameters.full_ramp = 0.25;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(1, 4096, 25, true)).compute.base(),
              flops / 50e12, 1e-9);
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(1, 4096, 25, false)).compute.base(),
              1.25 * flops / 50e12, 1e-9);
}

TEST(AttentionForm, NothingIsFasterThanTheLongestBlock) {
  // One causal head: its last tile of 128 rows sees all keys: 4 x 128 x 128 x s FLOP on one SM of 1 TFLOP/s.
  const double longest = 4.0 * 128 * 128 * 1024 / 1e12;
  EXPECT_NEAR(attention_pieces({}, round_device(), call(1, 1024, 1, true)).compute.base(), longest, 1e-12);
  // What starting a tile costs in a crowd does not lengthen the one that runs alone: 8 tiles of 512 + 256
  // keys on average are 61 keys an SM.
  AttentionParameters parameters;
  parameters.ramp = 512;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(1, 1024, 1, true)).compute.base(), longest,
              1e-12);
}

TEST(AttentionForm, TheLastTilesLeaveSmsIdle) {
  // 8 tiles an SM of 2048 keys on average, and a quarter of the longest, 4096.
  AttentionParameters parameters;
  parameters.tail = 0.25;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(1, 4096, 25, true)).compute.base(),
              (8 * 2048.0 + 1024.0) * 4 * 128 * 128 / 1e12, 1e-9);
}

TEST(AttentionForm, CausalIsNeverSlowerThanFull) {
  // A ramp of 8192 keys on 512 would make the masked call (256 + 4096) / 512 of the whole one.
  AttentionParameters parameters;
  parameters.ramp = 8192;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(25, 512, 8, true)).compute.base(),
              attention_pieces(parameters, round_device(), call(25, 512, 8, false)).compute.base(), 1e-12);
}

TEST(AttentionForm, AWindowWorksOnWholeTilesAndHalfAOneAtItsFarEdge) {
  // 1600 tiles, 16 an SM, of 512 + 64 keys less the triangle at the start of 8192 positions: 576 - 576^2 /
  // 16384 = 555.75 keys; 100 keys of window take one key tile and a half: 192 - 192^2 / 16384 = 189.75.
  AttentionShape shape = call(1, 8192, 25, true);
  shape.heads = shape.kv_heads = 25;
  const double a_key = 16 * 4.0 * 128 * 128 / 1e12;  // an SM of 1 TFLOP/s
  shape.window = 512;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).compute.base(), 555.75 * a_key, 1e-9);
  shape.window = 100;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).compute.base(), 189.75 * a_key, 1e-9);
  // A window of all positions, or of all but one, is the causal mask; without mask the band has two sides.
  shape.window = 0;
  const double causal = attention_pieces({}, round_device(), shape).compute.base();
  for (const std::int64_t window : {8191, 8192, 100000}) {
    shape.window = window;
    EXPECT_DOUBLE_EQ(attention_pieces({}, round_device(), shape).compute.base(), causal);
  }
  shape.causal = false;
  shape.window = 512;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).compute.base(), 2 * 555.75 * a_key, 1e-9);
}

TEST(AttentionForm, BackwardsOfCudnnInEightBitsGoThroughWhatAWindowMasks) {
  DeviceSpec device = round_device();
  device.peak[static_cast<size_t>(Precision::mxfp8)] = device.peak_for(Precision::bf16);
  AttentionShape windowed = call(1, 8192, 25, true);
  windowed.window = 512;
  AttentionShape causal = windowed;
  causal.window = 0;
  const auto ratio = [&](Precision precision, AttentionPass pass, AttentionKernel kernel) {
    for (AttentionShape* shape : {&windowed, &causal}) {
      shape->precision = precision;
      shape->pass = pass;
      shape->kernel = kernel;
    }
    return attention_pieces({}, device, windowed).compute / attention_pieces({}, device, causal).compute;
  };
  EXPECT_EQ(ratio(Precision::mxfp8, AttentionPass::backward, AttentionKernel::cudnn), 1.0);
  EXPECT_LT(ratio(Precision::mxfp8, AttentionPass::forward, AttentionKernel::cudnn), 0.2);
  EXPECT_LT(ratio(Precision::mxfp8, AttentionPass::backward, AttentionKernel::flash4), 0.2);
  EXPECT_LT(ratio(Precision::bf16, AttentionPass::backward, AttentionKernel::cudnn), 0.2);
}

/// Heads of 64 whose 16 bits wait for something else take no longer than heads of 128.
TEST(AttentionForm, NarrowHeadsInEightBitsTakeNoLongerThanHeadsOf128) {
  DeviceSpec device = round_device();
  const double peak = device.peak_for(Precision::bf16).value().base();
  device.peak[static_cast<size_t>(Precision::fp8)] = FlopsPerSecond(2 * peak);
  device.exponentials =
      FlopsPerSecond(peak / 256);  // half the time of the products of a head of 128 in 16 bits
  AttentionParameters parameters;
  parameters.narrow = 1.0;  // a pair takes as long at 64 as at 128
  AttentionShape shape = call(1, 4096, 25, false);
  const auto compute = [&](Precision precision, std::int64_t head_size) {
    shape.precision = precision;
    shape.head_dim = shape.value_dim = head_size;
    return attention_pieces(parameters, device, shape).compute.base();
  };
  const double wide = compute(Precision::bf16, 128);
  EXPECT_NEAR(compute(Precision::bf16, 64), wide, 1e-12);
  const double share = std::sqrt((1.0 + 1.0) / (4.0 + 1.0));  // products and exponential, in squares
  EXPECT_NEAR(compute(Precision::fp8, 128), wide * share, 1e-12);
  EXPECT_NEAR(compute(Precision::fp8, 64), wide * share, 1e-12);
}

TEST(AttentionForm, LongCallsThrottle) {
  // 4 x 25 x 65536^2 x 128 FLOP at 100 TFLOP/s are 0.55 s; of a share of 0.2, 0.55 / 0.56 is lost.
  AttentionParameters parameters;
  const double idle = attention_pieces(parameters, round_device(), call(1, 65536, 25, false)).compute.base();
  EXPECT_NEAR(idle, 4.0 * 25 * 65536.0 * 65536 * 128 / 100e12, 1e-9);
  parameters.throttle = 0.2;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), call(1, 65536, 25, false)).compute.base(),
              idle / (1 - 0.2 * idle / (idle + 0.01)), 1e-9);
}

TEST(AttentionForm, APartOfTheQueriesTakesItsPartOfTheTime) {
  // A context-parallel rank's balanced share: 2048 of 8192 queries, 16 tiles x 25 heads = 4 an SM against 16.
  AttentionShape shape = call(1, 8192, 25, true);
  const double whole = attention_pieces({}, round_device(), shape).compute.base();
  shape.seq_q = 2048;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).compute.base(), whole / 4, 1e-12);
}

TEST(AttentionForm, KernelsExistForSomeHeadSizes) {
  using enum AttentionKernel;
  const std::tuple<AttentionKernel, std::int64_t, std::int64_t> sizes[] = {
      {flash1, 80, 128}, {flash2, 64, 64},   {flash2, 80, 96},   {flash2, 128, 128}, {flash2, 160, 192},
      {flash3, 40, 64},  {flash3, 160, 192}, {flash3, 256, 256}, {flash4, 72, 80},   {cudnn, 96, 96},
      {cudnn, 100, 104}, {cudnn, 256, 256},  {flash2, 257, 320}};
  for (const auto& [kernel, size, worked] : sizes) EXPECT_EQ(kernel_head_size(kernel, size), worked);
  // 80 on a kernel of 96 costs what 96 does; keys of 192 make flash2 fill values of 128 up to 192 as well.
  AttentionShape shape = call(1, 4096, 25, false);
  shape.kernel = flash2;
  const auto time = [&](std::int64_t keys, std::int64_t values) {
    shape.head_dim = keys;
    shape.value_dim = values;
    return attention_pieces({}, round_device(), shape).compute.base();
  };
  EXPECT_DOUBLE_EQ(time(80, 80), time(96, 96));
  EXPECT_DOUBLE_EQ(time(192, 128), time(192, 192));
  shape.kernel = flash3;
  EXPECT_NEAR(time(192, 128) / time(192, 192), 320.0 / 384.0, 1e-12);
}

TEST(AttentionForm, SharedKeysAreReadOnce) {
  // 1 TB/s: Q and the output of 32 heads and K and V of 4, 2 B each: 2 x 128 x 2 x 128 x (32 + 4) B.
  AttentionShape shape = call(1, 128, 32, true);
  shape.kv_heads = 4;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).memory.base(), 2.0 * 128 * 2 * 128 * 36 / 1e12,
              1e-15);
}

TEST(AttentionForm, BackwardIsTwoAndAHalfTimesAtItsRate) {
  AttentionParameters parameters;
  parameters.backward = 0.8;
  AttentionShape shape = call(2, 4096, 50, true);
  const double forward = attention_pieces(parameters, round_device(), shape).compute.base();
  shape.pass = AttentionPass::backward;
  EXPECT_NEAR(attention_pieces(parameters, round_device(), shape).compute.base() / forward, 2.5 / 0.8, 1e-12);
}

TEST(AttentionForm, HeadSizeFactors) {
  AttentionParameters parameters;
  parameters.narrow = 1.0;
  parameters.wide = 0.7;
  AttentionShape shape = call(1, 4096, 25, false);
  const double base = attention_pieces(parameters, round_device(), shape).compute.base();
  shape.head_dim = shape.value_dim = 64;  // half the FLOPs at half the rate
  EXPECT_NEAR(attention_pieces(parameters, round_device(), shape).compute.base(), base, 1e-12);
  shape.head_dim = 192;
  shape.value_dim = 128;  // (192 + 128) / 256 of the FLOPs at 0.7 of the rate
  EXPECT_NEAR(attention_pieces(parameters, round_device(), shape).compute.base(), base * 1.25 / 0.7, 1e-9);
}

TEST(AttentionForm, MoreWorkIsNeverFaster) {
  AttentionParameters parameters;
  parameters.ramp = 900;
  parameters.tail = 0.4;
  for (const bool causal : {true, false}) {
    for (std::int64_t length = 128; length <= 8192; length += 128) {
      for (const std::int64_t heads : {1, 3, 8, 40}) {
        const Seconds time =
            attention_pieces(parameters, round_device(), call(1, length, heads, causal)).total();
        EXPECT_GE(attention_pieces(parameters, round_device(), call(1, length + 128, heads, causal)).total(),
                  time);
        EXPECT_GE(attention_pieces(parameters, round_device(), call(1, length, heads + 1, causal)).total() *
                      (1 + 1e-12),
                  time);
      }
    }
  }
}

TEST(AttentionForm, AttendedKeysAreThoseOfTheMaskCounted) {
  // Pair by pair; the convention leaves out half of the diagonal of a causal mask and of each edge of a band.
  constexpr std::int64_t kLength = 300;
  for (const bool causal : {true, false}) {
    for (const std::int64_t window : {0, 1, 7, 128, 150, 299, 300, 400}) {
      AttentionShape shape = call(1, kLength, 1, causal);
      shape.window = window;
      double pairs = 0.0;
      for (std::int64_t query = 0; query < kLength; ++query) {
        for (std::int64_t key = 0; key < kLength; ++key) {
          const std::int64_t distance = query - key;
          const bool reached = window == 0 || (distance < window && -distance < window);
          pairs += reached && (distance >= 0 || !causal) ? 1.0 : 0.0;
        }
      }
      const double length = static_cast<double>(kLength);
      const double band = window == 0 || window >= kLength ? length : static_cast<double>(window);
      // Exact: L w - w (w - 1) / 2 on one side, the diagonal on both; by convention L w - w^2 / 2.
      const double left_out = causal ? band / 2 : band < length ? band - length : 0.0;
      EXPECT_NEAR(attended_keys(shape) * length, pairs - left_out, 1e-9) << causal << " " << window;
    }
  }
}

/// Time of a kernel in 8 bits over that in 16.
double share_in_8_bits(const DeviceSpec& device, AttentionShape shape) {
  const Seconds wide = attention_pieces({}, device, shape).compute;
  shape.precision = Precision::fp8;
  return attention_pieces({}, device, shape).compute / wide;
}

/// What adds up as squares, 8 bits over 16: the products and bytes of each, and what is the same in both.
double squares(double products, double bytes, double products_of_16, double bytes_of_16, double same) {
  return std::sqrt((products * products + bytes * bytes + same * same) /
                   (products_of_16 * products_of_16 + bytes_of_16 * bytes_of_16 + same * same));
}

TEST(AttentionForm, KernelsInEightBitsHalveTheirProductsAndKeepTheirExponentials) {
  // A pair of query and key at head size 128: 4 x 128 FLOP, in the backward 2.5 times those; on 100 TFLOP/s
  // in 16 bits 5.12 and 12.8 ps, on 200 TFLOP/s half of them.
  DeviceSpec device = round_device();
  AttentionShape shape = call(1, 4096, 25, false);
  const auto share = [&] { return share_in_8_bits(device, shape); };
  EXPECT_NEAR(share(), 0.5, 1e-12);                    // nothing known of exponentials
  device.exponentials = FlopsPerSecond(100e12 / 512);  // Blackwell's: one in 5.12 ps
  EXPECT_NEAR(share(), squares(2.56, 0, 5.12, 0, 5.12), 1e-12);
  shape.head_dim = 192;  // 2 x 320 FLOP: 6.4 ps in 16 bits
  EXPECT_NEAR(share(), squares(3.2, 0, 6.4, 0, 5.12), 1e-12);
  shape.pass = AttentionPass::backward;  // 16 and 8 ps
  EXPECT_NEAR(share(), squares(8, 0, 16, 0, 5.12), 1e-12);
  shape.pass = AttentionPass::forward;
  device.peak[static_cast<size_t>(Precision::fp32)] = teraflops(4);  // four operations of 2 FLOP: 2 ps
  EXPECT_NEAR(share(), squares(3.2, 0, 6.4, 0, std::hypot(5.12, 2)), 1e-12);
}

TEST(AttentionForm, ABackwardInEightBitsMovesTwoThirdsOfTheBytes) {
  // Zadouri et al. 2026, FlashAttention-4: 128 x 128 at head size 128 take a Blackwell SM 2560 clocks of its
  // matrix units (8192 FLOP each) and 3328 of shared memory (128 B each). In 8 bits, by hand: operands 8 x 16
  // KiB, the probabilities' gradient once more (16 KiB), sums 2 x 64 KiB: 272 KiB or 2176 clocks, beside
  // 1280.
  DeviceSpec device = round_device();
  device.shared_memory_bandwidth = BytesPerSecond(100e12 / 8192 * 128);
  device.exponentials = FlopsPerSecond(100e12 / 512);
  AttentionShape shape = call(1, 4096, 25, false);
  const auto share = [&] { return share_in_8_bits(device, shape); };
  EXPECT_NEAR(share(), squares(512, 384, 1024, 768, 1024), 1e-12);
  shape.pass = AttentionPass::backward;
  EXPECT_NEAR(share(), squares(1280, 2176, 2560, 3328, 1024), 1e-12);
  // Operands 4 x 48 + 3 x 32 + 32 KiB + 32 KiB written, sums 2 x 96: 544 and 368 KiB, 128 B a clock; products
  // of 1.25 times the width.
  shape.head_dim = 192;
  EXPECT_NEAR(share(), squares(1600, 368 * 8, 3200, 544 * 8, 1024), 1e-12);
}

/// NVIDIA's own forwards in FP8 over bf16, causal, mean of 8192 to 32768 positions: cuDNN 9.19
/// (NVIDIA/cudnn-frontend, benchmark/sdpa_benchmark_training/results/*_919_only_cudnn of 26 February 2026).
TEST(AttentionForm, ForwardsInEightBitsAreAsFarFrom16AsCudnnsWere) {
  struct Published {
    double peak, exponentials, shared, fp32;  // of the presets h200-sxm-141gb, gb200 and gb300, in T/s
    std::int64_t head;
    double ratio;
  };
  constexpr Published kPublished[] = {{989, 3.86, 30.9, 67, 128, 0.665},
                                      {2500, 4.88, 39.1, 80, 128, 0.791},
                                      {2500, 9.77, 39.1, 80, 128, 0.658},
                                      {2500, 4.88, 39.1, 80, 192, 0.697},
                                      {2500, 9.77, 39.1, 80, 192, 0.608}};
  for (const Published& published : kPublished) {
    DeviceSpec device = round_device();
    device.peak[static_cast<size_t>(Precision::bf16)] = teraflops(published.peak);
    device.peak[static_cast<size_t>(Precision::fp8)] = teraflops(2 * published.peak);
    device.peak[static_cast<size_t>(Precision::fp32)] = teraflops(published.fp32);
    device.exponentials = teraflops(published.exponentials);
    device.shared_memory_bandwidth = BytesPerSecond(published.shared * 1e12);
    AttentionShape shape = call(1, 16384, 64, true);
    shape.head_dim = published.head;  // of values 128 in both
    EXPECT_NEAR(share_in_8_bits(device, shape) / published.ratio, 1.0, 0.05)
        << published.head << " at " << published.exponentials;
  }
}

TEST(AttentionForm, OperandsInEightBitsAreOneByte) {
  // Q, K, V and the output: 25 heads x 4096 x 128 each, at 1 TB/s.
  AttentionShape shape = call(1, 4096, 25, false);
  const double elements = 4.0 * 25 * 4096 * 128;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).memory.base(), 2 * elements / 1e12, 1e-12);
  shape.precision = Precision::fp8;
  EXPECT_NEAR(attention_pieces({}, round_device(), shape).memory.base(), elements / 1e12, 1e-12);
}

TEST(AttentionForm, RefusesUnfusedAndImpossibleShapes) {
  AttentionShape shape = call(1, 1024, 8, true);
  shape.kernel = AttentionKernel::unfused;
  EXPECT_THROW(attention_pieces({}, round_device(), shape), std::invalid_argument);
  EXPECT_THROW(attention_pieces({}, round_device(), call(1, 0, 8, true)), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
