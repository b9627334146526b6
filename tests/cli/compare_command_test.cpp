#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

/// Runs `compare - OPTIONS` with the small experiment on standard input.
CliRun compare_small(std::vector<std::string> options) {
  options.insert(options.begin(), {"compare", "-"});
  return run_orrery(options, small_experiment().dump());
}

Json compared(std::vector<std::string> options) {
  options.insert(options.end(), {"--format", "json"});
  const CliRun run = compare_small(options);
  EXPECT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.err;
  return run.out.empty() ? Json() : run.json();
}

void expect_terms_add_up(const Json& comparison) {
  double sum = 0.0;
  for (const Json& term : comparison["terms"]) sum += term["delta_s"].get<double>();
  const double delta = comparison["b_s"].get<double>() - comparison["a_s"].get<double>();
  EXPECT_NEAR(sum, delta, 1e-3 * std::abs(delta));  // contract 3.2
  EXPECT_EQ(comparison["delta_s"], delta);
}

TEST(CompareCommand, HasTheContractsKeysAndTermsThatAddUp) {
  for (const std::string engine : {"estimate", "simulate"}) {
    const Json json = compared({"--set-b", "parallel.tensor=4", "--engine", engine});
    EXPECT_EQ(json["schema"], "orrery.comparison/1");
    EXPECT_EQ(json["engine"], engine);
    EXPECT_EQ(json["terms"].size(), 13U);
    EXPECT_NE(json["delta_s"], 0.0);
    expect_terms_add_up(json);
    EXPECT_LE(json["delta_interval_s"][0], json["delta_s"]);
    EXPECT_GE(json["delta_interval_s"][1], json["delta_s"]);
  }
}

TEST(CompareCommand, OfTheSameBytesIsZeroToTheBit) {
  const TemporaryFolder folder;
  const std::string file = folder.write("a.json", small_experiment().dump());
  const CliRun run = run_orrery({"compare", file, "-", "--format", "json"}, small_experiment().dump());
  const Json json = run.json();
  EXPECT_EQ(json["delta_s"], 0.0);
  EXPECT_EQ(json["a_s"], json["b_s"]);
  for (const Json& term : json["terms"]) EXPECT_EQ(term["delta_s"], 0.0) << term;
  EXPECT_TRUE(json["inputs"].empty());
  EXPECT_TRUE(json["communication"].empty());
  EXPECT_EQ(json["delta_interval_s"], Json::parse("[0.0, 0.0]"));
  EXPECT_EQ(json["explanation"], "A and B are the same experiment and take the same time.");
}

TEST(CompareCommand, OfAnInputThatMovesNothingIsZeroAndSaysSo) {
  const Json json = compared({"--set-b", "cluster.price.gpu_hour=\"3 USD\""});
  EXPECT_EQ(json["delta_s"], 0.0);
  for (const Json& term : json["terms"]) EXPECT_EQ(term["delta_s"], 0.0) << term;
  ASSERT_EQ(json["inputs"].size(), 1U);
  EXPECT_EQ(json["inputs"][0]["path"], "cluster.price.gpu_hour");
  EXPECT_EQ(json["explanation"], "B takes exactly as long as A: nothing that differs moves the step.");
}

TEST(CompareCommand, GivesTheStepsOfTwoPredictions) {
  const auto step = [](const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"predict", "-", "--format", "json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_orrery(arguments, small_experiment().dump()).json()["step_time_s"];
  };
  const Json json = compared({"--set", "training.global_batch=32", "--set-b", "parallel.tensor=4"});
  EXPECT_EQ(json["a_s"], step({"--set", "training.global_batch=32"}));
  EXPECT_EQ(json["b_s"], step({"--set", "training.global_batch=32", "--set", "parallel.tensor=4"}));
}

