// The estimate where traffic meets on NICs.
#include "reports/answers/nic_estimate.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"
#include "sim/engine/nic_traffic.hpp"

namespace orrery {
namespace {

/// A ring over two nodes of 8 V100 whose 4 NICs also carry gradients after every micro-batch.
Json meeting_document(int micro_batches, const char* schedule = "1f1b", int pipeline = 1) {
  return {{"cluster", {{"preset", "dgx1-v100"}, {"nodes", 8}}},
          {"model",
           {{"layers", 4 * pipeline},
            {"hidden", 3072},
            {"heads", 24},
            {"ffn_hidden", 12288},
            {"vocab", 65536},
            {"activation", "gelu"},
            {"norm", "layernorm"},
            {"position", "rope"}}},
          {"training",
           {{"seq_length", 8192},
            {"global_batch", micro_batches * 4 / pipeline},
            {"micro_batch", 1},
            {"precision", "fp16"},
            {"gradient_dtype", "fp32"},
            {"recompute", "selective"}}},
          {"software", {{"preset", "megatron-core"}, {"attention_kernel", "unfused"}}},
          {"parallel",
           {{"tensor", 8},
            {"pipeline", pipeline},
            {"context", 2},
            {"context_method", "ring"},
            {"zero", 2},
            {"schedule", schedule},
            {"sequence", true}}}};
}

Prediction predicted(const Json& document, EngineKind engine) {
  PredictOptions options;
  options.engine = engine;
  options.echo = false;
  return predict(read_experiment(document, "test"), options);
}

double step(const Prediction& prediction) { return prediction.step_time.base(); }

TEST(NicEstimate, SharesNicsAsTheSimulationDoes) {
  const Json document = meeting_document(5);
  const Prediction simulated = predicted(document, EngineKind::simulate);
  const Prediction estimate = predicted(document, EngineKind::estimate);
  ASSERT_TRUE(simulated.contended);
  EXPECT_NEAR(step(estimate) / step(simulated), 1.0, 0.01);
  EXPECT_NEAR(std::accumulate(estimate.breakdown.begin(), estimate.breakdown.end(), 0.0), step(estimate),
              1e-9 * step(estimate));
  for (const BreakdownTerm term : {BreakdownTerm::context_comm_exposed, BreakdownTerm::data_comm_exposed}) {
    EXPECT_NEAR(estimate.breakdown[static_cast<size_t>(term)], simulated.breakdown[static_cast<size_t>(term)],
                0.02 * step(simulated));
  }
  for (const CommunicationTotal& line : estimate.communication) {
    EXPECT_LE(line.exposed.base(), line.total.base() * (1 + 1e-9));
  }
}

/// FSDP, or experts over 8 nodes, on 16 nodes of 8 H100 under leaves with a quarter of the uplinks.
Json oversubscribed_document(bool experts) {
  Json document = {{"cluster",
                    {{"preset", "dgx-h100"},
                     {"nodes", 16},
                     {"fabric",
                      {{"kind", "leaf_spine"},
                       {"switch_radix", experts ? 40 : 80},
                       {"oversubscription", {4}},
                       {"routing", "adaptive"}}}}},
                   {"model", "llama3-8b"},
                   {"training", {{"seq_length", 4096}, {"global_batch", 256}, {"micro_batch", 1}}},
                   {"software", "torchtitan"},
                   {"parallel", {{"zero", 3}}}};
  if (experts) {
    document["model"] = "deepseek-v2-lite";
    document["software"] = "megatron-core";
    document["parallel"] = {{"zero", 1}, {"expert", 64}};
  }
  return document;
}

// The simulation shares every uplink. Rings of 128 ranks leave a leaf of 8 nodes once and find room; of an
// exchange of 64 ranks under two leaves of 4 nodes 32 of 56 parts cross. The closed form takes all exchanges
// to meet; the two groups of this step miss each other at times.
TEST(NicEstimate, KnowsWhatUplinksCarry) {
  for (const bool experts : {false, true}) {
    const Json document = oversubscribed_document(experts);
    const Prediction simulated = predicted(document, EngineKind::simulate);
    const Prediction estimate = predicted(document, EngineKind::estimate);
    EXPECT_NEAR(step(estimate) / step(simulated), 1.0, 0.05) << experts;
    Json open = document;
    open["cluster"]["fabric"].erase("oversubscription");
    EXPECT_LE(step(predicted(open, EngineKind::estimate)), step(estimate) * (1 + 1e-9)) << experts;
  }
}

TEST(NicEstimate, ExtrapolatesALongStep) {
  for (const int pipeline : {1, 2}) {
    const Json document = meeting_document(40, "1f1b", pipeline);
    EXPECT_NEAR(
        step(predicted(document, EngineKind::estimate)) / step(predicted(document, EngineKind::simulate)),
        1.0, 0.02)
        << pipeline;
  }
}

TEST(NicEstimate, IsTheClosedFormWhereNothingIsHeldUp) {
  // One micro-batch a step without overlap: collectives of layers are over when gradients travel.
  Json document = meeting_document(4);
  document["parallel"]["zero"] = 1;
  document["parallel"]["overlap"] = {{"gradient", false}, {"parameter", false}};
  const Experiment experiment = read_experiment(document, "test");
  CalibrationStore calibrations;
  PredictOptions options;
  options.engine = EngineKind::estimate;
  const StepPlan plan = plan_of(experiment, calibrations.models(experiment, options), experiment.shape);
  bool contended = true;
  const StepEstimate shared = estimate_sharing(
      plan, [&](const WorkloadGraph& graph) { return nic_traffic(graph, experiment.shape); }, false,
      contended);
  EXPECT_FALSE(contended);
  EXPECT_EQ(shared.step_time, estimate_step(plan).step_time);
}

}  // namespace
}  // namespace orrery
