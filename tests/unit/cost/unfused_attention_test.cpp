#include "sim/cost/unfused_attention.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

namespace orrery {
namespace {

AttentionShape unfused(AttentionPass pass) {
  AttentionShape shape;
  shape.batch = 2;
  shape.seq_q = 512;
  shape.seq_kv = 1024;
  shape.heads = shape.kv_heads = 16;
  shape.head_dim = 96;
  shape.value_dim = 64;
  shape.pass = pass;
  shape.kernel = AttentionKernel::unfused;
  shape.precision = Precision::fp16;
  return shape;
}

double score_passes(const std::vector<Operator>& operators) {
  const double scores = 2.0 * 16 * 512 * 1024 * 2;  // bytes of a pass in fp16
  double traffic = 0.0;
  for (const Operator& op : operators) {
    if (const auto* memory = std::get_if<MemoryShape>(&op.shape)) traffic += memory->traffic.base();
  }
  return traffic / scores;
}

double flops(const std::vector<Operator>& operators) {
  double sum = 0.0;
  for (const Operator& op : operators) {
    if (const auto* gemm = std::get_if<GemmShape>(&op.shape)) sum += gemm->flops().base();
  }
  return sum;
}

TEST(UnfusedAttention, ForwardIsTwoProductsAndFourAndAHalfPasses) {
  const std::vector<Operator> operators = unfused_attention(unfused(AttentionPass::forward));
  ASSERT_EQ(operators.size(), 4u);
  const auto& scores = std::get<GemmShape>(operators[0].shape);
  EXPECT_EQ(std::tuple(scores.m, scores.n, scores.k, scores.batch), std::tuple(512, 1024, 96, 32));
  EXPECT_EQ(scores.precision, Precision::fp16);
  EXPECT_EQ(scores.output_bytes, 2.0);
  const auto& values = std::get<GemmShape>(operators[3].shape);
  EXPECT_EQ(std::tuple(values.m, values.n, values.k, values.batch), std::tuple(512, 64, 1024, 32));
  // Softmax 2, dropout 2 and a mask of one byte: half a pass.
  EXPECT_DOUBLE_EQ(score_passes(operators), 4.5);
}

TEST(UnfusedAttention, BackwardIsFourProductsAndFiveAndAHalfPasses) {
  const std::vector<Operator> operators = unfused_attention(unfused(AttentionPass::backward));
  ASSERT_EQ(operators.size(), 6u);
  EXPECT_DOUBLE_EQ(score_passes(operators), 5.5);
  EXPECT_DOUBLE_EQ(flops(operators), 2.0 * flops(unfused_attention(unfused(AttentionPass::forward))));
}

TEST(UnfusedAttention, ProductsAreWholeWhateverTheMask) {
  // 2 b h s_q s_kv (d + v), not halved; attention_flops counts the same.
  for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
    for (const std::int64_t window : {0, 100}) {
      AttentionShape shape = unfused(pass);
      shape.window = window;
      const double whole = 2.0 * 32 * 512 * 1024 * (96 + 64) * (pass == AttentionPass::forward ? 1 : 2);
      EXPECT_DOUBLE_EQ(flops(unfused_attention(shape)), whole);
      EXPECT_DOUBLE_EQ(attention_flops(shape).base(), whole);
    }
  }
}

TEST(UnfusedAttention, SharedKeysAreCopiedToEveryHead) {
  // K and V of 4 heads read, of 16 written: 2 x 20 x 1024 x (96 + 64) x 2 B.
  for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
    AttentionShape shape = unfused(pass);
    const std::vector<Operator> own = unfused_attention(shape);
    shape.kv_heads = 4;
    const std::vector<Operator> shared = unfused_attention(shape);
    ASSERT_EQ(shared.size(), own.size() + 1);
    const Operator& copy = pass == AttentionPass::forward ? shared.front() : shared.back();
    EXPECT_EQ(copy.name, std::string_view("attention_kv_repeat"));
    EXPECT_DOUBLE_EQ(std::get<MemoryShape>(copy.shape).traffic.base(), 2.0 * 20 * 1024 * 160 * 2);
    EXPECT_DOUBLE_EQ(flops(shared), flops(own));
  }
}

TEST(UnfusedAttention, RefusesFusedKernelsAndImpossibleShapes) {
  AttentionShape shape = unfused(AttentionPass::forward);
  shape.seq_kv = 0;
  EXPECT_THROW(unfused_attention(shape), std::invalid_argument);
  shape = unfused(AttentionPass::forward);
  shape.kernel = AttentionKernel::flash2;
  EXPECT_THROW(unfused_attention(shape), std::invalid_argument);
}

}  // namespace
}  // namespace orrery