TEST(CompareCommand, OfTwoFilesIsTheSameAsOfOneWithSettings) {
  Json b = small_experiment();
  b["parallel"]["tensor"] = 4;
  const TemporaryFolder folder;
  const std::string file = folder.write("b.json", b.dump());
  const Json by_file =
      run_orrery({"compare", "-", file, "--format", "json"}, small_experiment().dump()).json();
  const Json by_setting = compared({"--set-b", "parallel.tensor=4"});
  EXPECT_EQ(by_file["terms"], by_setting["terms"]);
  EXPECT_EQ(by_file["inputs"], by_setting["inputs"]);
}

TEST(CompareCommand, SwapsSignsWithItsSides) {
  Json b = small_experiment();
  b["parallel"]["tensor"] = 4;
  const TemporaryFolder folder;
  const std::string file_a = folder.write("a.json", small_experiment().dump());
  const std::string file_b = folder.write("b.json", b.dump());
  const Json forth = run_orrery({"compare", file_a, file_b, "--format", "json"}).json();
  const Json back = run_orrery({"compare", file_b, file_a, "--format", "json"}).json();
  EXPECT_EQ(forth["delta_s"].get<double>(), -back["delta_s"].get<double>());
  EXPECT_EQ(forth["a_s"], back["b_s"]);
}

TEST(CompareCommand, GivesTheSameBytesAtAnyNumberOfThreads) {
  const auto out = [](const char* threads) {
    return compare_small({"--set-b", "parallel.tensor=4", "--format", "json", "--threads", threads}).out;
  };
  const std::string one = out("1");
  ASSERT_FALSE(one.empty());
  EXPECT_EQ(one, out("2"));
}

