// Data, checkpoints and synchronisation on whole experiments: the engines agree, reads meet gradients.
#include <gtest/gtest.h>

#include <algorithm>

#include "reports/answers/predict.hpp"
#include "reports/answers/variants.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

/// Two nodes that reduce the gradients of a small model over their NICs.
Json two_nodes(const char* training) {
  Json document = parse_json(R"({
    "cluster": {"preset": "dgx-a100-80gb", "nodes": 2,
                "storage": {"kind": "shared", "read_bandwidth": "400 GB/s", "write_bandwidth": "200 GB/s"}},
    "model": {"layers": 8, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 51200,
              "norm": "layernorm", "activation": "gelu", "position": "learned"},
    "training": {"seq_length": 1024, "global_batch": 64, "micro_batch": 1, "precision": "bf16"},
    "parallel": {"tensor": 1, "overlap": {"gradient": true}}})",
                             "test");
  document["training"].update(parse_json(training, "test"));
  return document;
}

Prediction run(const Json& document, EngineKind engine, bool full = false) {
  PredictOptions options;
  options.engine = engine;
  options.full_scope = full;
  options.echo = false;
  return predict(read_experiment(document, "test.json"), options);
}

double term(const Prediction& prediction, BreakdownTerm which) {
  return prediction.breakdown[static_cast<size_t>(which)];
}

TEST(Loop, EnginesAgreeWhereNothingContends) {
  const std::vector<const char*> loops = {
      R"({"data": {"workers": 2, "open_cost": "1 ms"}})",
      R"({"data": {"workers": 1, "open_cost": "200 ms"}})",
      R"({"data": {"workers": 0, "open_cost": "2 ms"}})",
      R"({"checkpoint": {"every": 100}})",
      R"({"checkpoint": {"every": 100, "async": true}})",
      R"({"sync": {"kind": "local", "period": 16}})",
      R"({"sync": {"kind": "local", "period": 16, "outer": "nesterov"}})",
      R"({"sync": {"kind": "async"}})",
      R"({"sync": {"kind": "async", "staleness": 0}})",
      R"({"sync": {"kind": "local", "period": 8}, "checkpoint": {"every": 50, "async": true},
          "data": {"workers": 4, "open_cost": "1 ms"}})",
  };
  for (const char* loop : loops) {
    for (const char* plan : {R"({"tensor": 1})", R"({"tensor": 2, "pipeline": 2})"}) {
      Json document = two_nodes(loop);
      document["parallel"] = parse_json(plan, "test");
      // Where only parameters are exchanged, every some steps, there are no gradients to overlap.
      document["parallel"]["overlap"]["gradient"] = !document["training"].contains("sync");
      const Prediction estimate = run(document, EngineKind::estimate);
      for (const bool full : {false, true}) {
        const Prediction simulated = run(document, EngineKind::simulate, full);
        if (!simulated.contended) {
          EXPECT_NEAR(simulated.step_time / estimate.step_time, 1.0, 0.01) << loop << plan << full;
        }
        double sum = 0;
        for (const double seconds : simulated.breakdown) sum += seconds;
        EXPECT_NEAR(sum / simulated.step_time.base(), 1.0, 1e-9) << loop << plan;
      }
    }
  }
}

TEST(Loop, ReadsAndGradientsShareTheNics) {
  Json document = two_nodes(R"({"data": {"workers": 8, "bytes_per_sample": "800 MB"}})");
  const Prediction with = run(document, EngineKind::simulate);
  document["training"].erase("data");
  const Prediction without = run(document, EngineKind::simulate);
  // Four samples a GPU and step: 3.2 GB behind a NIC of 25 GB/s are 128 ms and more; the gradients at the end
  // of the step meet them there.
  EXPECT_TRUE(with.contended);
  EXPECT_GT(term(with, BreakdownTerm::data_comm_exposed), term(without, BreakdownTerm::data_comm_exposed));
  EXPECT_LE(with.step_time.base(), without.step_time.base() + 3.2e9 / 24e9);
}

TEST(Loop, AnAsynchronousCheckpointStopsTheStepForLess) {
  const Prediction none = run(two_nodes("{}"), EngineKind::simulate);
  const Prediction waits = run(two_nodes(R"({"checkpoint": {"every": 10}})"), EngineKind::simulate);
  const Prediction beside =
      run(two_nodes(R"({"checkpoint": {"every": 10, "async": true}})"), EngineKind::simulate);
  EXPECT_LT(none.step_time, beside.step_time);
  EXPECT_LT(beside.step_time, waits.step_time);
  // Never less than the copy to the host over PCIe, spread over ten steps.
  EXPECT_GE(term(beside, BreakdownTerm::checkpoint_exposed), beside.loop->checkpoint.staging.base() / 10);
}

