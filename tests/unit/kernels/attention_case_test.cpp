#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <vector>

#include "kernels/attention/attention_case.hpp"
#include "kernels/attention/attention_shapes.hpp"
#include "sim/workload/operator.hpp"

namespace orrery {
namespace {

using kernels::AttentionCase;
using kernels::AttentionLayout;

AttentionCase small_case() {
  AttentionCase shape;
  shape.batch = 2;
  shape.seq_length = 64;
  shape.heads = 6;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.value_dim = 8;
  return shape;
}

TEST(AttentionLayouts, PutEveryElementInAPlaceOfItsOwn) {
  for (const auto layout : {AttentionLayout::bshd, AttentionLayout::sbhd, AttentionLayout::bhsd}) {
    const auto strides = kernels::attention_strides(layout, 2, 3, 5, 8);
    std::set<std::int64_t> places;
    for (std::int64_t b = 0; b < 2; ++b)
      for (std::int64_t h = 0; h < 3; ++h)
        for (std::int64_t s = 0; s < 5; ++s)
          for (std::int64_t d = 0; d < 8; ++d)
            places.insert(b * strides[0] + h * strides[1] + s * strides[2] + d * strides[3]);
    EXPECT_EQ(places.size(), 2U * 3 * 5 * 8);
    EXPECT_EQ(*places.rbegin(), 2 * 3 * 5 * 8 - 1);  // packed: no holes
  }
}

TEST(AttentionLayouts, AreInTheOrderOfTheirNames) {
  // The slowest dimension has the largest stride: sequence in sbhd, batch in the others.
  const auto sbhd = kernels::attention_strides(AttentionLayout::sbhd, 2, 3, 5, 8);
  EXPECT_EQ(sbhd[2], 2 * 3 * 8);
  EXPECT_EQ(sbhd[0], 3 * 8);
  const auto bshd = kernels::attention_strides(AttentionLayout::bshd, 2, 3, 5, 8);
  EXPECT_EQ(bshd[0], 5 * 3 * 8);
  EXPECT_EQ(bshd[2], 3 * 8);
  const auto bhsd = kernels::attention_strides(AttentionLayout::bhsd, 2, 3, 5, 8);
  EXPECT_EQ(bhsd[1], 5 * 8);
  EXPECT_EQ(bhsd[2], 8);
}

TEST(GroupedHeads, ConsecutiveQueryHeadsShareAKeyHead) {
  // 8 query heads, 2 key heads: 0-3 read head 0, 4-7 read head 1.
  for (std::int64_t head = 0; head < 8; ++head) EXPECT_EQ(kernels::kv_head_of(head, 8, 2), head < 4 ? 0 : 1);
  for (std::int64_t head = 0; head < 8; ++head) EXPECT_EQ(kernels::kv_head_of(head, 8, 8), head);
  for (std::int64_t head = 0; head < 8; ++head) EXPECT_EQ(kernels::kv_head_of(head, 8, 1), 0);
}

TEST(AttentionMask, CountsThePairsInSight) {
  for (const auto& [causal, window] :
       std::vector<std::pair<bool, std::int64_t>>{{false, 0}, {true, 0}, {true, 128}}) {
    AttentionCase shape = small_case();
    shape.seq_length = 1024;
    shape.causal = causal;
    shape.window = window;
    double pairs = 0;
    for (std::int64_t row = 0; row < 1024; ++row)
      for (std::int64_t column = 0; column < 1024; ++column)
        pairs += kernels::attends(causal, window, row, column) ? 1 : 0;
    // The convention leaves out half of the diagonal: at most seq_length / 2 pairs.
    EXPECT_NEAR(kernels::attended_pairs(shape), pairs, 1024.0 / 2);
  }
}

TEST(AttentionMask, AWindowKeepsItsOwnNumberOfKeys) {
  int seen = 0;
  for (std::int64_t column = 0; column < 1000; ++column)
    seen += kernels::attends(true, 7, 500, column) ? 1 : 0;
  EXPECT_EQ(seen, 7);  // 494 .. 500
  EXPECT_TRUE(kernels::attends(true, 7, 500, 494));
  EXPECT_FALSE(kernels::attends(true, 7, 500, 493));
  EXPECT_FALSE(kernels::attends(true, 7, 500, 501));
}

TEST(AttentionFlops, AreThoseThatThePredictionCounts) {
  for (const AttentionCase& shape : kernels::attention_grid()) {
    AttentionShape counted;
    counted.batch = shape.batch;
    counted.seq_q = counted.seq_kv = shape.seq_length;
    counted.heads = shape.heads;
    counted.kv_heads = shape.kv_heads;
    counted.head_dim = shape.head_dim;
    counted.value_dim = shape.value_dim;
    counted.causal = shape.causal;
    counted.window = shape.window;
    counted.pass = shape.backward ? AttentionPass::backward : AttentionPass::forward;
    EXPECT_NEAR(kernels::attention_flops(shape) / attention_flops(counted).base(), 1.0, 1e-12)
        << kernels::attention_title(shape);
  }
}

TEST(AttentionFlops, OfACausalSquareByHand) {
  // 2 x 4096^2 / 2 pairs of 16 heads, two products of width 128 each: 2 FLOPs a multiply-add.
  AttentionCase shape{1, 4096, 16, 16, 128, 128, true, 0, false, kernels::Element::bf16};
  EXPECT_EQ(kernels::attention_flops(shape), 2.0 * 16 * (4096.0 * 4096 / 2) * 256);
  shape.backward = true;
  EXPECT_EQ(kernels::attention_flops(shape), 5.0 * 16 * (4096.0 * 4096 / 2) * 256);
}

TEST(AttentionMemory, CountsOperandsStatisticsAndTheAccumulator) {
  const AttentionCase forward = small_case();
  // 2 sequences of 64: Q 6 heads of 16, K 2 of 16, V 2 of 8, O 6 of 8 in 2 bytes; a float for each of 6
  // heads' rows.
  const double rows = 2 * 64;
  const double operands = 2 * rows * (6 * 16 + 2 * 16 + 2 * 8 + 6 * 8);
  EXPECT_EQ(kernels::attention_memory_bytes(forward), operands + 4 * rows * 6);
  AttentionCase backward = forward;
  backward.backward = true;
  EXPECT_EQ(kernels::attention_memory_bytes(backward), 2 * operands + 2 * 4 * rows * 6 + 4 * rows * 6 * 16);
}

TEST(AttentionGrid, CoversWhatModelsAskFor) {
  std::set<std::pair<std::int64_t, std::int64_t>> widths;
  std::set<std::int64_t> lengths, windows;
  bool grouped = false, half = false, full = false;
  std::set<AttentionCase> once;
  const auto grid = kernels::attention_grid();
  for (const AttentionCase& shape : grid) {
    EXPECT_EQ(kernels::attention_problem(shape), "") << kernels::attention_title(shape);
    EXPECT_TRUE(once.insert(shape).second) << kernels::attention_title(shape) << " twice";
    widths.insert({shape.head_dim, shape.value_dim});
    lengths.insert(shape.seq_length);
    windows.insert(shape.window);
    grouped |= shape.kv_heads < shape.heads;
    half |= shape.element == kernels::Element::fp16;
    full |= !shape.causal;
    AttentionCase other = shape;
    other.backward = !shape.backward;
    EXPECT_NE(std::find(grid.begin(), grid.end(), other), grid.end())
        << "no other pass of " << kernels::attention_title(shape);
  }
  for (const auto& wanted : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {64, 64}, {96, 96}, {128, 128}, {192, 128}, {256, 256}}) {
    EXPECT_EQ(widths.count(wanted), 1U) << wanted.first;
  }
  for (std::int64_t length = 512; length <= 32768; length *= 2)
    EXPECT_EQ(lengths.count(length), 1U) << length;
  EXPECT_GT(windows.size(), 1U);
  EXPECT_TRUE(grouped && half && full);
}

TEST(AttentionShapesFile, ReadsLinesOnceAndPassesOverOthers) {
  std::istringstream lines(
      R"({"op": "attention", "batch": 2, "seq_length": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "causal": true, "pass": "backward", "precision": "fp16", "kernel": "cudnn"})"
      "\n"
      R"({"op": "gemm", "m": 1, "n": 2, "k": 3, "precision": "bf16"})"
      "\n\n"
      R"({"op": "attention", "seq_length": 256, "heads": 4, "head_dim": 192, "value_dim": 128, "causal": true, "window": 4096})"
      "\n"
      R"({"op": "attention", "seq_length": 256, "heads": 4, "head_dim": 192, "value_dim": 128})"
      "\n");
  std::size_t others = 0;
  const auto cases = kernels::read_attention_cases(lines, "shapes.jsonl", &others);
  EXPECT_EQ(others, 1U);
  ASSERT_EQ(cases.size(), 2U);  // the last two are one: a window of 4096 hides nothing of 256 keys
  EXPECT_EQ(cases[0], (AttentionCase{2, 4096, 32, 8, 128, 128, true, 0, true, kernels::Element::fp16}));
  EXPECT_EQ(cases[1], (AttentionCase{1, 256, 4, 4, 192, 128, true, 0, false, kernels::Element::bf16}));
}

TEST(AttentionShapesFile, RefusesEveryBadLineAtOnce) {
  std::istringstream lines(
      R"({"op": "attention", "seq_length": 256, "heads": 6, "kv_heads": 4, "head_dim": 64})"
      "\n"
      R"({"op": "attention", "seq_length": 256, "heads": 4, "head_dim": 64, "precision": "fp8"})"
      "\n");
  std::size_t others = 0;
  try {
    kernels::read_attention_cases(lines, "s.jsonl", &others);
    FAIL() << "accepted";
  } catch (const kernels::OptionError& error) {
    EXPECT_STREQ(error.what(),
                 "s.jsonl:1: heads (6) must be a multiple of kv_heads (4)\n"
                 "s.jsonl:2: \"precision\": found \"fp8\", expected bf16 or fp16");
  }
}

}  // namespace
}  // namespace orrery