TEST(CompareCommand, NamesTheLargestTermAndWhatDiffers) {
  const CliRun run = compare_small({"--set-b", "parallel.tensor=4"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("parallel.tensor"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("than A. "), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("central 80 %; errors that A and B share cancel"), std::string::npos) << run.out;
}

TEST(CompareCommand, WarnsWhereStepsDoNotDoTheSameWork) {
  const Json json = compared({"--set-b", "cluster.nodes=2", "--set-b", "training.global_batch=128"});
  ASSERT_EQ(json["warnings"].size(), 1U);
  EXPECT_EQ(json["warnings"][0],
            "seconds are of one step each: A does 131072 tokens on 8 GPUs, B 262144 on 16; compare tokens/s "
            "per GPU");
}

TEST(CompareCommand, PutsThePriceBesideTheTokens) {
  const Json json =
      compared({"--set", "cluster.price.gpu_hour=\"2 USD\"", "--set-b", "cluster.price.gpu_hour=\"3 USD\""});
  const double a = json["a"]["cost"]["usd_per_million_tokens"],
               b = json["b"]["cost"]["usd_per_million_tokens"];
  EXPECT_DOUBLE_EQ(b / a, 1.5);
  EXPECT_DOUBLE_EQ(json["a"]["cost"]["usd_per_hour"].get<double>(), 16.0);  // 8 GPUs
  // 131,072 tokens a step.
  EXPECT_NEAR(a, 16.0 / 3600.0 * json["a_s"].get<double>() / 131072.0 * 1e6, 1e-12 * a);
}

TEST(CompareCommand, ExitsWithThreeWhereOneDoesNotFit) {
  const CliRun run =
      compare_small({"--set-b", "model=gpt3-175b", "--set-b", "training.micro_batch=8", "--format", "json"});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(run.json()["a"]["memory"]["fits"], true);
  EXPECT_EQ(run.json()["b"]["memory"]["fits"], false);
}

TEST(CompareCommand, CsvIsOneLineATermAndTheStepFirst) {
  const CliRun run = compare_small({"--set-b", "parallel.tensor=4", "--format", "csv", "--quiet"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 15);
  EXPECT_EQ(run.out.rfind("term,a_s,b_s,delta_s,reason\nstep,", 0), 0U) << run.out;
}

TEST(CompareCommand, ListsTheProblemsOfBothInputsAtOnce) {
  Json a = small_experiment(), b = small_experiment();
  a["parallel"]["tensor"] = 3;
  b["training"]["micro_batch"] = 0;
  const TemporaryFolder folder;
  const std::string file_a = folder.write("a.json", a.dump()), file_b = folder.write("b.json", b.dump());
  const CliRun run = run_orrery({"compare", file_a, file_b});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find(file_a), std::string::npos) << run.err;
  EXPECT_NE(run.err.find(file_b + ": /training/micro_batch: found 0, expected an integer in [1, "),
            std::string::npos)
      << run.err;
}

TEST(CompareCommand, NamesASettingOfBAloneAsBs) {
  const CliRun run = compare_small({"--set-b", "training.micro_batch=0"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err.rfind("- with --set-b: /training/micro_batch: found 0, expected an integer in [1, ", 0),
            0U)
      << run.err;
}

TEST(CompareCommand, SaysAProblemOfAOnceWhereBIsMadeOfIt) {
  Json a = small_experiment();
  a["training"]["micro_batch"] = 0;
  const CliRun run = run_orrery({"compare", "-", "--set-b", "parallel.tensor=4"}, a.dump());
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
}

// The four-GPU BERT example: what its loader, library, optimizer and synchronisation are worth, in one
// report.
TEST(CompareCommand, VariantsOfTheBertExampleAnswerInOneReport) {
  const CliRun run = run_orrery(
      {"compare", "bert-base-4gpu", "--variants", "bert-base-4gpu", "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json report = Json::parse(run.out);
  EXPECT_EQ(report["schema"], "orrery.variant_comparison/1");
  std::map<std::string, Json> variant;
  for (const Json& one : report["variants"]) {
    variant[one["name"]] = one;
    double sum = 0.0;
    for (const auto& [term, seconds] : one["breakdown_s"].items()) sum += seconds.get<double>();
    EXPECT_NEAR(sum, one["step_time_s"].get<double>(), 1e-9) << one["name"];
    EXPECT_FALSE(one["explanation"].get<std::string>().empty());
  }
  const auto step = [&](const std::string& name) { return variant.at(name)["step_time_s"].get<double>(); };
  // 16 samples a GPU: 2.3 ms an open, 0.115 ms an access, 12 KiB at a quarter of 4 GB/s, before the step.
  EXPECT_NEAR(report["base"]["breakdown_s"]["input_exposed"].get<double>(), 16 * (2.415e-3 + 12288 / 1e9),
              1e-6);
  EXPECT_NEAR(report["base"]["step_time_s"].get<double>() - step("file kept open"), 16 * 2.3e-3, 1e-5);
  EXPECT_EQ(variant.at("two workers")["breakdown_s"]["input_exposed"], 0.0);
  // Through the host is slower than NVLink, Gloo's rings slower than MPI's choice.
  EXPECT_GT(step("MPI"), step("two workers"));
  EXPECT_GT(step("Gloo"), step("MPI"));
  // State that is not there is not updated.
  EXPECT_LT(step("SGD"), step("Adagrad"));
  EXPECT_LT(step("Adagrad"), step("two workers"));
  EXPECT_LT(step("every 16 steps"), step("two workers"));
  EXPECT_LT(step("asynchronous"), step("two workers"));
  EXPECT_LT(step("Gloo, every 16 steps"), step("Gloo"));
  EXPECT_LT(step("Gloo, asynchronous"), step("Gloo"));
}

TEST(CompareCommand, VariantsAreATableAndOneLineEach) {
  const CliRun text =
      run_orrery({"compare", "bert-base-4gpu", "--variants", "bert-base-4gpu", "--engine", "estimate"});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("two workers takes"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("less than the experiment."), std::string::npos) << text.out;
  const CliRun csv = run_orrery({"compare", "bert-base-4gpu", "--variants", "bert-base-4gpu", "--engine",
                                 "estimate", "--format", "csv", "--quiet"});
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 1 + 1 + 10);  // heading, experiment, variants
}

}  // namespace
}  // namespace orrery::test