TEST(Loop, SlowerStorageIsNeverFaster) {
  for (const char* loop :
       {R"({"data": {"workers": 2, "bytes_per_sample": "1 MB"}})",
        R"({"data": {"workers": 0, "bytes_per_sample": "1 MB"}})", R"({"checkpoint": {"every": 20}})"}) {
    double faster = 0;
    for (const char* rate : {"400 GB/s", "40 GB/s", "4 GB/s", "400 MB/s"}) {
      Json document = two_nodes(loop);
      document["cluster"]["storage"] = {{"kind", "object"}, {"read_bandwidth", rate}};
      const double step = run(document, EngineKind::simulate).step_time.base();
      EXPECT_GE(step, faster * (1 - 1e-9)) << loop << rate;
      faster = step;
    }
  }
}

TEST(Loop, CheckpointsGoOverTheUplinksThatTheFabricHas) {
  Json document = two_nodes(R"({"checkpoint": {"every": 1}})");
  document["cluster"]["nodes"] = 4;
  document["cluster"]["fabric"] = parse_json(
      R"({"kind": "leaf_spine", "nodes_per_leaf": 2, "oversubscription": [4],
          "transport": {"payload_efficiency": 1, "spray_efficiency": 1}})",
      "test");
  document["cluster"]["storage"] = {{"kind", "shared"}, {"read_bandwidth", "3 TB/s"}, {"latency", "0 s"}};
  document["parallel"]["zero"] = 1;
  const Prediction simulated = run(document, EngineKind::simulate);
  // Two leaves of 16 NICs, an uplink for four: 8 cables of 25 GB/s.
  const double uplinks = 8 * 25e9;
  const CheckpointPlan& checkpoint = simulated.loop->checkpoint;
  const double write = checkpoint.bytes.base() / uplinks;
  EXPECT_NEAR(checkpoint.time.base() / write, 1.0, 1e-3);
  EXPECT_NEAR(term(simulated, BreakdownTerm::checkpoint_exposed) / write, 1.0, 1e-3);
  // 32 GPUs read the weights, 2 of the 14 bytes, and their part of the 12 of states.
  EXPECT_NEAR(checkpoint.restore.base() / ((32 * 2 + 12) / 14.0 * write), 1.0, 1e-3);
  const CheckpointPlan closed = run(document, EngineKind::estimate).loop->checkpoint;
  EXPECT_NEAR(closed.time / checkpoint.time, 1.0, 1e-3);
  EXPECT_NEAR(closed.restore / checkpoint.restore, 1.0, 1e-3);
}

// Two stages of each of which eight GPUs write their part; one writes twice the other's bytes. The store
// takes all bytes at its rate to the end: what the smaller stage leaves, the larger one takes.
TEST(Loop, WritersThatAreDoneLeaveTheStoreToTheOthers) {
  Json document = two_nodes(R"({"checkpoint": {"every": 1}})");
  document["cluster"]["storage"] = parse_json(
      R"({"kind": "shared", "read_bandwidth": "20 GB/s", "write_bandwidth": "10 GB/s", "latency": "0 s"})",
      "test");
  document["parallel"] = parse_json(R"({"pipeline": 2, "stage_layers": [1, 7], "zero": 1})", "test");
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    const Prediction prediction = run(document, engine);
    const CheckpointPlan& checkpoint = prediction.loop->checkpoint;
    ASSERT_GT(checkpoint.write[1].bytes / checkpoint.write[0].bytes, 2.0);
    const Bytes written = 8 * (checkpoint.write[0].bytes + checkpoint.write[1].bytes);
    EXPECT_EQ(checkpoint.bytes, written);
    EXPECT_NEAR(checkpoint.time / (written / gigabytes_per_second(10)), 1.0, 1e-6);
    const Bytes read = 8 * (checkpoint.read_back[0].bytes + checkpoint.read_back[1].bytes);
    EXPECT_NEAR(checkpoint.restore / (read / gigabytes_per_second(20)), 1.0, 1e-6);
    EXPECT_FALSE(prediction.contended);
  }
}

// The last stage of a pipeline has a copy of the table of words that it multiplies with; a checkpoint and a
// merged model have one.
TEST(Loop, ACopyOfTheTableOfWordsIsWrittenOnce) {
  for (const char* more :
       {R"({})", R"({"optimizer": "muon"})", R"({"lora": {"rank": 8, "targets": ["mlp"]}})"}) {
    Json document = two_nodes(R"({"checkpoint": {"every": 1}})");
    document["training"].update(parse_json(more, "test"));
    document["parallel"] = parse_json(R"({"pipeline": 1})", "test");
    const CheckpointPlan whole = run(document, EngineKind::estimate).loop->checkpoint;
    document["parallel"]["pipeline"] = 2;
    const CheckpointPlan split = run(document, EngineKind::estimate).loop->checkpoint;
    EXPECT_NEAR(split.bytes / whole.bytes, 1.0, 1e-9) << more;
    EXPECT_NEAR(split.merged / whole.merged, 1.0, 1e-9) << more;
    // It is read back by all who hold it.
    EXPECT_GT(split.read_back[0].bytes + split.read_back[1].bytes, 1.1 * whole.read_back[0].bytes) << more;
  }
}

