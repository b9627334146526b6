// What the host has launched and the GPU not run, and what stays reserved for it.
#include "models/host_lead.hpp"

#include <gtest/gtest.h>

#include "layer_fixtures.hpp"

namespace orrery {
namespace {

using namespace layer_fixtures;

/// A layer whose forward takes the host 1 ms and the GPU 4 ms, whose backward 3 and 8 ms.
HostLead four_times_as_fast() {
  return {milliseconds(1), milliseconds(4), milliseconds(3), milliseconds(8), 20};
}

TEST(HostLead, GrowsOverTheLayersInARow) {
  // When the host has launched 16 layers, 16 ms, the GPU has run 4.
  EXPECT_DOUBLE_EQ(four_times_as_fast().layers_queued(16, 1, 0), 12);
  EXPECT_DOUBLE_EQ(four_times_as_fast().layers_queued(8, 2, 0), 12);
  // One micro-batch before: 8 layers ahead by 12 - 4 ms each, 16 layers of forward; all of these 8 wait.
  EXPECT_DOUBLE_EQ(four_times_as_fast().layers_queued(8, 1, 1), 8);
}

TEST(HostLead, AHostThatHoldsTheGpuUpIsNotAhead) {
  const HostLead slow{milliseconds(4), milliseconds(4), milliseconds(9), milliseconds(9), 20};
  EXPECT_DOUBLE_EQ(slow.layers_queued(16, 2, 8), 0);
  EXPECT_DOUBLE_EQ(HostLead{}.layers_queued(16, 8, 8), 0);
}

TEST(HostLead, TheFirstStageFillsThePipelineWhileItsGpuWaits) {
  // Of eight micro-batches of two layers the GPU has begun two; 12 layers of 4 ms are launched within 214.5
  // ms.
  const HostLead slow{milliseconds(4), milliseconds(4), milliseconds(9), milliseconds(9), 20};
  EXPECT_DOUBLE_EQ(slow.layers_queued(2, 8, 0), 12);
  const HostLead slower{milliseconds(42.9), milliseconds(42.9), milliseconds(90), milliseconds(90), 20};
  EXPECT_NEAR(slower.layers_queued(2, 8, 0), 5, 1e-9);  // 214.5 / 42.9
}

TEST(HostLead, AStreamQueuesAThousandLaunches) {
  EXPECT_DOUBLE_EQ(four_times_as_fast().layers_queued(100, 1, 7), 50);
}

/// Megatron's GPT-3 on 8 tensor ranks, a layer's two whole outputs recorded.
class RecordedActivations : public testing::Test {
 protected:
  RecordedActivations() {
    degrees_.pipeline = 4;
    degrees_.stage_layers = {24, 24, 24, 24};
    software_.recorded_activations = 2;
    software_.logs_reserved = software_.logs_first_stage = true;
  }
  Bytes beyond_peak(Bytes capacity = {}) const {
    const MemoryUse use =
        memory_use(gpt3_175b(), training(2048, 32), software_, degrees_, Bytes(), lead_, capacity);
    return use.logged_peak - Bytes(use.per_stage_peak[0] - software_.context_memory);
  }
  ParallelPlan degrees_ = plan(8);
  SoftwareStack software_ = stack();
  HostLead lead_ = four_times_as_fast();
};

TEST_F(RecordedActivations, AreReservedInTheLayersThatWait) {
  // Four micro-batches in flight on the first stage: 50 of 96 layers fit the queue, each with two outputs of
  // 2048 x 12288 in 16 bits.
  const double output = 2048.0 * 12288 * 2;
  EXPECT_NEAR(beyond_peak().base() / (50 * 2 * output), 1.0, 1e-12);
  degrees_.pipeline = 1;
  degrees_.stage_layers = {96};
  EXPECT_NEAR(beyond_peak().base() / (50 * 2 * output), 1.0, 1e-12);
}

TEST_F(RecordedActivations, WaitWithTheSlicesTheyWereReducedTo) {
  degrees_.sequence = true;
  const double output = 2048.0 * 12288 * 2;
  EXPECT_NEAR(beyond_peak().base() / (50 * 2 * (output + output / 8)), 1.0, 1e-12);
}

TEST_F(RecordedActivations, AreNoneWithoutAGroupOrALead) {
  lead_ = {};
  EXPECT_EQ(beyond_peak(), Bytes());
  lead_ = four_times_as_fast();
  software_.blocking_launches = true;
  EXPECT_EQ(beyond_peak(), Bytes());
  software_.blocking_launches = false;
  degrees_.tensor = 1;
  EXPECT_EQ(beyond_peak(), Bytes());
}

TEST_F(RecordedActivations, EndWhereTheGpuDoes) {
  // A GPU with 1 GiB more than what is live: the allocator waits and gives back. One with less: it cannot.
  const MemoryUse use = memory_use(gpt3_175b(), training(2048, 32), software_, degrees_, Bytes());
  const Bytes live = use.per_stage_peak[0];
  EXPECT_NEAR((beyond_peak(live + gibibytes(1)) - gibibytes(1)).base(), 0.0, 1.0);
  EXPECT_EQ(beyond_peak(live * 0.5), Bytes());
}

}  // namespace
}  // namespace orrery
