#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/cli/cli_program.hpp"

// docs/experiment.md against the readers: an unknown key is refused with the list of the known ones.

namespace orrery::test {
namespace {

/// Keys of the first column of the table under a heading ("`tensor`").
std::set<std::string> documented_keys(const std::string& heading) {
  const std::string text = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/docs/experiment.md");
  std::set<std::string> keys;
  const size_t begin = text.find("\n" + heading + "\n");
  if (begin == std::string::npos) return keys;
  const size_t end = text.find("\n#", begin + heading.size());
  const std::string section = text.substr(begin, end - begin);
  for (size_t row = section.find("\n| `"); row != std::string::npos; row = section.find("\n| `", row + 1)) {
    const size_t key = row + 4;
    keys.insert(section.substr(key, section.find('`', key) - key));
  }
  return keys;
}

/// Keys that the reader of a section names when it refuses an unknown one.
std::set<std::string> accepted_keys(Json experiment, const std::string& pointer) {
  const std::string unknown = "zzzzzzzzzzzzzzzz";
  const std::string place = pointer + "/" + unknown;
  Json& section = pointer.empty() ? experiment : experiment[Json::json_pointer(pointer)];
  if (section.is_string()) section = Json{{"preset", section}};
  section[unknown] = 1;
  const CliRun run = run_orrery({"predict", "-", "--format", "json"}, experiment.dump());
  std::set<std::string> keys;
  const Json errors = Json::parse(run.err)["errors"];
  for (const Json& error : errors) {
    if (error["pointer"] != place) continue;
    std::string list = error["expected"];
    list = list.substr(std::string("one of ").size());
    for (size_t begin = 0; begin < list.size();) {
      const size_t end = std::min(list.find(", ", begin), list.size());
      keys.insert(list.substr(begin, end - begin));
      begin = end + 2;
    }
  }
  return keys;
}

struct Section {
  std::string heading, pointer;
  std::set<std::string> undocumented;  ///< keys explained in the text instead of the table
};

class DocumentedSection : public testing::TestWithParam<Section> {};

TEST_P(DocumentedSection, ListsTheKeysThatTheReaderAccepts) {
  const Section& section = GetParam();
  const std::set<std::string> documented = documented_keys(section.heading);
  std::set<std::string> accepted = accepted_keys(small_experiment(), section.pointer);
  ASSERT_FALSE(accepted.empty());
  const bool cut = accepted.erase("...") > 0;  // a message names thirty keys at most
  for (const std::string& key : accepted) {
    EXPECT_TRUE(documented.count(key) || section.undocumented.count(key)) << "not in the table: " << key;
  }
  for (const std::string& key : documented) {
    EXPECT_TRUE(cut || accepted.count(key)) << "not accepted: " << key;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Experiment, DocumentedSection,
    testing::Values(Section{"## Top level", "", {}}, Section{"## `model`", "/model", {"schema", "preset"}},
                    Section{"## `training`", "/training", {"schema"}},
                    Section{"### `training.data`", "/training/data", {}},
                    Section{"### `training.checkpoint`", "/training/checkpoint", {}},
                    Section{"### `training.sync`", "/training/sync", {}},
                    Section{"## `parallel`", "/parallel", {}},
                    Section{"## `cluster`", "/cluster", {"schema", "preset", "sources", "note"}},
                    Section{"### `cluster.node`", "/cluster/node", {"preset", "sources", "note"}},
                    Section{"### `cluster.fabric`", "/cluster/fabric", {"sources", "note"}},
                    Section{"## `software`", "/software", {"schema", "preset"}}),
    [](const auto& instance) {
      std::string name = instance.param.pointer.empty() ? "top" : instance.param.pointer.substr(1);
      std::replace(name.begin(), name.end(), '/', '_');
      return name;
    });

/// Words of a command line; single quotes hold one together.
std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

TEST(Readme, CommandsOnShippedInputsRun) {
  const std::string text = read_text_file(std::string(ORRERY_SOURCE_DIR) + "/README.md");
  const TemporaryFolder folder;
  int commands = 0;
  for (size_t begin = text.find("\norrery "); begin != std::string::npos;
       begin = text.find("\norrery ", begin + 1)) {
    std::string line = text.substr(begin + 1, text.find('\n', begin + 1) - begin - 1);
    line = line.substr(0, line.find(" #"));
    // Commands on the reader's own files, in a pipe, or over all runs, which tests/validation has.
    const std::vector<std::string> words = words_of(line);
    const bool own = std::any_of(words.begin(), words.end(), [](const std::string& word) {
      return word == "|" || word == "validate" || word.starts_with("my.json") || word.ends_with(".jsonl") ||
             word.starts_with("measurements/");
    });
    if (own) continue;
    ++commands;
    std::vector<std::string> arguments(words.begin() + 1, words.end());
    for (std::string& argument : arguments) {  // what it writes
      if (argument.ends_with(".svg")) argument = (folder.path() / argument).string();
    }
    const CliRun run = run_orrery(arguments);
    EXPECT_EQ(run.exit_code, 0) << line << "\n" << run.err;
    EXPECT_FALSE(run.out.empty()) << line;
  }
  EXPECT_GE(commands, 8);
}

}  // namespace
}  // namespace orrery::test
