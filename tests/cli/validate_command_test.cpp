#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "tests/cli/cli_program.hpp"

namespace orrery::test {
namespace {

constexpr const char* kFirst = "sc21-a100-1.7b-32g";
constexpr const char* kSecond = "sc21-a100-145b-1536g";

std::string run_line(const std::string& id, const Json& experiment, double step_time) {
  const Json line = {{"id", id},
                     {"source_group", "here"},
                     {"confidence", "high"},
                     {"experiment", experiment},
                     {"measured", {{"step_time_s", step_time}}}};
  return line.dump() + "\n";
}

TEST(ValidateCommand, ScoresTheRunsThatShip) {
  const CliRun run = run_orrery({"validate", "--id", kFirst, "--id", kSecond, "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  EXPECT_EQ(json["schema"], "orrery.validation/1");
  ASSERT_EQ(json["rows"].size(), 2U);
  for (const Json& row : json["rows"]) {
    ASSERT_EQ(row["status"], "scored") << row["reason"];
    const double measured = row["measured_step_s"];
    const double predicted = row["predicted_step_s"];
    EXPECT_DOUBLE_EQ(row["error"].get<double>(), predicted / measured - 1.0);
    EXPECT_TRUE(row["null_error"].is_number());
  }
  EXPECT_EQ(json["summary"][0]["by"], "all");
  const double mape = json["summary"][0]["mape"];
  EXPECT_DOUBLE_EQ(mape, (std::abs(json["rows"][0]["error"].get<double>()) +
                          std::abs(json["rows"][1]["error"].get<double>())) /
                             2);
}

TEST(ValidateCommand, GivesTheSameBytesAtAnyNumberOfThreads) {
  const std::vector<std::string> arguments = {"validate", "--source", "SC21 Table 1",
                                              "--format", "json",     "--quiet"};
  const auto with_threads = [&arguments](const std::string& threads) {
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--threads", threads});
    return run_orrery(all).out;
  };
  const std::string one = with_threads("1");
  ASSERT_FALSE(one.empty());
  EXPECT_EQ(one, with_threads("3"));
}

// At tier measured: tier stack leaves out what the run's own family has taught, which predict does not.
TEST(ValidateCommand, AgreesWithPredict) {
  const CliRun validation =
      run_orrery({"validate", "--id", kSecond, "--tier", "measured", "--format", "json", "--quiet"});
  const CliRun prediction = run_orrery({"predict", "gpt-145b-1536-a100", "--engine", "estimate", "--tier",
                                        "measured", "--format", "json", "--quiet"});
  EXPECT_EQ(validation.json()["rows"][0]["predicted_step_s"], prediction.json()["step_time_s"]);
  EXPECT_EQ(validation.json()["rows"][0]["error"], prediction.json()["error"]);
}

TEST(ValidateCommand, CountsWhatItRefuses) {
  const TemporaryFolder folder;
  Json refused = small_experiment();
  refused["training"]["optimiser"] = "adam";
  const std::string file =
      folder.write("runs.jsonl", run_line("good", small_experiment(), 1.0) + run_line("bad", refused, 1.0));
  const CliRun run = run_orrery({"validate", file, "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = run.json();
  EXPECT_EQ(json["rows"][0]["status"], "scored") << json["rows"][0]["reason"];
  EXPECT_EQ(json["rows"][1]["status"], "refused");
  EXPECT_EQ(json["summary"][0]["rows"], 2);
  EXPECT_EQ(json["summary"][0]["scored"], 1);
  ASSERT_EQ(json["refusals"].size(), 1U);
  EXPECT_EQ(json["refusals"][0]["rows"], 1);
  const std::string reason = json["refusals"][0]["reason"];
  EXPECT_EQ(reason.rfind("/experiment/training/optimiser: found an unknown key", 0), 0U) << reason;
}

// Tokens a second of all eight GPUs given for one, seconds as milliseconds: errors of such rows say nothing.
TEST(ValidateCommand, RefusesFiguresThatNoRunHas) {
  const TemporaryFolder folder;
  // 64 sequences of 2048 tokens a step on 8 GPUs: 16384 tokens a GPU.
  const auto line = [](const std::string& id, const Json& measured) {
    Json run = Json::parse(run_line(id, small_experiment(), 1.0));
    run["measured"] = measured;
    return run.dump() + "\n";
  };
  const std::string file =
      folder.write("runs.jsonl", line("both", {{"step_time_s", 1.0}, {"tokens_per_s_per_gpu", 16000}}) +
                                     line("apart", {{"step_time_s", 1.0}, {"tokens_per_s_per_gpu", 131072}}) +
                                     line("total", {{"tokens_per_s_per_gpu", 131072}}) +
                                     line("milliseconds", {{"step_time_s", 0.001}}));
  const CliRun run = run_orrery({"validate", file, "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json rows = run.json()["rows"];
  EXPECT_EQ(rows[0]["status"], "scored") << rows[0]["reason"];
  EXPECT_EQ(
      rows[1]["reason"],
      "/measured: found step_time_s 1 and tokens_per_s_per_gpu 131072, which would be a step of 0.125 s, "
      "expected figures of one run, seconds a step and rates a GPU");
  for (const size_t row : {2U, 3U}) {
    EXPECT_EQ(rows[row]["status"], "refused");
    EXPECT_NE(rows[row]["reason"].get<std::string>().find(" times as fast as the peak of its 8 GPUs"),
              std::string::npos)
        << rows[row]["reason"];
  }
}

// One run, without a peak of memory, a null model or (at tier measured) another tier: means over nothing.
TEST(ValidateCommand, PrintsADashWhereThereIsNothingToAverage) {
  const TemporaryFolder folder;
  const std::string file = folder.write("runs.jsonl", run_line("only", small_experiment(), 1.0));
  for (const char* tier : {"measured", "stack"}) {
    const CliRun run = run_orrery({"validate", file, "--tier", tier, "--quiet"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out.find("nan"), std::string::npos) << run.out;
  }
}

TEST(ValidateCommand, SelectsByConfidence) {
  const TemporaryFolder folder;
  const std::string file = folder.write("runs.jsonl", run_line("a", small_experiment(), 1.0));
  EXPECT_EQ(run_orrery({"validate", file, "--confidence", "high", "--quiet"}).exit_code, 0);
  const CliRun none = run_orrery({"validate", file, "--confidence", "low"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_EQ(none.err, "--confidence: found \"low\", expected \"high\"\n");
  Json unsaid = Json::parse(run_line("a", small_experiment(), 1.0));
  unsaid.erase("confidence");
  const CliRun nothing =
      run_orrery({"validate", folder.write("unsaid.jsonl", unsaid.dump()), "--confidence", "high"});
  EXPECT_EQ(nothing.err, "--confidence: found \"high\", expected runs that say it: none of these does\n");
}

TEST(ValidateCommand, SaysWhatACalibrationIsNotOf) {
  const TemporaryFolder folder;
  const std::string file = folder.write("runs.jsonl", run_line("a", small_experiment(), 1.0));
  const CliRun other = run_orrery({"validate", file, "--calibration", "h100-sxm-80gb"});
  EXPECT_EQ(other.exit_code, 0);
  EXPECT_NE(other.err.find("warning: --calibration h100-sxm-80gb is of h100-sxm-80gb: 1 of the scored runs "
                           "are of other GPUs\n"),
            std::string::npos)
      << other.err;
  EXPECT_EQ(run_orrery({"validate", file, "--calibration", "a100-sxm4-80gb"}).err.find("warning"),
            std::string::npos);
  // Datasheets know of no profile: a script may always name one.
  const std::vector<std::string> datasheet = {"validate", file, "--tier", "datasheet"};
  std::vector<std::string> both = datasheet;
  both.insert(both.end(), {"--calibration", "h100-sxm-80gb"});
  const CliRun named = run_orrery(both);
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_EQ(named.err.find("warning: --calibration has no effect at --tier datasheet, which knows no "
                           "profile\n"),
            0U)
      << named.err;
  EXPECT_EQ(named.err.find("of other GPUs"), std::string::npos) << named.err;
  EXPECT_EQ(named.out, run_orrery(datasheet).out);
  both.emplace_back("--quiet");
  EXPECT_EQ(run_orrery(both).err, "");
}

TEST(ValidateCommand, SelectsByMeasuredMfu) {
  // Twice the step time is half the MFU; the threshold lies between the two.
  const TemporaryFolder folder;
  const std::string file = folder.write(
      "runs.jsonl", run_line("fast", small_experiment(), 1.0) + run_line("slow", small_experiment(), 2.0));
  const CliRun prediction =
      run_orrery({"predict", "-", "--format", "json", "--engine", "estimate"}, small_experiment().dump());
  const double mfu_at_one_second =
      prediction.json()["mfu"].get<double>() * prediction.json()["step_time_s"].get<double>();
  const std::string between = std::to_string(0.75 * mfu_at_one_second);
  const CliRun run = run_orrery({"validate", file, "--mfu-above", between, "--format", "json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  ASSERT_EQ(run.json()["rows"].size(), 1U);
  EXPECT_EQ(run.json()["rows"][0]["id"], "fast");
  const CliRun refused = run_orrery({"validate", file, "--mfu-above", "5%"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_EQ(refused.err, "--mfu-above: found \"5%\", expected a number of at least 0 and below 1\n");
}

TEST(ValidateCommand, SaysInOneLineWhatIsWrongWithAllRows) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 8; ++i) lines += run_line(std::to_string(i), small_experiment(), 1.0);
  const std::string file = folder.write("runs.jsonl", lines);
  setenv("ORRERY_DATA", "/nowhere", 1);
  const CliRun run = run_orrery({"validate", file, "--threads", "4", "--quiet"});
  unsetenv("ORRERY_DATA");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.err, "orrery: ORRERY_DATA is set to /nowhere, which is not a folder\n");
  EXPECT_EQ(run.out, "");
}

TEST(ValidateCommand, SwitchesOneEffectOffAndListsAll) {
  const CliRun with = run_orrery({"validate", "--id", kFirst, "--format", "json", "--quiet"});
  const CliRun without = run_orrery(
      {"validate", "--id", kFirst, "--without", "tensor_communication", "--format", "json", "--quiet"});
  ASSERT_EQ(without.exit_code, 0) << without.err;
  EXPECT_TRUE(with.json()["without"].is_null());
  EXPECT_EQ(without.json()["without"], "tensor_communication");
  EXPECT_EQ(without.json()["rows"][0]["measured_step_s"], with.json()["rows"][0]["measured_step_s"]);
  const std::string help = run_orrery({"validate", "--help"}).out;
  const std::string documented = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/docs/command-line.md");
  for (const char* effect : {"attention", "sustained_clock", "contention", "interleaving"}) {
    EXPECT_NE(help.find(std::string(effect) + ":"), std::string::npos) << effect;
    EXPECT_NE(documented.find("| `" + std::string(effect) + "` |"), std::string::npos) << effect;
  }
}

TEST(ValidateCommand, SaysWhichRunsItReadAndByWhichVersion) {
  const std::string line = run_line("one", small_experiment(), 1.0);
  const Json first = run_orrery({"validate", "-", "--format", "json", "--quiet"}, line).json();
  const Json again = run_orrery({"validate", "-", "--format", "json", "--quiet"}, line).json();
  const Json other =
      run_orrery({"validate", "-", "--format", "json", "--quiet"}, run_line("two", small_experiment(), 1.0))
          .json();
  EXPECT_EQ(first.at("run"), again.at("run"));
  EXPECT_NE(first.at("run").at("inputs").at("-"), other.at("run").at("inputs").at("-"));
  EXPECT_EQ(first.at("run").at("version").get<std::string>() + "\n", run_orrery({"--version"}).out);
}

TEST(ValidateCommand, RefusesARepeatedId) {
  const TemporaryFolder folder;
  const std::string line = run_line("a", small_experiment(), 1.0);
  const std::string file = folder.write("runs.jsonl", line + line);
  const CliRun run = run_orrery({"validate", file});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err, file + ":2: /id: found \"a\" a second time, expected an id of its own\n");
  EXPECT_EQ(run.out, "");
}

}  // namespace
}  // namespace orrery::test
