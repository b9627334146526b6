#include "sim/cost/power_form.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "sim/cost/kernel_sequence.hpp"
#include "sim/cost/memory_form.hpp"
#include "sim/cost/unfused_attention.hpp"
#include "sim/workload/operator_work.hpp"
#include "tests/unit/cost/test_device.hpp"

namespace orrery {
namespace {

using test::round_device;

const PowerParameters kParameters{Watts(100), Watts(300), Watts(150)};

GemmShape cube() {
  GemmShape shape;
  shape.m = shape.n = shape.k = 1000;
  return shape;
}

TEST(PowerForm, AddsShares) {
  // 2e9 FLOPs in 40 us are 50 TFLOP/s, half of 100; 6 MB in 40 us are 0.15 TB/s, 0.15 of 1 TB/s.
  const Utilisation use = utilisation_of(round_device(), {"product", cube()}, microseconds(40));
  EXPECT_NEAR(use.compute, 0.5, 1e-12);
  EXPECT_NEAR(use.memory, 0.15, 1e-12);
  EXPECT_NEAR(kernel_power(kParameters, Watts(500), use).base(), 100 + 0.5 * 300 + 0.15 * 150, 1e-9);
}

TEST(PowerForm, IsCutAtTheBoardsLimitAndNotBelowIdle) {
  EXPECT_EQ(kernel_power(kParameters, Watts(300), {1.0, 1.0}), Watts(300));
  EXPECT_EQ(kernel_power(kParameters, Watts(550), {1.0, 1.0}), Watts(550));  // 100 + 300 + 150: just not cut
  EXPECT_EQ(kernel_power(kParameters, Watts(0), {1.0, 1.0}), Watts(550));    // no limit is known
  EXPECT_EQ(kernel_power(kParameters, Watts(300), {0.0, 0.0}), Watts(100));
}

TEST(PowerForm, AMemoryKernelUsesNoMatrixUnits) {
  const Utilisation use = utilisation_of(round_device(), {"copy", MemoryShape{bytes(1e9)}}, milliseconds(2));
  EXPECT_EQ(use.compute, 0.0);
  EXPECT_NEAR(use.memory, 0.5, 1e-12);
}

TEST(PowerForm, RefusesNoTimeAndNoPeak) {
  EXPECT_THROW(utilisation_of(round_device(), {"product", cube()}, Seconds(0)), std::invalid_argument);
  GemmShape tf32 = cube();
  tf32.precision = Precision::tf32;
  EXPECT_THROW(utilisation_of(round_device(), {"product", tf32}, Seconds(1)), std::invalid_argument);
}

TEST(OperatorWork, CountsEachArrayOnce) {
  GemmShape shape;  // 2 groups of 10 x 20 x 30 in bf16, 8 bytes an output element
  shape.m = 10;
  shape.n = 20;
  shape.k = 30;
  shape.batch = 2;
  shape.output_bytes = 8;
  EXPECT_EQ(work_of({"product", shape}).flops, Flops(2.0 * 2 * 10 * 20 * 30));
  EXPECT_EQ(work_of({"product", shape}).traffic, Bytes(2.0 * ((10 * 30 + 30 * 20) * 2 + 10 * 20 * 8)));
  shape.precision = Precision::fp8;  // with its quantise: activations read in 2 bytes, written in 1
  EXPECT_EQ(work_of({"product", shape}).traffic,
            Bytes(2.0 * (10 * 30 + 30 * 20 + 10 * 20 * 8 + 10 * 30 * 3)));
  shape.quantized_inputs = false;
  EXPECT_EQ(work_of({"product", shape}).traffic, Bytes(2.0 * (10 * 30 + 30 * 20 + 10 * 20 * 8)));

  AttentionShape attention;  // Q and O of 8 heads, K and V of 2: (8 x 100 + 2 x 100) x (64 + 64) elements
  attention.batch = 3;
  attention.seq_q = attention.seq_kv = 100;
  attention.heads = 8;
  attention.kv_heads = 2;
  attention.head_dim = attention.value_dim = 64;
  EXPECT_EQ(work_of({"attention", attention}).traffic, Bytes(3.0 * 1000 * 128 * 2));
  attention.pass = AttentionPass::backward;
  EXPECT_EQ(work_of({"attention", attention}).traffic, Bytes(2.5 * 3.0 * 1000 * 128 * 2));
}

TEST(KernelWork, OfUnfusedAttentionIsThatOfItsKernels) {
  AttentionShape attention;
  attention.batch = 2;
  attention.seq_q = attention.seq_kv = 128;
  attention.heads = attention.kv_heads = 4;
  attention.head_dim = attention.value_dim = 64;
  attention.kernel = AttentionKernel::unfused;
  const OperatorWork work = kernel_work({"attention", attention});
  // Two products of 8 x (128 x 128 x 64).
  EXPECT_EQ(work.flops, Flops(2 * 8 * 2.0 * 128 * 128 * 64));
  // The scores (8 x 128 x 128 in 2 bytes) are written by the first product, and read by the last at least.
  EXPECT_GT(work.traffic, Bytes(2 * 8 * 128.0 * 128 * 2));
}

TEST(MemoryForm, PiecesAddUpAndKindsHaveTheirShare) {
  MemoryParameters parameters;
  parameters.set_shares(0.8, 0.5);
  parameters.launch = microseconds(2);
  const MemoryPieces pieces =
      memory_pieces(parameters, round_device(), MemoryShape{bytes(8e9), 3, MemoryKind::loss});
  EXPECT_NEAR(pieces.launch.base(), 6e-6, 1e-15);
  EXPECT_NEAR(pieces.memory.base(), 0.01, 1e-12);
  EXPECT_EQ(pieces.total(), pieces.launch + pieces.memory);
  for (const MemoryKind kind : {MemoryKind::gather, MemoryKind::scatter, MemoryKind::permute}) {
    EXPECT_NEAR(memory_pieces(parameters, round_device(), MemoryShape{bytes(8e9), 1, kind}).memory.base(),
                0.016, 1e-12);
  }
  EXPECT_THROW(memory_pieces(parameters, round_device(), MemoryShape{bytes(-1)}), std::invalid_argument);
}

// PaddlePaddle/Paddle pull request 76988: PyTorch casts 2^30 elements from bf16 to fp32 in 2.774 ms and back
// in 0.918 ms, on a GPU of 8 TB/s (taken for a B200, 148 SMs): 2.58 ps an element there, 0.88 of the
// bandwidth here.
TEST(MemoryForm, ElementsTakenOneByOneKeepTheSmsBusy) {
  DeviceSpec device = round_device();
  device.sms = 148;
  device.memory_bandwidth = BytesPerSecond(8e12);
  MemoryParameters parameters;
  parameters.set_shares(0.88, 0.5);
  constexpr double kElements = 1073741824;
  MemoryShape cast{Bytes(6 * kElements), 1, MemoryKind::streaming, Seconds(0.382e-9 * kElements)};
  EXPECT_NEAR(memory_time(parameters, device, cast).base(), 2.774e-3, 0.01e-3);
  cast.sm_time = Seconds(0);
  EXPECT_NEAR(memory_time(parameters, device, cast).base(), 0.918e-3, 0.01e-3);
  cast.sm_time = Seconds(-1);
  EXPECT_THROW(memory_time(parameters, device, cast), std::invalid_argument);
}

TEST(KernelBound, IsTheLargestPiece) {
  EXPECT_EQ(bound_of(Seconds(3), Seconds(2), Seconds(1)), KernelBound::compute);
  EXPECT_EQ(bound_of(Seconds(2), Seconds(3), Seconds(1)), KernelBound::memory);
  EXPECT_EQ(bound_of(Seconds(1), Seconds(2), Seconds(3)), KernelBound::launch);
  EXPECT_EQ(bound_of(Seconds(2), Seconds(2), Seconds(2)), KernelBound::compute);
}

}  // namespace
}  // namespace orrery
