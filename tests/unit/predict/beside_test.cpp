// A step beside another job's on one fabric.
#include <gtest/gtest.h>

#include <algorithm>

#include "reports/answers/predict.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

/// A pipeline over nodes whose sends take the latency of the NICs.
Json pipeline_on(int nodes) {
  Json document = parse_json(R"({
    "cluster": {"preset": "dgx-a100-80gb", "fabric": {"kind": "leaf_spine", "routing": "static"}},
    "model": {"layers": 8, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 51200,
              "norm": "layernorm", "activation": "gelu", "position": "learned"},
    "training": {"seq_length": 1024, "global_batch": 16, "micro_batch": 1, "precision": "bf16"},
    "parallel": {"tensor": 8}})",
                             "test");
  document["cluster"]["nodes"] = nodes;
  document["parallel"]["pipeline"] = nodes;
  return document;
}

Prediction beside(const Json& own, const Json& neighbour,
                  BesidePlacement placement = BesidePlacement::after) {
  PredictOptions options;
  options.beside = std::make_shared<const Experiment>(read_experiment(neighbour, "neighbour.json"));
  options.beside_placement = placement;
  return predict(read_experiment(own, "own.json"), options);
}

bool warns(const Prediction& prediction, const std::string& line) {
  return std::find(prediction.warnings.begin(), prediction.warnings.end(), line) != prediction.warnings.end();
}

TEST(Beside, TheNeighbourFeelsTheLatenciesOfTheSharedFabric) {
  Json own = pipeline_on(2);
  const double usual = beside(own, pipeline_on(4)).beside->neighbour_alone.base();
  own["cluster"]["fabric"]["switch_latency"] = "200 us";
  const double slow = beside(own, pipeline_on(4)).beside->neighbour_alone.base();
  // At least one switch a send: three sends on and three back before the last backward pass.
  EXPECT_GE(slow - usual, 6 * 199e-6);
}

TEST(Beside, SaysWhereTheNeighboursOwnFabricIsAnother) {
  const Json own = pipeline_on(2);
  Json neighbour = pipeline_on(2);
  const std::string line =
      "neighbour.json: its cluster.fabric.switch_latency differs from that of own.json, on whose fabric both "
      "run";
  EXPECT_FALSE(warns(beside(own, neighbour), line));
  neighbour["cluster"]["fabric"]["switch_latency"] = "2 us";
  EXPECT_TRUE(warns(beside(own, neighbour), line));
}

TEST(Beside, LinksThatOnlyTheNeighbourCrowdsDoNotBindTheJob) {
  // Two jobs on nodes of their own behind one switch share no cable: nothing of the job's own is held, though
  // the neighbour's two data-parallel pipelines crowd their NICs.
  Json own = pipeline_on(2);
  own["cluster"]["fabric"] = {{"kind", "single_switch"}, {"switch_radix", 64}};
  Json neighbour = pipeline_on(4);
  neighbour["cluster"]["fabric"] = own["cluster"]["fabric"];
  neighbour["cluster"]["fabric"]["link_bandwidth"] = "50 Gb/s";
  neighbour["parallel"] = {{"tensor", 8}, {"data", 4}, {"zero", 1}, {"overlap", {{"gradient", true}}}};
  own["cluster"]["fabric"]["link_bandwidth"] = "50 Gb/s";
  const Prediction both = beside(own, neighbour);
  const Prediction alone = predict(read_experiment(own, "own.json"), {});
  EXPECT_EQ(both.contended, alone.contended);
  EXPECT_TRUE(both.beside->binding.empty());
  EXPECT_NEAR(both.beside->slowdown(), 1.0, 1e-9);
}

/// Data parallelism on two nodes behind one switch, with a checkpoint after every step or every some.
Json writer(int every, bool async) {
  Json document = pipeline_on(2);
  document["cluster"]["fabric"] = {{"kind", "single_switch"}, {"switch_radix", 64}};
  document["cluster"]["storage"] = {{"kind", "shared"}, {"read_bandwidth", "10 GB/s"}, {"latency", "0 s"}};
  document["training"]["checkpoint"] = {{"every", every}, {"async", async}};
  document["parallel"] = {{"tensor", 1}, {"zero", 1}, {"overlap", {{"gradient", false}}}};
  return document;
}

TEST(Beside, CheckpointsOfTwoJobsAlikeShareTheStore) {
  // Both wait for their checkpoint after each step, and write at the same time: half of 10 GB/s each.
  const Prediction both = beside(writer(1, false), writer(1, false));
  const BesideUse& use = *both.beside;
  const double write = both.loop->checkpoint.bytes.base() / 10e9;
  EXPECT_NEAR(use.checkpoint_alone.base(), write, 1e-6);
  EXPECT_NEAR(use.checkpoint_together.base(), 2 * write, 1e-6);
  EXPECT_NEAR(use.neighbour_checkpoint_together.base(), 2 * write, 1e-6);
  EXPECT_NEAR((use.step_together - use.step_alone).base(), write, 1e-6);
  EXPECT_NEAR(use.step_together.base(), both.step_time.base(), 1e-9);
  EXPECT_NEAR(both.breakdown[static_cast<size_t>(BreakdownTerm::checkpoint_exposed)], 2 * write, 1e-6);
  EXPECT_FALSE(use.binding.empty());
}

TEST(Beside, AsynchronousCheckpointsThatOutlastTheirStepsFollowOneAnother) {
  const Prediction both = beside(writer(1, true), writer(1, true));
  const BesideUse& use = *both.beside;
  // A step lasts as long as a write at half the rate, and the copy to the host.
  const CheckpointPlan& checkpoint = both.loop->checkpoint;
  const double write = checkpoint.bytes.base() / 10e9;
  ASSERT_GT(write, 2 * (use.step_alone - use.checkpoint_alone).base());
  EXPECT_NEAR(use.step_alone.base(), write + checkpoint.staging.base(), 1e-3 * write);
  EXPECT_NEAR(use.step_together.base(), 2 * write + checkpoint.staging.base(), 1e-3 * write);
  EXPECT_NEAR(use.neighbour_together.base(), use.step_together.base(), 1e-6);
  double sum = 0;
  for (const double seconds : both.breakdown) sum += seconds;
  EXPECT_NEAR(sum, both.step_time.base(), 1e-9);
}

TEST(Beside, ANeighbourThatNeverWritesLeavesTheStoreAlone) {
  Json quiet = writer(1, false);
  quiet["training"].erase("checkpoint");
  const BesideUse use = *beside(writer(1, false), quiet).beside;
  EXPECT_NEAR(use.checkpoint_together / use.checkpoint_alone, 1.0, 1e-6);
  EXPECT_EQ(use.neighbour_checkpoint_together.base(), 0.0);
}

TEST(Beside, NamesTheFileWhoseFabricLacksStorage) {
  Json own = writer(1, false);
  own["training"].erase("checkpoint");
  own["cluster"].erase("storage");
  try {
    beside(own, writer(1, false));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "own.json: /cluster/storage: found nothing, expected storage: both jobs run on this file's "
                 "fabric, and neighbour.json beside it writes checkpoints");
  }
}

TEST(Beside, SaysWhereTheNeighboursOwnStorageIsAnother) {
  Json neighbour = writer(1, false);
  neighbour["cluster"]["storage"]["read_bandwidth"] = "20 GB/s";
  EXPECT_TRUE(warns(beside(writer(1, false), neighbour),
                    "neighbour.json: its cluster.storage.read_bandwidth differs from that of own.json, whose "
                    "storage both use"));
}

}  // namespace
}  // namespace orrery
