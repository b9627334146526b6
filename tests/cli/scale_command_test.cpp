#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

CliRun scale_small(std::vector<std::string> options) {
  options.insert(options.begin(), {"scale", "-"});
  return run_orrery(options, small_experiment().dump());
}

Json scaled(std::vector<std::string> options) {
  options.insert(options.end(), {"--format", "json"});
  const CliRun run = scale_small(options);
  EXPECT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.err;
  return run.out.empty() ? Json() : run.json();
}

TEST(ScaleCommand, HasTheContractsKeysAndLossesThatAddUp) {
  for (const std::string kind : {"--weak", "--strong"}) {
    const Json json = scaled({"--gpus", "8,16,32", kind});
    EXPECT_EQ(json["schema"], "orrery.scaling/1");
    ASSERT_EQ(json["points"].size(), 3U);
    EXPECT_EQ(json["reference_gpus"], 8);
    EXPECT_EQ(json["points"][0]["efficiency"], 1.0);
    const double reference = json["points"][0]["tokens_per_s"].get<double>() / 8;
    for (const Json& point : json["points"]) {
      const double gpus = point["gpus"], efficiency = point["efficiency"];
      // The definition, from the throughputs alone; the rest is the rounding of the sums.
      EXPECT_NEAR(efficiency, point["tokens_per_s"].get<double>() / gpus / reference, 1e-9);
      double loss = 0.0, seconds = 0.0;
      for (const Json& term : point["losses"]) {
        loss += term["loss"].get<double>();
        seconds += term["delta_s"].get<double>();
      }
      EXPECT_NEAR(loss, 1.0 - efficiency, 1e-3 * std::abs(1.0 - efficiency) + 1e-15);  // contract: 0.1 %
      EXPECT_NEAR(seconds / point["step_time_s"].get<double>(), loss, 1e-12);
      EXPECT_LE(point["efficiency_interval"][0], efficiency + 1e-12);
      EXPECT_GE(point["efficiency_interval"][1], efficiency - 1e-12);
    }
  }
}

TEST(ScaleCommand, KeepsTheBatchUnderStrongScalingAndGrowsItUnderWeak) {
  const Json strong = scaled({"--gpus", "8,32", "--strong"});
  const Json weak = scaled({"--gpus", "8,32"});
  EXPECT_EQ(strong["kind"], "strong");
  EXPECT_EQ(weak["kind"], "weak");
  EXPECT_EQ(strong["points"][1]["global_batch"], 64);
  EXPECT_EQ(weak["points"][1]["global_batch"], 256);
  EXPECT_EQ(strong["points"][1]["data"], 16);  // tensor 2
  EXPECT_EQ(weak["points"][1]["data"], 16);
}

TEST(ScaleCommand, PredictsWhatPredictDoesAtThatSize) {
  const Json point = scaled({"--gpus", "16"})["points"][0];
  const CliRun predicted = run_orrery(
      {"predict", "-", "--format", "json", "--set", "cluster.nodes=2", "--set", "training.global_batch=128"},
      small_experiment().dump());
  EXPECT_EQ(point["step_time_s"], predicted.json()["step_time_s"]);
  EXPECT_EQ(point["mfu"], predicted.json()["mfu"]);
  EXPECT_EQ(point["breakdown_s"], predicted.json()["breakdown_s"]);
}

TEST(ScaleCommand, NeverGainsFromFewerMicroBatchesOrLargerGroups) {
  // Strong scaling of a plan without pipeline: the work of a GPU shrinks with the GPUs, nothing else gets
  // faster.
  const Json json = scaled({"--gpus", "8:32", "--strong"});
  double last = 1.0 + 1e-9;
  for (const Json& point : json["points"]) {
    EXPECT_LE(point["efficiency"].get<double>(), last);
    last = point["efficiency"];
  }
}

TEST(ScaleCommand, ReadsDoublingRanges) {
  const Json json = scaled({"--gpus", "2,8:40", "--engine", "estimate"});
  std::vector<int> gpus;
  for (const Json& point : json["points"]) gpus.push_back(point["gpus"]);
  EXPECT_EQ(gpus, (std::vector<int>{2, 8, 16, 32}));
}

TEST(ScaleCommand, RefusesAPointInItsRowWithTheNearestLegalOnes) {
  const CliRun run = scale_small({"--gpus", "8,20,24", "--strong", "--format", "json"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  ASSERT_EQ(json["points"].size(), 3U);
  const Json& whole_nodes = json["points"][1];
  EXPECT_EQ(whole_nodes["status"], "refused");
  EXPECT_EQ(whole_nodes["reason"], "/cluster/gpus: found 20, expected whole nodes of 8: 16 or 24");
  EXPECT_EQ(whole_nodes["nearest_legal"],
            Json::parse("[16, 32]"));  // 24 GPUs: data 12 does not divide the batch
  EXPECT_EQ(whole_nodes["step_time_s"], nullptr);
  EXPECT_EQ(json["points"][2]["status"], "refused");
  EXPECT_EQ(json["points"][2]["nearest_legal"], Json::parse("[16, 32]"));
  EXPECT_NE(run.err.find("warning: 20 GPUs refused: /cluster/gpus"), std::string::npos) << run.err;
}

TEST(ScaleCommand, RefusesTheWholeWhereNoPointIsLegal) {
  const CliRun run = scale_small({"--gpus", "12,20"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(
      run.err,
      "-: 12 GPUs: /cluster/gpus: found 12, expected whole nodes of 8: 8 or 16; nearest legal: 8 or 16\n"
      "-: 20 GPUs: /cluster/gpus: found 20, expected whole nodes of 8: 16 or 24; nearest legal: 16 or 24\n");
}

TEST(ScaleCommand, GivesTheSameBytesAtAnyNumberOfThreads) {
  for (const char* format : {"json", "text", "csv"}) {
    const auto out = [format](const char* threads) {
      return scale_small({"--gpus", "2,8,12,16,32", "--format", format, "--threads", threads}).out;
    };
    const std::string one = out("1");
    ASSERT_FALSE(one.empty());
    EXPECT_EQ(one, out("2"));
    EXPECT_EQ(one, out("7"));
  }
}

TEST(ScaleCommand, PrintsABarAPointAndARowALine) {
  const CliRun text = scale_small({"--gpus", "8,12,16"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.err, "");
  EXPECT_NE(text.out.find("####################"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("12 GPUs refused: "), std::string::npos) << text.out;
  const CliRun csv = scale_small({"--gpus", "8,12,16", "--format", "csv", "--quiet"});
  EXPECT_EQ(csv.err, "");
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 4);
  const size_t second = csv.out.find('\n') + 1, third = csv.out.find('\n', second) + 1;
  const auto commas = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
  const size_t fourth = csv.out.find('\n', third) + 1;
  EXPECT_EQ(commas(csv.out.substr(0, second)), commas(csv.out.substr(second, third - second)));
  EXPECT_GE(commas(csv.out.substr(third, fourth - third)), commas(csv.out.substr(0, second)));
}

TEST(ScaleCommand, ExitsWithThreeWhereAPointDoesNotFit) {
  const CliRun run = scale_small({"--gpus", "8", "--set", "model=gpt3-175b", "--set",
                                  "training.micro_batch=8", "--format", "json", "--engine", "estimate"});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(run.json()["points"][0]["memory"]["fits"], false);
}

}  // namespace
}  // namespace orrery::test
