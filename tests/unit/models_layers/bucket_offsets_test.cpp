// Gradient buckets that close with the tensor that fills them.
#include "models/bucket_offsets.hpp"

#include <gtest/gtest.h>

#include "tests/unit/models_layers/layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

// PyTorch, test/distributed/test_c10d_common.py, ComputeBucketAssignmentTest, test_single_limit_single_dtype:
// tensors of 100, 200, 100 and 50 floats under a limit of 400 bytes are a bucket each.
TEST(WholeTensorBuckets, CloseWithTheTensorThatFillsThem) {
  EXPECT_EQ(whole_tensor_buckets({100, 200, 100, 50}, 100), 4);
  EXPECT_EQ(whole_tensor_buckets({50, 60, 100, 50, 10}, 100), 3);
  EXPECT_EQ(whole_tensor_buckets({10, 10}, 100), 1);
  EXPECT_EQ(whole_tensor_buckets({100}, 100), 1);
  EXPECT_EQ(whole_tensor_buckets({}, 100), 1);
}

// Llama 3 70B on eight tensor ranks, in millions: 29.4 down, 58.7 gate and up, 8.4 output, 10.5 QKV. With
// buckets of 25 MiB of bf16 the latter two share one: three a layer, and one each for embedding and head.
TEST(WholeTensorBuckets, OfALlamaAreThreeALayer) {
  ParallelPlan eight;
  eight.tensor = 8;
  const RankShape shape(llama3_70b(), training(8192, 1), SoftwareStack{}, eight);
  EXPECT_TRUE(has_plain_layers(llama3_70b()));
  EXPECT_EQ(whole_tensor_buckets(stage_matrices(shape, 80, false, false), 25 * 1048576 / 2), 240);
  EXPECT_EQ(whole_tensor_buckets(stage_matrices(shape, 80, true, true), 25 * 1048576 / 2), 242);
}

}  // namespace
}  // namespace orrery
