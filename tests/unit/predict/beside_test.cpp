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

}  // namespace
}  // namespace orrery
