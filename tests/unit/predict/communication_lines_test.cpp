// What a prediction says about its collectives: one call's size, and how many calls.
#include "reports/answers/communication_lines.hpp"

#include <gtest/gtest.h>

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
      {"parallel", {{"zero", 0}, {"overlap", {{"gradient", true}}}, {"bucket", 10'000'000}}}};
  PredictOptions options;
  options.engine = engine;
  options.echo = false;
  std::vector<CommunicationTotal> lines = predict(read_experiment(document, "test"), options).communication;
  std::erase_if(lines, [](const CommunicationTotal& line) { return line.group != GroupKind::data; });
  return lines;
}

// Llama 3 8B has 8,030,261,248 parameters (Meta's model card: 8.03B), its vocabulary of 128,256 needs no
// padding to a multiple of 128: 803 buckets of 10 million gradients of 4 bytes. The simulation puts some
// of them into one task; they stay calls of their own.
TEST(CommunicationLines, ManyBucketsAreCountedOneByOne) {
  constexpr double kParameters = 8'030'261'248.0;
  for (const EngineKind engine : {EngineKind::estimate, EngineKind::simulate}) {
    const std::vector<CommunicationTotal> lines = gradient_lines(engine);
    ASSERT_EQ(lines.size(), 1U);
    const CommunicationTotal& line = lines.front();
    EXPECT_EQ(line.ranks, 16);
    EXPECT_NEAR(line.payload.base() * static_cast<double>(line.count), 4.0 * kParameters, 1e-6 * kParameters);
    // Equal calls are dealt to at most 64 tasks, 13 to each: up to 12 calls more than 803.
    EXPECT_NEAR(line.payload.base(), 4 * 10e6, 0.02 * 4 * 10e6);
  }
}

}  // namespace
}  // namespace orrery
