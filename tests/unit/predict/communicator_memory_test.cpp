#include <gtest/gtest.h>

#include "reports/answers/predict.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

/// Memory of the communicators of a GPT-3 of 1.7 B parameters on tensor, pipeline and data groups, where they
/// have more than one rank.
double collective_bytes(int tensor, int pipeline, int data, const Json& communicators) {
  const Json document = {{"cluster", {{"preset", "dgx-h100"}, {"gpus", tensor * pipeline * data}}},
                         {"model", "gpt3-1.7b"},
                         {"training", {{"seq_length", 1024}, {"global_batch", 16}, {"micro_batch", 1}}},
                         {"software", {{"preset", "megatron-core"}, {"communicators", communicators}}},
                         {"parallel", {{"tensor", tensor}, {"pipeline", pipeline}, {"data", data}}}};
  return predict(read_experiment(document, "test"), {}).memory.collective.base();
}

TEST(CommunicatorMemory, HoldsBuffersForEveryGroupOfMoreThanOneRank) {
  // On a tensor group alone all ranks and a copy of the model are that group again, and there are no stages.
  const Json all = {"world", "model", "pipeline", "tensor", "ends"};
  const double one = collective_bytes(2, 1, 1, Json::array());
  EXPECT_GT(one, 0.0);
  EXPECT_DOUBLE_EQ(collective_bytes(2, 1, 1, all), (1 + 3) * one);
  EXPECT_DOUBLE_EQ(collective_bytes(1, 1, 2, all), (1 + 1) * one);  // all ranks
  // A tensor and a data group and a neighbour, and all five.
  EXPECT_DOUBLE_EQ(collective_bytes(2, 2, 2, Json::array()), 3 * one);
  EXPECT_DOUBLE_EQ(collective_bytes(2, 2, 2, all), (3 + 5) * one);
}

}  // namespace
}  // namespace orrery
