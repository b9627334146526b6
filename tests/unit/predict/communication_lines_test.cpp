// What a prediction says about its collectives: one call's size, and how many calls.
#include "reports/answers/communication_lines.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"

namespace orrery {
namespace {

std::vector<CommunicationTotal> gradient_lines(EngineKind engine) {
  const Json document = {
      {"cluster", {{"preset", "dgx-h100"}, {"nodes", 2}}},
      {"model", "llama3-8b"},
      {"training",
       {{"seq_length", 2048}, {"global_batch", 16}, {"micro_batch", 1}, {"gradient_dtype", "fp32"}}},
      {"software", "megatron-core"},
      {"parallel", {{"zero", 0}, {"overlap", {{"gradient", true}}}, {"bucket", 20'000'000}}}};
  PredictOptions options;
  options.engine = engine;
  options.echo = false;
  std::vector<CommunicationTotal> lines = predict(read_experiment(document, "test"), options).communication;
  std::erase_if(lines, [](const CommunicationTotal& line) { return line.group != GroupKind::data; });
  return lines;
}

// Llama 3 8B has 8,030,261,248 parameters (Meta's model card: 8.03B), its vocabulary of 128,256 needs no
// padding to a multiple of 128: 402 buckets of 20 million gradients of 4 bytes. The simulation puts some
// of them into one task; they stay calls of their own.
TEST(CommunicationLines, ManyBucketsAreCountedOneByOne) {
  constexpr double kParameters = 8'030'261'248.0;
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    const std::vector<CommunicationTotal> lines = gradient_lines(engine);
    ASSERT_EQ(lines.size(), 1U);
    const CommunicationTotal& line = lines.front();
    EXPECT_EQ(line.ranks, 16);
    EXPECT_NEAR(line.payload.base() * static_cast<double>(line.count), 4.0 * kParameters, 1e-6 * kParameters);
    // Equal calls are dealt to at most 64 tasks, 7 to each: up to 6 calls more than 402.
    EXPECT_NEAR(line.payload.base(), 4 * 20e6, 0.02 * 4 * 20e6);
  }
}

// Exchanges of experts are pieces of layers inside a node, and tasks of the simulation across nodes; either
// way a micro-batch of DeepSeek-V2-Lite (27 layers, the first one dense; hidden 2048, 6 experts a token)
// sends 4096 tokens six times in 16 bits to their experts and back, forward and backward, on each of 26
// layers.
TEST(CommunicationLines, ExchangesOfExpertsAreWhatThePlanDoes) {
  for (const int expert : {8, 16}) {
    for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
      const Json document = {{"cluster", {{"preset", "dgx-h100"}, {"nodes", 2}}},
                             {"model", "deepseek-v2-lite"},
                             {"training", {{"seq_length", 4096}, {"global_batch", 48}, {"micro_batch", 1}}},
                             {"software", "megatron-core"},
                             {"parallel", {{"zero", 1}, {"expert", expert}}}};
      PredictOptions options;
      options.engine = engine;
      options.echo = false;
      const Prediction prediction = predict(read_experiment(document, "test"), options);
      std::int64_t calls = 0;
      double exposed = 0;
      for (const CommunicationTotal& line : prediction.communication) {
        if (line.group != GroupKind::expert) continue;
        exposed += line.exposed.base();
        if (line.op != CollectiveOp::all_to_all) continue;
        EXPECT_EQ(line.ranks, expert);
        EXPECT_DOUBLE_EQ(line.payload.base(), 4096.0 * 6 * 2048 * 2);
        calls += line.count;
      }
      EXPECT_EQ(calls, 3 * 26 * 4);
      const auto term = static_cast<size_t>(BreakdownTerm::expert_comm_exposed);
      EXPECT_NEAR(exposed, prediction.breakdown[term], 1e-3 * exposed);
    }
  }
}

// What a stage waits for is told of one stage: the lines' calls are of the stage whose breakdown is printed.
// Two stages of one and three layers end in a send-free read that outlasts both: a layer with sequence
// parallelism has two gathers forward and three backward, and two reduce-scatters each way.
TEST(CommunicationLines, AreOfTheStageThatTheBreakdownIsOf) {
  for (const std::vector<int>& layers : {std::vector{1, 3}, std::vector{3, 1}}) {
    Json document = parse_json(R"({
        "cluster": {"preset": "dgx-h100", "nodes": 1,
                    "storage": {"kind": "local", "read_bandwidth": "20 GB/s"}},
        "model": {"layers": 4, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 32000,
                  "norm": "layernorm", "activation": "gelu", "position": "learned"},
        "training": {"seq_length": 1024, "global_batch": 32, "micro_batch": 2,
                     "data": {"bytes_per_sample": "1 MiB", "workers": 1, "decode_cost": "100 ms"}},
        "parallel": {"tensor": 2, "pipeline": 2, "sequence": true, "zero": 1}})",
                               "test");
    document["parallel"]["stage_layers"] = layers;
    PredictOptions options;
    options.engine = EngineKind::simulate;
    options.echo = false;
    const Prediction prediction = predict(read_experiment(document, "test"), options);
    double exposed = 0;
    for (const CommunicationTotal& line : prediction.communication) {
      if (line.group == GroupKind::tensor) exposed += line.exposed.base();
    }
    const auto term = static_cast<size_t>(BreakdownTerm::tensor_comm_exposed);
    EXPECT_NEAR(exposed, prediction.breakdown[term], 1e-9) << layers[0];
  }
}

