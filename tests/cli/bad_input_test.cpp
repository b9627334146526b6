#include <fmt/core.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/cli/cli_program.hpp"

// Every refusal of tests/cli/bad_inputs.json, word by word: messages are part of the interface.

namespace orrery::test {
namespace {

struct BadInput {
  std::string name;
  std::vector<std::string> arguments;  ///< after the program's name
  std::string input;                   ///< on standard input
  std::vector<std::string> messages;   ///< lines on standard error
};

void PrintTo(const BadInput& input, std::ostream* out) { *out << input.name; }

/// A case holds `patch` (a JSON merge patch, RFC 7396, of small_experiment) or `text` (the whole input),
/// `options` behind "predict -" or `arguments` instead of them.
BadInput read_case(const Json& json) {
  BadInput input;
  input.name = json["name"];
  input.arguments = json.value("arguments", std::vector<std::string>{"predict", "-"});
  for (const std::string& option : json.value("options", std::vector<std::string>{}))
    input.arguments.push_back(option);
  if (json.contains("text")) {
    input.input = json["text"];
  } else {
    Json experiment = small_experiment();
    if (json.contains("patch")) experiment.merge_patch(json["patch"]);
    input.input = experiment.dump();
  }
  input.messages = json["messages"].get<std::vector<std::string>>();
  return input;
}

std::vector<BadInput> read_cases() {
  std::vector<BadInput> cases;
  const std::string file = std::string(ORRERY_SOURCE_DIR) + "/tests/cli/bad_inputs.json";
  for (const Json& json : read_json_file(file)) cases.push_back(read_case(json));
  return cases;
}

class BadInputs : public testing::TestWithParam<BadInput> {};

TEST_P(BadInputs, AreRefusedWithTheWholeMessageAndNothingElse) {
  const BadInput& input = GetParam();
  const CliRun run = run_orrery(input.arguments, input.input);
  std::string expected;
  for (const std::string& message : input.messages) expected += message + "\n";
  EXPECT_EQ(run.err, expected);
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
}

TEST_P(BadInputs, AreRefusedAsJsonToo) {
  const BadInput& input = GetParam();
  if (std::find(input.arguments.begin(), input.arguments.end(), "--format") != input.arguments.end()) {
    GTEST_SKIP() << "the case is about --format itself";
  }
  std::vector<std::string> arguments = input.arguments;
  arguments.insert(arguments.end(), {"--format", "json"});
  const CliRun run = run_orrery(arguments, input.input);
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  const Json errors = Json::parse(run.err)["errors"];
  ASSERT_EQ(errors.size(), input.messages.size());
  for (size_t i = 0; i < errors.size(); ++i) {
    EXPECT_EQ(errors[i]["message"], input.messages[i]);
    for (const char* key : {"file", "pointer", "found", "expected"})
      EXPECT_TRUE(errors[i].contains(key)) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, BadInputs, testing::ValuesIn(read_cases()),
                         [](const auto& instance) { return instance.param.name; });

TEST(BadInput, LeavesNoOutputFile) {
  const TemporaryFolder folder;
  Json experiment = small_experiment();
  experiment["training"]["micro_batch"] = 0;
  const std::string file = (folder.path() / "trace.json").string();
  EXPECT_EQ(run_orrery({"predict", "-", "--trace", file}, experiment.dump()).exit_code, 2);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(BadInput, OfAnOutputFolderThatDoesNotExistIsRefusedBeforeAnythingIsPrinted) {
  const TemporaryFolder folder;
  const CliRun run = run_orrery({"predict", "-", "--trace", (folder.path() / "none" / "trace.json").string()},
                                small_experiment().dump());
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err, "");
}

}  // namespace
}  // namespace orrery::test