// DiLoCo's 8 bytes a parameter are dealt over a worker's GPUs as the optimizer's 12 are, when written and
// when read back; the weights (2 bytes) are dealt when written.
TEST(Loop, ARankReadsBackItsPartOfTheOuterState) {
  Json document = two_nodes(
      R"({"checkpoint": {"every": 8}, "sync": {"kind": "local", "period": 8, "outer": "nesterov"}})");
  document["parallel"] = parse_json(R"({"tensor": 1, "zero": 1, "shard_group": 8})", "test");
  const CheckpointPlan checkpoint = run(document, EngineKind::estimate).loop->checkpoint;
  ASSERT_EQ(checkpoint.writers, 16);
  const double a_parameter_written = (2 + 12 + 8) / 8.0, a_parameter_read = 2 + (12 + 8) / 8.0;
  EXPECT_NEAR(checkpoint.read_back[0].bytes / checkpoint.write[0].bytes,
              a_parameter_read / a_parameter_written, 1e-9);
}

// Grace's GPUs copy over NVLink-C2C, not over the PCIe that leads to their NICs.
TEST(Loop, CopiesToTheHostTakeTheLinkToItsMemory) {
  Json document = two_nodes(R"({"checkpoint": {"every": 10, "async": true}})");
  document["cluster"]["node"] = parse_json(
      R"({"preset": "dgx-a100-80gb", "host_link": "20 GB/s", "host_memory": {"link": "200 GB/s"}})", "test");
  document["cluster"].erase("preset");
  const CheckpointPlan checkpoint = run(document, EngineKind::estimate).loop->checkpoint;
  ASSERT_EQ(checkpoint.writers, 1);  // the first data rank
  EXPECT_NEAR(checkpoint.staging / (checkpoint.bytes / gigabytes_per_second(200)), 1.0, 1e-9);
}

// 200 GB/s of drives a node, more than one PCIe link (64 GB/s) carries and less than eight do.
TEST(Loop, EveryGpuReachesItsDrivesOverItsOwnLink) {
  Json document = two_nodes(R"({"checkpoint": {"every": 1}})");
  document["cluster"] = parse_json(
      R"({"preset": "dgx-h100", "nodes": 2,
          "storage": {"kind": "local", "read_bandwidth": "200 GB/s", "latency": "0 s"}})",
      "test");
  document["parallel"]["zero"] = 1;
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    const CheckpointPlan checkpoint = run(document, engine).loop->checkpoint;
    ASSERT_EQ(checkpoint.writers, 16);
    EXPECT_NEAR(checkpoint.time / (checkpoint.bytes / (2 * gigabytes_per_second(200))), 1.0, 1e-6);
  }
}

TEST(Loop, LocalDrivesAreReadInEveryNode) {
  Json document = two_nodes(R"({"data": {"workers": 1, "bytes_per_sample": "200 MB"}})");
  document["cluster"]["storage"] = {{"kind", "local"}, {"read_bandwidth", "16 GB/s"}};
  // Eight GPUs of a node share 16 GB/s: 4 x 200 MB at 2 GB/s, and four accesses.
  const Prediction prediction = run(document, EngineKind::simulate);
  EXPECT_NEAR(prediction.loop->input.load.base(), 0.4, 0.001);
  EXPECT_NEAR(prediction.step_time.base(), 0.4, 0.004);
}

TEST(Variants, AreComparedWithWhatTheyChange) {
  const Json list = parse_json(R"({"variants": [
      {"name": "two workers", "set": {"training.data.workers": 2}},
      {"name": "slow", "of": "two workers", "set": {"training.data.open_cost": "200 ms"}}]})",
                               "test");
  PredictOptions options;
  options.engine = EngineKind::estimate;
  const VariantsComparison answer =
      compare_variants({"test.json", two_nodes(R"({"data": {"workers": 0, "open_cost": "2 ms"}})")},
                       read_variants(list, "v.json"), options);
  ASSERT_EQ(answer.variants.size(), 2u);
  // Four samples a reader: 8 ms less, then 200 ms x 4 / 2 workers hold the step up.
  EXPECT_LT(answer.variants[0].against.delta_s, -0.008);
  EXPECT_EQ(answer.variants[1].against.a.prediction.step_time,
            answer.variants[0].against.b.prediction.step_time);
  EXPECT_NEAR(answer.variants[1].against.b.prediction.step_time.base(), 0.4, 0.001);
}

TEST(Variants, RefuseAFileLineByLine) {
  const auto message = [](const char* text) {
    try {
      read_variants(parse_json(text, "v.json"), "v.json");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message(R"({"variants": [{"name": "a", "of": "b", "set": {"x": 1}}]})"),
            "v.json: /variants/0/of: found \"b\", expected the name of a variant above");
  EXPECT_EQ(message(R"({"variants": []})"), "v.json: /variants: found a list, expected at least one variant");
  EXPECT_EQ(message(R"({"variants": [{"name": "a", "set": {}}]})"),
            "v.json: /variants/0/set: found an object, expected at least one \"path.to.key\": value");
}

}  // namespace
}  // namespace orrery
