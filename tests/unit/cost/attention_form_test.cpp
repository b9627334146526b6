#include "sim/cost/attention_form.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

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
  // 4096 / 128 = 32 tiles x 25 heads = 800 blocks, 8 on each SM; 4 b h s^2 d FLOP in full.
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
  // One causal head of 128 x 1: its last tile sees all keys: 4 x 128 x 128 x s FLOP on one SM of 1 TFLOP/s.
  const double longest = 4.0 * 128 * 128 * 1024 / 1e12;
  EXPECT_NEAR(attention_pieces({}, round_device(), call(1, 1024, 1, true)).compute.base(), longest, 1e-12);
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

TEST(AttentionForm, RefusesUnfusedAndImpossibleShapes) {
  AttentionShape shape = call(1, 1024, 8, true);
  shape.kernel = AttentionKernel::unfused;
  EXPECT_THROW(attention_pieces({}, round_device(), shape), std::invalid_argument);
  EXPECT_THROW(attention_pieces({}, round_device(), call(1, 0, 8, true)), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
