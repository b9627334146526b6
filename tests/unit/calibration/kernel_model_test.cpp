#include "calibration/kernels/kernel_model.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "calibration/kernels/kernel_profile.hpp"
#include "sim/cost/unfused_attention.hpp"

namespace orrery {
namespace {

constexpr KernelContext kBurst{.date = {2025, 6}, .sustained = false};
constexpr KernelContext kSustained{.date = {2025, 6}, .sustained = true};

DeviceSpec measured_device(const std::string& gpu) { return load_profile_named(gpu).device; }

GemmShape product(std::int64_t m, std::int64_t n, std::int64_t k, Precision precision = Precision::bf16) {
  GemmShape shape;
  shape.m = m;
  shape.n = n;
  shape.k = k;
  shape.precision = precision;
  return shape;
}

TEST(KernelModel, AMeasuredShapeGetsItsMeasuredTime) {
  // calibration/data/gemm.jsonl: 8192 x 8192 x 8192 on A100 in 4.188501 ms, 4096 x 12288 x 12288 in 4.78225
  // ms.
  const auto model = make_kernel_model(measured_device("a100-sxm4-80gb"), kBurst);
  const KernelTime cube = model->time({"product", product(8192, 8192, 8192)});
  EXPECT_NEAR(cube.time.base(), 4.188501e-3, 1e-9);
  EXPECT_EQ(cube.evidence, Evidence::measured);
  EXPECT_NEAR(model->time({"product", product(4096, 12288, 12288)}).time.base(), 4.78225e-3, 1e-9);
}

TEST(KernelModel, EvidenceWeakensAwayFromTheTable) {
  const auto model = make_kernel_model(measured_device("a100-sxm4-80gb"), kBurst);
  EXPECT_EQ(model->time({"product", product(8192, 8192, 8192)}).evidence, Evidence::measured);
  EXPECT_EQ(model->time({"product", product(8192, 8192, 8200)}).evidence, Evidence::interpolated);
  EXPECT_EQ(model->time({"product", product(8200, 8192, 8192)}).evidence,
            Evidence::extrapolated);  // table: m <= 8192
  EXPECT_EQ(model->time({"product", product(8192, 8192, 8192, Precision::fp16)}).evidence,
            Evidence::assumed);  // no rows in fp16: bf16's
  EXPECT_EQ(model->time({"product", product(8192, 8192, 8191)}).evidence,
            Evidence::assumed);  // rows off 16 bytes
  const auto sustained = make_kernel_model(measured_device("a100-sxm4-80gb"), kSustained);
  EXPECT_EQ(sustained->time({"product", product(8192, 8192, 8192)}).evidence, Evidence::interpolated);

  DeviceSpec forty = measured_device("a100-sxm4-80gb");
  forty.name = "a100-sxm4-40gb";
  forty.memory_bandwidth = gigabytes_per_second(1555);
  EXPECT_EQ(make_kernel_model(forty, kBurst)->time({"product", product(8192, 8192, 8192)}).evidence,
            Evidence::extrapolated);
  DeviceSpec unknown = measured_device("a100-sxm4-80gb");
  unknown.name = "my-gpu";
  const auto assumed = make_kernel_model(unknown, kBurst);
  EXPECT_EQ(assumed->time({"product", product(8192, 8192, 8192)}).evidence, Evidence::assumed);
  EXPECT_TRUE(Source{assumed->profile_source()}.assumed());
}

// SimuMax's loops on the A100 PCIe are all that was measured of it: at a burst's clock nothing was.
TEST(KernelModel, ABurstOfAShapeThatWasMeasuredUnderLoadIsNoMeasurement) {
  const KernelProfile profile = load_profile_named("a100-pcie-80gb");
  const GemmFit* const products = profile.gemm_for(Precision::bf16);
  ASSERT_TRUE(products != nullptr && products->measured_sustained && !products->shapes.empty());
  const AttentionFit* const attention = profile.attention_for(AttentionKernel::cudnn);
  ASSERT_TRUE(attention != nullptr && attention->measured_sustained && !attention->shapes.empty());
  for (const KernelContext& context : {kBurst, kSustained}) {
    const auto model = make_kernel_model(profile.device, context);
    EXPECT_EQ(model->time({"product", products->shapes.front().shape}).evidence, Evidence::interpolated);
    EXPECT_GE(model->time({"attention", attention->shapes.front().shape}).evidence, Evidence::interpolated);
  }
}

// Of the H100 one copy was measured, of no size that is said: a norm is not between measured shapes.
TEST(KernelModel, AShareOfTheBandwidthIsNoMeasuredShape) {
  const KernelProfile profile = load_profile_named("h100-sxm-80gb");
  ASSERT_TRUE(profile.memory.ranges.empty());
  const auto model = make_kernel_model(profile.device, kSustained);
  for (const double traffic : {1e2, 1e8}) {
    const KernelTime time = model->time({"norm", MemoryShape{Bytes(traffic), 1, MemoryKind::norm}});
    EXPECT_EQ(time.evidence, Evidence::extrapolated);
    EXPECT_EQ(time.relative_spread, profile.memory.relative_spread);
  }
}

// What is taken without asking is what asking for it gives: H800 is H100's chip, L40S is another.
TEST(KernelModel, AProfileThatIsAskedForStandsAsNearAsTheOneThatIsTaken) {
  DeviceSpec device = measured_device("h100-sxm-80gb");
  device.name = "h800-sxm-80gb";
  const Operator op{"product", product(4160, 8320, 5120)};
  const KernelTime taken = make_kernel_model(device, kBurst)->time(op);
  const KernelTime asked = make_kernel_model(device, kBurst, "h100-sxm-80gb")->time(op);
  EXPECT_EQ(asked.time.base(), taken.time.base());
  EXPECT_EQ(asked.evidence, taken.evidence);
  EXPECT_EQ(asked.relative_spread, taken.relative_spread);
  EXPECT_EQ(make_kernel_model(device, kBurst, "l40s")->time(op).evidence, Evidence::assumed);
}

TEST(KernelModel, SustainedLoadSlowsComputeByTheFactorAndMemoryNotAtAll) {
  const KernelProfile profile = load_profile_named("h100-sxm-80gb");
  const auto burst = make_kernel_model(profile.device, kBurst),
             sustained = make_kernel_model(profile.device, kSustained);
  const Operator large{"product", product(16384, 16384, 12288)};  // no row: a row stands only as a burst
  const double factor = profile.sustained_for(Precision::bf16)->factor;
  EXPECT_NEAR(burst->time(large).time / sustained->time(large).time, factor,
              0.002);  // 3 us of launch in 10 ms
  const Operator norm{"norm", MemoryShape{bytes(1e9), 1, MemoryKind::streaming}};
  EXPECT_EQ(burst->time(norm).time, sustained->time(norm).time);
}

TEST(KernelModel, LargeProductsReachWhatThePublishedSearchesFound) {
  // stas00/ml-engineering: best products 271.2 (A100), 794.5 (H100), 1745 (B200) TFLOP/s. A burst of a large
  // square product is no faster than 1.06 of that, nor slower than 0.88.
  const std::pair<const char*, double> searches[] = {
      {"a100-sxm4-80gb", 271.2e12}, {"h100-sxm-80gb", 794.5e12}, {"b200-sxm-180gb", 1745e12}};
  for (const auto& [gpu, best] : searches) {
    const GemmShape shape = product(8192, 16384, 8192);
    const KernelTime time = make_kernel_model(measured_device(gpu), kBurst)->time({"product", shape});
    const double rate = (shape.flops() / time.time).base();
    EXPECT_LT(rate, 1.06 * best) << gpu;
    EXPECT_GT(rate, 0.88 * best) << gpu;
  }
}

TEST(KernelModel, AttentionRatesAreThoseOfTheTables) {
  // overlap.md section 8, causal, head size 128, 32 heads and more, module overhead included: A100 flash2 at
  // 8192 runs at 168, H100 flash3 at 555 TFLOP/s. The kernel alone is faster, but not than the best causal
  // call measured anywhere (gpus.json attn_fwd_causal: 187 and 664).
  AttentionShape shape;
  shape.batch = 2;
  shape.seq_q = shape.seq_kv = 8192;
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_dim = shape.value_dim = 128;
  const std::tuple<const char*, AttentionKernel, double, double> tables[] = {
      {"a100-sxm4-80gb", AttentionKernel::flash2, 168e12, 187e12},
      {"h100-sxm-80gb", AttentionKernel::flash3, 555e12, 664e12}};
  for (const auto& [gpu, kernel, rate, best] : tables) {
    shape.kernel = kernel;
    const KernelTime time = make_kernel_model(measured_device(gpu), kBurst)->time({"attention", shape});
    EXPECT_GT((attention_flops(shape) / time.time).base(), 0.97 * rate) << gpu;
    EXPECT_LT((attention_flops(shape) / time.time).base(), best) << gpu;
  }
}

TEST(KernelModel, RefusesWhatTheGpuCannotDo) {
  const auto model = make_kernel_model(measured_device("a100-sxm4-80gb"), kSustained);
  try {
    model->time({"product", product(64, 64, 64, Precision::fp8)});
    FAIL() << "fp8 on A100 was accepted";
  } catch (const std::invalid_argument& problem) {
    EXPECT_STREQ(problem.what(),
                 "a100-sxm4-80gb has no peak for matrix products in fp8, only in fp32, tf32, fp16, bf16");
  }
  AttentionShape shape;
  shape.seq_q = shape.seq_kv = 1024;
  shape.heads = shape.kv_heads = 8;
  shape.head_dim = shape.value_dim = 128;
  shape.kernel = AttentionKernel::flash3;
  try {
    model->time({"attention", shape});
    FAIL() << "flash3 on A100 was accepted";
  } catch (const std::invalid_argument& problem) {
    EXPECT_STREQ(
        problem.what(),
        "attention kernel flash3 has no calibration on a100-sxm4-80gb, only unfused, flash1, flash2, cudnn");
  }
}

TEST(KernelModel, PrecisionsWithoutRowsAreAssumedWithAnHonestSpread) {
  // fp16 shares bf16's multipliers and width: 5 % in quadrature. fp32 runs on other units: 20 %. mxfp8 has
  // other scales than fp8: 10 %. (kernel_model.cpp, assumed sizes.)
  const auto hopper = make_kernel_model(measured_device("h100-sxm-80gb"), kBurst);
  const auto spread = [&](Precision precision) {
    return hopper->time({"product", product(4160, 8320, 5120, precision)}).relative_spread;
  };
  const auto evidence = [&](Precision precision) {
    return hopper->time({"product", product(4160, 8320, 5120, precision)}).evidence;
  };
  EXPECT_EQ(evidence(Precision::bf16), Evidence::interpolated);
  EXPECT_EQ(evidence(Precision::fp8), Evidence::interpolated);
  for (const Precision without :
       {Precision::fp16, Precision::fp32, Precision::mxfp8, Precision::fp8_current}) {
    EXPECT_EQ(evidence(without), Evidence::assumed) << name_of(without);
  }
  EXPECT_NEAR(spread(Precision::fp16), std::hypot(spread(Precision::bf16), 0.05), 1e-12);
  EXPECT_NEAR(spread(Precision::mxfp8), std::hypot(spread(Precision::fp8), 0.10), 1e-12);
  EXPECT_GT(spread(Precision::fp32), 0.20);
}

TEST(KernelModel, KindsThatTheTableDoesNotHoldAreExtrapolated) {
  const auto model = make_kernel_model(measured_device("h100-sxm-80gb"), kBurst);
  AttentionShape shape;
  shape.batch = 2;
  shape.seq_q = shape.seq_kv = 3000;  // no row, between rows
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_dim = shape.value_dim = 128;
  ASSERT_EQ(model->time({"attention", shape}).evidence, Evidence::interpolated);
  const double inside = model->time({"attention", shape}).relative_spread;
  AttentionShape window = shape;
  window.window = 512;
  EXPECT_EQ(model->time({"attention", window}).evidence, Evidence::extrapolated);
  EXPECT_GT(model->time({"attention", window}).relative_spread, inside);
  window.window = 4096;  // wider than the sequence: no window
  EXPECT_EQ(model->time({"attention", window}).evidence, Evidence::interpolated);
  AttentionShape latent = shape;
  latent.value_dim = 96;
  EXPECT_EQ(model->time({"attention", latent}).evidence, Evidence::extrapolated);
  AttentionShape half = shape;
  half.precision = Precision::fp16;
  EXPECT_EQ(model->time({"attention", half}).evidence, Evidence::assumed);

  GemmShape groups = product(512, 4096, 4096);
  groups.grouped = true;
  groups.batch = 8;
  EXPECT_GE(model->time({"experts", groups}).evidence, Evidence::extrapolated);
}

TEST(KernelModel, AttentionInEightBitsTakesWhatTheRowsIn16BitsLeaveToo) {
  // B200, clocks of a tile of 128 x 128 (FlashAttention-4, arXiv 2603.05451): products 1024, exponentials
  // 1024, shared memory 768 forward; 2560, 1024 and 3328 backward; four operations in fp32 512. In 8 bits
  // products halve, shared memory halves forward and takes 17 B a pair instead of 26 backward.
  DeviceSpec device = measured_device("b200-sxm-180gb");  // a profile does not hold the two
  device.exponentials = teraflops(2250.0 / 512);
  device.shared_memory_bandwidth = BytesPerSecond(2250e12 / 64);
  const auto model = make_kernel_model(device, kSustained);
  AttentionShape shape;
  shape.batch = 4;
  shape.seq_q = shape.seq_kv = 8192;
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_dim = shape.value_dim = 128;
  shape.kernel = AttentionKernel::cudnn;
  const auto share = [&](AttentionPass pass) {
    shape.pass = pass;
    AttentionShape narrow = shape;
    narrow.precision = Precision::fp8;
    const KernelTime time = model->time({"attention", narrow});
    EXPECT_EQ(time.evidence, Evidence::assumed);
    EXPECT_EQ(time.bound, KernelBound::compute);
    return time.time.base() / model->time({"attention", shape}).time.base();
  };
  const auto busy = [](double products, double shared) {
    return std::sqrt(products * products + 1024.0 * 1024 + 512.0 * 512 + shared * shared);
  };
  EXPECT_NEAR(share(AttentionPass::forward), busy(512, 384) / busy(1024, 768), 0.02);
  EXPECT_NEAR(share(AttentionPass::backward), busy(1280, 3328 * 17.0 / 26) / busy(2560, 3328), 0.02);
}

/// What a call of tens of milliseconds loses to the power limit was seen in loops of minutes alone.
TEST(KernelModel, ABurstOfALongAttentionKeepsItsRate) {
  const DeviceSpec device = measured_device("b200-sxm-180gb");
  AttentionShape shape;
  shape.batch = 4;
  shape.heads = shape.kv_heads = 64;
  shape.head_dim = shape.value_dim = 128;
  shape.kernel = AttentionKernel::cudnn;
  const auto growth = [&](const KernelContext& context) {
    const auto model = make_kernel_model(device, context);
    const auto time = [&](std::int64_t length) {
      shape.seq_q = shape.seq_kv = length;
      return model->time({"attention", shape}).time;
    };
    return time(65536) / time(32768);
  };
  EXPECT_GT(growth(kSustained), 4.05);  // more than the pairs grow by
  EXPECT_LT(growth(kBurst), 4.0);
}

TEST(KernelModel, UnfusedAttentionIsTheSumOfItsKernels) {
  const auto model = make_kernel_model(measured_device("a100-sxm4-80gb"), kSustained);
  AttentionShape shape;
  shape.batch = 4;
  shape.seq_q = shape.seq_kv = 2048;
  shape.heads = shape.kv_heads = 24;
  shape.head_dim = shape.value_dim = 96;
  shape.kernel = AttentionKernel::unfused;
  Seconds sum;
  for (const Operator& kernel : unfused_attention(shape)) sum += model->time(kernel).time;
  EXPECT_DOUBLE_EQ(model->time({"attention", shape}).time.base(), sum.base());
}

TEST(KernelModel, ABoundIsTheLargestPiece) {
  const auto model = make_kernel_model(measured_device("a100-sxm4-80gb"), kSustained);
  EXPECT_EQ(model->time({"product", product(8192, 8192, 8192)}).bound, KernelBound::compute);
  EXPECT_EQ(model->time({"product", product(8, 16384, 16384)}).bound, KernelBound::memory);
  // 8 kB at 2 TB/s are 4 ns, a launch a microsecond and more.
  EXPECT_EQ(model->time({"norm", MemoryShape{bytes(8e3), 1, MemoryKind::norm}}).bound, KernelBound::launch);
  EXPECT_EQ(model->time({"norm", MemoryShape{bytes(8e9), 1, MemoryKind::norm}}).bound, KernelBound::memory);
}

TEST(KernelModel, PowerIsTheDatasheetsLimitUntilItWasMeasured) {
  LoadedProfile loaded{load_profile_named("a100-sxm4-80gb"), ProfileFit::own};
  loaded.profile.power.reset();
  const Operator copy{"copy", MemoryShape{bytes(10e9), 1, MemoryKind::streaming}};
  const CalibratedKernelModel without(loaded.profile.device, loaded, kSustained);
  EXPECT_EQ(without.power(copy).evidence, Evidence::datasheet);
  EXPECT_EQ(without.power(copy).board, without.device().board_power);

  PowerFit fit;
  fit.parameters = {Watts(50), Watts(200), Watts(100)};
  fit.evidence = Evidence::measured;
  loaded.profile.power = fit;
  const CalibratedKernelModel with(loaded.profile.device, loaded, kSustained);
  // Half of the bandwidth: 50 + 100/2. A copy uses no matrix units.
  const double share = 10e9 / with.time(copy).time.base() / with.device().memory_bandwidth.base();
  EXPECT_NEAR(with.power(copy).board.base(), 50.0 + 100.0 * share, 1e-9);
  EXPECT_GE(with.power(copy).evidence, Evidence::interpolated);  // never a measurement of this very kernel
}

TEST(KernelModel, EveryGpuHasATimeForEveryPrecisionThatItHas) {
  for (const std::string& gpu : kernel_profile_names()) {
    const DeviceSpec device = measured_device(gpu);
    const auto model = make_kernel_model(device, kSustained);
    const auto roofline = make_roofline_model(device);
    for (size_t i = 0; i < device.peak.size(); ++i) {
      if (!device.peak[i]) continue;
      const Operator op{"product", product(4096, 8192, 8192, static_cast<Precision>(i))};
      const double rate = (std::get<GemmShape>(op.shape).flops() / model->time(op).time) / *device.peak[i];
      EXPECT_GT(rate, 0.25) << gpu << " " << precision_names()[i];
      EXPECT_LT(rate, 1.0) << gpu << " " << precision_names()[i];
      EXPECT_GT(roofline->time(op).time, Seconds(0));
    }
    EXPECT_GT(model->profile_error(), 0.0) << gpu;
  }
}

/// More work in one alignment class is never faster by over 3 %, over the shapes of training: what is
/// measured and what is interpolated beside it must fit together.
TEST(KernelModel, MoreWorkIsNeverMuchFaster) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  for (const char* gpu : {"a100-sxm4-80gb", "h100-sxm-80gb", "b200-sxm-180gb"}) {
    const auto model = make_kernel_model(measured_device(gpu), kSustained);
    const auto dimension = [&] {
      return 128 * static_cast<std::int64_t>(std::exp2(2.0 + 5.0 * unit(random)));
    };
    int worse = 0;
    double worst = 0.0;
    for (int trial = 0; trial < 3000; ++trial) {
      const GemmShape small = product(dimension(), dimension(), dimension());
      GemmShape large = small;
      std::int64_t& grown = trial % 3 == 0 ? large.m : trial % 3 == 1 ? large.n : large.k;
      grown += 128 * (1 + static_cast<std::int64_t>(unit(random) * 16.0));
      const double ratio = model->time({"product", large}).time / model->time({"product", small}).time;
      worst = std::max(worst, 1.0 - ratio);
      worse += ratio < 0.97 ? 1 : 0;
    }
    EXPECT_EQ(worse, 0) << gpu << ": worst by " << worst;
  }
}

TEST(KernelModel, ACallTakesMicroseconds) {
  const auto model = make_kernel_model(measured_device("h100-sxm-80gb"), kSustained);
  const Operator op{"product", product(4096, 8192, 5120)};
  constexpr int kCalls = 20000;
  double sum = 0.0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) sum += model->time(op).time.base();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  EXPECT_GT(sum, 0.0);
  RecordProperty("microseconds_per_call", std::to_string(wall.count() / kCalls * 1e6));
  EXPECT_LT(wall.count() / kCalls,
            30e-6);  // 1 us alone; ten times and more for loaded machines and sanitizers
}

}  // namespace
}  // namespace orrery
