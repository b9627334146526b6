// No field is ever silently ignored: every key that a reader accepts stands in keys.json with a value that
// changes the prediction (not only its echo of the inputs), or that is refused by name. The readers say
// themselves which keys there are: an unknown one is refused with the list of the known.

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "reports/answers/predict.hpp"
#include "reports/experiment/experiment.hpp"
#include "reports/writers/prediction_writer.hpp"
#include "sim/base/data_files.hpp"
#include "sim/base/json_reader.hpp"

namespace orrery {
namespace {

const std::string kFolder = std::string(ORRERY_SOURCE_DIR) + "/tests/properties/keys/";

const Json& table() {
  static const Json kTable = read_json_file(kFolder + "keys.json");
  return kTable;
}

/// What one experiment comes to: its prediction without the inputs that it repeats, or its refusals.
struct Outcome {
  std::string prediction;  ///< empty: refused
  std::vector<InputProblem> problems;
};

Outcome outcome_of(const Json& document, EngineKind engine) {
  try {
    PredictOptions options;
    options.engine = engine;
    Json result = prediction_json(predict(read_experiment(document, "walk"), options));
    for (const char* echo : {"experiment", "origins", "run"}) result.erase(echo);
    return {result.dump(), {}};
  } catch (const InputError& error) {
    return {"", error.problems()};
  }
}

std::string text_of(const std::vector<InputProblem>& problems) {
  std::string text;
  for (const InputProblem& problem : problems) text += problem.line() + "\n";
  return text;
}

/// An experiment of the table: the base with the entry's own changes to it.
Json experiment_of(const Json& entry) {
  Json document = table()["bases"]["dense"];
  if (entry.contains("base")) document.merge_patch(table()["bases"][entry["base"].get<std::string>()]);
  if (entry.contains("with")) document.merge_patch(entry["with"]);
  return document;
}

TEST(KeyWalk, EveryKeyActsOrIsRefused) {
  // Many keys share a base, which is predicted once.
  std::map<std::string, std::map<EngineKind, Outcome>> before;
  for (const auto& [name, entry] : table()["keys"].items()) {
    const std::string pointer = entry.value("key", name);
    const Json document = experiment_of(entry);
    const auto base = [&before, &document](EngineKind engine) -> const Outcome& {
      const auto [entry_of, is_new] = before[document.dump()].try_emplace(engine);
      if (is_new) entry_of->second = outcome_of(document, engine);
      return entry_of->second;
    };
    if (base(EngineKind::estimate).prediction.empty()) {
      ADD_FAILURE() << pointer << ": its base is refused: " << text_of(base(EngineKind::estimate).problems);
      continue;
    }
    Json changed = document;
    Json& parent = changed[Json::json_pointer(pointer).parent_pointer()];
    if (parent.is_string()) parent = Json{{"preset", parent}};
    changed[Json::json_pointer(pointer)] = entry["value"];
    const Outcome after = outcome_of(changed, EngineKind::estimate);
    const std::string refusal = text_of(after.problems);
    if (entry.value("refused", false)) {
      EXPECT_NE(refusal.find(entry.value("names", pointer)), std::string::npos)
          << pointer << " should be refused by name: " << refusal;
      continue;
    }
    if (after.prediction.empty()) {
      ADD_FAILURE() << pointer << " is refused: " << refusal;
      continue;
    }
    // What the closed form cannot see may act in the simulation.
    if (after.prediction != base(EngineKind::estimate).prediction) continue;
    EXPECT_TRUE(outcome_of(changed, EngineKind::simulate).prediction != base(EngineKind::simulate).prediction)
        << pointer << " = " << entry["value"].dump() << " changes nothing";
  }
}

/// Keys that the reader of an object names when it refuses an unknown one.
std::set<std::string> accepted_keys(const Json& section_entry, const std::string& pointer) {
  Json document = experiment_of(section_entry);
  Json& section = pointer.empty() ? document : document[Json::json_pointer(pointer)];
  if (section.is_string()) section = Json{{"preset", section}};
  std::set<std::string> keys;
  {
    const std::string unknown = "zzzzzzzzzzzzzzzz";
    section[unknown] = 1;
    for (const InputProblem& problem : outcome_of(document, EngineKind::estimate).problems) {
      if (problem.pointer != pointer + "/" + unknown || problem.found != "an unknown key") continue;
      std::string list = problem.expected;
      std::erase(list, '"');
      for (const std::string_view filler : {"one of ", " or "}) {
        for (size_t at = list.find(filler); at != std::string::npos; at = list.find(filler)) {
          list.replace(at, filler.size(), filler == " or " ? ", " : "");
        }
      }
      for (size_t begin = 0; begin < list.size();) {
        const size_t end = std::min(list.find(", ", begin), list.size());
        keys.insert(list.substr(begin, end - begin));
        begin = end + 2;
      }
    }
  }
  keys.erase("...");
  return keys;
}

/// Keys of the software presets: the refusal of an unknown one names thirty at most, and there are more.
void add_keys_of_stacks(std::set<std::string>& keys) {
  for (const std::string& name : preset_names("models/software")) {
    const Json stack = read_json_file(std::string(ORRERY_SOURCE_DIR) + "/models/software/" + name + ".json");
    const auto add = [&keys](const Json& values) {
      for (const auto& [key, value] : values.items()) keys.insert(key);
    };
    add(stack);
    for (const Json& entry : stack.value("history", Json::array()))
      add(entry.value("changes", Json::object()));
  }
}

TEST(KeyWalk, LeavesOutNoKeyOfTheReaders) {
  const Json& keys = table()["keys"];
  const Json& without_effect = table()["without_effect"];
  for (const auto& [pointer, section] : table()["sections"].items()) {
    std::set<std::string> accepted = accepted_keys(section, pointer);
    EXPECT_FALSE(accepted.empty()) << pointer;
    if (pointer == "/software") add_keys_of_stacks(accepted);
    for (const std::string& key : accepted) {
      const std::string place = pointer + "/" + key;
      const bool walked = keys.contains(place) || table()["sections"].contains(place) ||
                          without_effect.contains(key) || without_effect.contains(place);
      EXPECT_TRUE(walked) << place << " is not in tests/properties/keys/keys.json";
    }
  }
}

}  // namespace
}  // namespace orrery
