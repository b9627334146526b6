#include "sim/workload/memory_operators.hpp"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

namespace orrery {
namespace {

constexpr AttentionPass kForward = AttentionPass::forward, kBackward = AttentionPass::backward;

double bytes_of(const char* name, AttentionPass pass, std::int64_t rows, std::int64_t columns,
                double element = 2.0, std::int64_t copies = 1) {
  const MemoryOperator* op = memory_operator_named(name);
  if (op == nullptr) throw std::out_of_range(name);
  return memory_operator_shape(*op, pass, rows, columns, element, copies).traffic.base();
}

// Counted by hand for 10 rows (tokens) of 100 columns, arrays of 1000 elements in 2 bytes = 2000 bytes each.
TEST(MemoryOperators, MoveEachArrayOnce) {
  // layernorm: x, y; gain and bias 2 x 100 x 2; mean and 1/deviation of 10 rows in fp32.
  EXPECT_EQ(bytes_of("layernorm", kForward, 10, 100), 2 * 2000 + 400 + 80);
  EXPECT_EQ(bytes_of("layernorm", kBackward, 10, 100),
            3 * 2000 + 600 + 80);  // dy, x, dx; gain, two gradients
  EXPECT_EQ(bytes_of("rmsnorm", kForward, 10, 100), 2 * 2000 + 200 + 40);
  EXPECT_EQ(bytes_of("rmsnorm", kBackward, 10, 100), 3 * 2000 + 400 + 40);
  EXPECT_EQ(bytes_of("gelu", kForward, 10, 100), 2 * 2000);
  EXPECT_EQ(bytes_of("gelu", kBackward, 10, 100), 3 * 2000);
  EXPECT_EQ(bytes_of("swiglu", kForward, 10, 100), 3 * 2000);
  EXPECT_EQ(bytes_of("swiglu", kBackward, 10, 100), 5 * 2000);
  EXPECT_EQ(bytes_of("residual_add", kForward, 10, 100), 3 * 2000);
  EXPECT_EQ(bytes_of("dropout_add", kForward, 10, 100), 3 * 2000 + 1000);  // a mask of one byte
  EXPECT_EQ(bytes_of("dropout_add", kBackward, 10, 100), 2 * 2000 + 1000);
  EXPECT_EQ(bytes_of("rope", kForward, 10, 100), 2 * 2000);
  EXPECT_EQ(bytes_of("softmax", kBackward, 10, 100), 3 * 2000);
  EXPECT_EQ(bytes_of("cross_entropy", kForward, 10, 100), 2000 + 10 * (8 + 4 + 4));
  EXPECT_EQ(bytes_of("cross_entropy", kBackward, 10, 100), 2 * 2000 + 10 * (8 + 4 + 4));
  EXPECT_EQ(bytes_of("cast", kForward, 10, 100), 2000 + 4000);
  EXPECT_EQ(bytes_of("quantize_fp8", kForward, 10, 100), 2000 + 1000);
  EXPECT_EQ(bytes_of("quantize_fp8_transpose", kForward, 10, 100), 2000 + 2 * 1000);
  EXPECT_EQ(bytes_of("embedding", kForward, 10, 100), 2 * 2000 + 80);
  EXPECT_EQ(bytes_of("embedding_gradient", kBackward, 10, 100), 3 * 2000 + 80);
  EXPECT_EQ(bytes_of("copy", kForward, 10, 100), 2 * 2000);
  EXPECT_EQ(bytes_of("copy", kForward, 10, 100, 4.0), 2 * 4000);
}

TEST(MemoryOperators, PermuteTokensToTheirExperts) {
  // 10 tokens to 8 experts each: read 10 rows, write 80, 80 indices of 4 bytes.
  EXPECT_EQ(bytes_of("permute", kForward, 10, 100, 2.0, 8), 2000 + 8 * 2000 + 80 * 4);
  EXPECT_EQ(bytes_of("unpermute", kForward, 10, 100, 2.0, 8), 8 * 2000 + 2000 + 80 * 8);
  EXPECT_EQ(bytes_of("unpermute", kBackward, 10, 100, 2.0, 8), 2000 + 2 * 8 * 2000 + 80 * 12);
}

TEST(MemoryOperators, OptimizersMoveTheBytesOfTheirStates) {
  // A parameter: fp32 gradient 4, fp32 weight 4 + 4, bf16 weight 2, each fp32 state 4 + 4. Adam: 30 bytes, as
  // Megatron-LM's distributed optimizer moves (Adam in mixed precision).
  EXPECT_EQ(bytes_of("sgd", kForward, 1000, 1), 1000 * 14);
  EXPECT_EQ(bytes_of("momentum", kForward, 1000, 1), 1000 * 22);
  EXPECT_EQ(bytes_of("adagrad", kForward, 1000, 1), 1000 * 22);
  EXPECT_EQ(bytes_of("adam", kForward, 1000, 1), 1000 * 30);
  EXPECT_EQ(bytes_of("adamw", kForward, 1000, 1), 1000 * 30);
  EXPECT_EQ(bytes_of("lamb", kForward, 1000, 1), 1000 * (30 + 12));  // update out and in, weight once more
  EXPECT_EQ(bytes_of("adam", kForward, 1000, 1, 4.0), 1000 * 28);    // in fp32 there is no second weight
  EXPECT_EQ(bytes_of("gradient_norm", kForward, 1000, 1, 4.0), 4000);
  EXPECT_EQ(memory_operator_shape(*memory_operator_named("lamb"), kForward, 1, 1, 2.0).launches, 2);
}

TEST(MemoryOperators, CarryTheirKind) {
  EXPECT_EQ(memory_operator_named("rmsnorm")->kind, MemoryKind::norm);
  EXPECT_EQ(memory_operator_named("cross_entropy")->kind, MemoryKind::loss);
  EXPECT_EQ(memory_operator_named("embedding")->kind, MemoryKind::gather);
  EXPECT_EQ(memory_operator_named("embedding_gradient")->kind, MemoryKind::scatter);
  EXPECT_EQ(memory_operator_named("permute")->kind, MemoryKind::permute);
  EXPECT_EQ(memory_operator_named("adam")->kind, MemoryKind::optimizer);
  EXPECT_EQ(memory_operator_named("nothing"), nullptr);
}

TEST(MemoryOperators, HaveDistinctNamesAndGrowWithEverySize) {
  std::set<std::string_view> names;
  for (const MemoryOperator& op : memory_operators()) {
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_TRUE(op.forward.launches > 0 || op.backward.launches > 0) << op.name;
    for (const AttentionPass pass : {kForward, kBackward}) {
      if ((pass == kForward ? op.forward : op.backward).launches == 0) {
        EXPECT_THROW(memory_operator_shape(op, pass, 1, 1, 2.0), std::invalid_argument) << op.name;
        continue;
      }
      const Bytes small = memory_operator_shape(op, pass, 100, 200, 2.0).traffic;
      EXPECT_GT(memory_operator_shape(op, pass, 101, 200, 2.0).traffic, small) << op.name;
      EXPECT_GT(memory_operator_shape(op, pass, 100, 201, 2.0).traffic, small) << op.name;
      EXPECT_THROW(memory_operator_shape(op, pass, 0, 200, 2.0), std::invalid_argument) << op.name;
      EXPECT_THROW(memory_operator_shape(op, pass, 100, 200, 0.0), std::invalid_argument) << op.name;
    }
  }
}

}  // namespace
}  // namespace orrery
