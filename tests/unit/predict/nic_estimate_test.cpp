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
