#include "reports/answers/latency_difference.hpp"

#include <gtest/gtest.h>

#include "reports/answers/collective.hpp"
#include "reports/answers/predict.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

GroupShape shape(int ranks, int domains) {
  GroupShape result;
  result.ranks = ranks;
  result.domains = domains;
  result.ranks_per_domain = ranks / domains;
  return result;
}

TEST(CollectiveHops, AreTheStepsOfTheLongestChain) {
  // 16 ranks on 4 nodes. Ring all-reduce: 30 steps, 6 of them between nodes.
  const CollectiveHops ring = collective_hops(CollectiveOp::all_reduce, "ring", shape(16, 4));
  EXPECT_EQ(ring.network, 6.0);
  EXPECT_EQ(ring.inner, 24.0);
  const CollectiveHops gather = collective_hops(CollectiveOp::all_gather, "ring", shape(16, 4));
  EXPECT_EQ(gather.network, 3.0);
  EXPECT_EQ(gather.inner, 12.0);
  // Tree: up and down two levels of nodes and chains of three hops in them.
  const CollectiveHops tree = collective_hops(CollectiveOp::all_reduce, "tree", shape(16, 4));
  EXPECT_EQ(tree.network, 4.0);
  EXPECT_EQ(tree.inner, 6.0);
  const CollectiveHops send = collective_hops(CollectiveOp::send_receive, "p2p", shape(2, 2));
  EXPECT_EQ(send.network, 1.0);
  EXPECT_EQ(send.inner, 0.0);
}

/// Seconds of a send of 4 MB between two nodes whose NICs have a latency of `microseconds`.
double send_s(const std::string& library, int microseconds) {
  const CollectiveCluster cluster = read_collective_cluster(
      "dgx-h100", {"nodes=2", "node.nics.latency=" + std::to_string(microseconds) + " us"});
  CollectiveQuestion question;
  question.op = "send_receive";
  question.ranks = 2;
  question.ranks_per_node = 1;
  question.sizes = {4e6};
  question.library = library;
  return answer_collective(cluster, question).rows.at(0).time.base();
}

TEST(CollectivesWithLatency, CountALatencyOnceWhateverTheLibrary) {
  // A path has two NICs. NCCL's fitted times know no latency of the cluster, those of MPI and Gloo do.
  for (const char* library : {"nccl", "mpi", "gloo"}) {
    EXPECT_NEAR(send_s(library, 201) - send_s(library, 101), 200e-6, 1e-9) << library;
  }
}

TEST(CollectivesWithLatency, LeaveAModelAloneThatFollowsTheShape) {
  class Follows : public CollectiveModel {
   public:
    CollectiveTime time(CollectiveOp, Bytes, const GroupShape& of) const override {
      CollectiveTime result;
      result.latency = of.network_latency;
      return result;
    }
    Bytes buffer_bytes(const GroupShape&) const override { return {}; }
    bool follows_latencies() const override { return true; }
    double profile_error() const override { return 0.0; }
    std::string profile_source() const override { return ""; }
  };
  ClusterShape given, usual;
  given.network_latency = given.network_latency_pod = given.network_latency_far = Seconds(5e-6);
  usual.network_latency = usual.network_latency_pod = usual.network_latency_far = Seconds(1e-6);
  GroupShape of = shape(2, 2);
  of.network_latency = given.network_latency;
  const Follows base;
  EXPECT_EQ(
      CollectivesWithLatency(base, given, usual).time(CollectiveOp::send_receive, Bytes(1.0), of).latency,
      Seconds(5e-6));
}

Json pipeline_experiment() {
  return parse_json(R"({
    "cluster": {"preset": "dgx-a100-80gb", "nodes": 4},
    "model": {"layers": 8, "hidden": 2048, "heads": 16, "ffn_hidden": 8192, "vocab": 51200,
              "norm": "layernorm", "activation": "gelu", "position": "learned"},
    "training": {"seq_length": 1024, "global_batch": 16, "micro_batch": 1, "precision": "bf16"},
    "parallel": {"tensor": 8, "pipeline": 4}})",
                    "test");
}

double step_s(const Json& document, EngineKind engine) {
  PredictOptions options;
  options.engine = engine;
  const Prediction prediction = predict(read_experiment(document, "test"), options);
  for (const std::string& warning : prediction.warnings) {
    EXPECT_EQ(warning.find("without effect"), std::string::npos) << warning;
  }
  return prediction.step_time.base();
}

TEST(Latency, OfTheNicsAddsToEverySendOfAPipeline) {
  const Json usual = pipeline_experiment();
  Json slow = usual;
  slow["cluster"]["node"]["nics"]["latency"] = "101 us";
  Json slower = usual;
  slower["cluster"]["node"]["nics"]["latency"] = "201 us";
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    // A path has two NICs: 200 us more a send. 16 micro-batches on 4 stages: the last backward waits for 3
    // sends on and 3 back; at most every micro-batch waits for one each way besides, and the tied embedding.
    const double more = step_s(slower, engine) - step_s(slow, engine);
    EXPECT_GE(more, 6 * 200e-6 * 0.999);
    EXPECT_LE(more, (6 + 2 * 16 + 4) * 200e-6);
    EXPECT_GT(step_s(slow, engine), step_s(usual, engine));
  }
}

TEST(Latency, GivenAsItIsAnywayChangesNothing) {
  const Json usual = pipeline_experiment();
  const Experiment experiment = read_experiment(usual, "test");
  Json same = usual;
  same["cluster"]["fabric"]["switch_latency"] =
      std::to_string(experiment.cluster.fabric.switch_latency.base() * 1e9) + " ns";
  EXPECT_NEAR(step_s(same, EngineKind::estimate), step_s(usual, EngineKind::estimate), 1e-12);
}

}  // namespace
}  // namespace orrery