// Under DualPipe some backwards are split, and what hides beside weight gradients in the others is waited for
// in these: more than the lines' own shares, of which the small ones are exposed in full as it is.
TEST(CommunicationLines, AddUpUnderSchedulesThatSplitTheBackward) {
  const Json document = parse_json(R"({
      "cluster": {"preset": "dgx-b200", "nodes": 2},
      "model": {"layers": 16, "hidden": 4096, "heads": 32, "ffn_hidden": 16384, "vocab": 32000,
                "norm": "rmsnorm", "activation": "swiglu", "position": "rope", "bias": false,
                "tied_embeddings": false},
      "training": {"seq_length": 2048, "global_batch": 64, "micro_batch": 2},
      "parallel": {"tensor": 2, "pipeline": 4, "schedule": "dualpipe", "zero": 1}})",
                                   "test");
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    PredictOptions options;
    options.engine = engine;
    options.echo = false;
    const Prediction prediction = predict(read_experiment(document, "test"), options);
    double exposed = 0;
    for (const CommunicationTotal& line : prediction.communication) {
      if (line.group != GroupKind::tensor) continue;
      exposed += line.exposed.base();
      EXPECT_LE(line.exposed / line.total, 1.0 + 1e-12);
    }
    const auto term = static_cast<size_t>(BreakdownTerm::tensor_comm_exposed);
    EXPECT_NEAR(exposed / prediction.breakdown[term], 1.0, 1e-9);
  }
}

// Two leaves of four nodes, 4:1 and hashed: rings share uplinks, and the bandwidth beside a call's time is
// what it got, not what it reaches alone.
TEST(CommunicationLines, BandwidthIsWhatACallGotOfSharedLinks) {
  Json document = {
      {"cluster",
       {{"preset", "dgx-h100"},
        {"nodes", 8},
        {"fabric",
         {{"kind", "leaf_spine"}, {"nodes_per_leaf", 4}, {"oversubscription", {4}}, {"routing", "ecmp"}}}}},
      {"model", "llama3-8b"},
      {"training", {{"seq_length", 2048}, {"global_batch", 64}, {"micro_batch", 1}, {"recompute", "full"}}},
      {"software", "megatron-core"},
      {"parallel", {{"zero", 1}, {"overlap", {{"gradient", false}, {"parameter", false}}}}}};
  PredictOptions options;
  options.engine = EngineKind::simulate;
  options.echo = false;
  const Prediction prediction = predict(read_experiment(document, "test"), options);
  ASSERT_TRUE(prediction.contended);
  EXPECT_TRUE(
      std::any_of(prediction.warnings.begin(), prediction.warnings.end(), [](const std::string& line) {
        return line.starts_with("cluster.fabric.routing ecmp: paths are hashed");
      }));
  document["cluster"]["fabric"] = {{"kind", "single_switch"}};
  const Prediction alone = predict(read_experiment(document, "test"), options);
  size_t seen = 0;
  for (const CommunicationTotal& line : prediction.communication) {
    if (line.group != GroupKind::data) continue;
    for (const CommunicationTotal& other : alone.communication) {
      if (other.group != line.group || other.op != line.op || other.payload != line.payload) continue;
      EXPECT_LT(line.bus_bandwidth(), 0.8 * other.bus_bandwidth()) << name_of(line.op);
      ++seen;
    }
  }
  EXPECT_EQ(seen, 2U);  // reduce_scatter and all_gather
}

// Megatron-LM of 2021 sends an activation in slices, one a tensor rank, and the receiver gathers them (SC21
// section 4.1): a send takes both, and its bandwidth is that of its bytes in that time, in either engine.
TEST(CommunicationLines, BandwidthOfASendCountsTheGatherBehindIt) {
  const Json document = {
      {"cluster", {{"preset", "dgx-a100-80gb"}, {"nodes", 2}}},
      {"model", "gpt3-18b"},
      {"training", {{"seq_length", 2048}, {"global_batch", 16}, {"micro_batch", 4}, {"precision", "fp16"}}},
      {"software", "megatron-lm-2021"},
      {"parallel", {{"tensor", 8}, {"pipeline", 2}}}};
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    PredictOptions options;
    options.engine = engine;
    options.echo = false;
    const Prediction prediction = predict(read_experiment(document, "test"), options);
    size_t seen = 0;
    for (const CommunicationTotal& line : prediction.communication) {
      if (line.op != CollectiveOp::send_receive) continue;
      const double bytes = 2048.0 * 4 * 6144 * 2 / 8;  // of one slice
      EXPECT_DOUBLE_EQ(line.payload.base(), bytes);
      EXPECT_EQ(line.count, 2 * 4);  // one out and one in for each micro-batch
      EXPECT_NEAR(line.bus_bandwidth(), bytes * 8 / line.total.base(), 1e-9 * line.bus_bandwidth());
      // Eight slices of 12.6 MB over NVLink at 600 GB/s, 7/8 of them from others: 0.15 ms at the very least.
      EXPECT_LT(line.bus_bandwidth(), bytes / (bytes / 25e9 + 7 * bytes / 600e9));
      ++seen;
    }
    EXPECT_EQ(seen, 1U);
  }
}

}  // namespace
}  // namespace orrery
