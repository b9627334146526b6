#include "sim/base/json_edit.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/base/refusal.hpp"

namespace orrery {
namespace {

using Lines = std::vector<std::string>;

std::string edited(const std::string& document, const std::string& path, const std::string& value) {
  Json json = parse_json(document, "f.json");
  set_json_path(json, path, value);
  return json.dump();
}

TEST(SetJsonPath, SetsReplacesAndCreates) {
  EXPECT_EQ(edited(R"({"a": 1})", "a", "2"), R"({"a":2})");
  EXPECT_EQ(edited(R"({"a": {"b": 1, "c": 2}})", "a.b", "3"), R"({"a":{"b":3,"c":2}})");
  EXPECT_EQ(edited("{}", "training.data.workers", "4"), R"({"training":{"data":{"workers":4}}})");
  EXPECT_EQ(edited(R"({"a": 1})", "b", "null"), R"({"a":1,"b":null})");
  EXPECT_EQ(edited(R"({"a": {"b": 1}})", "a", "\"x\""), R"({"a":"x"})");
}

TEST(SetJsonPath, TheValueIsJsonElseText) {
  EXPECT_EQ(edited("{}", "a", "3.0"), R"({"a":3.0})");
  EXPECT_EQ(edited("{}", "a", "true"), R"({"a":true})");
  EXPECT_EQ(edited("{}", "a", "400 Gb/s"), R"({"a":"400 Gb/s"})");
  EXPECT_EQ(edited("{}", "a", "dgx-h100"), R"({"a":"dgx-h100"})");
  EXPECT_EQ(edited("{}", "a", ""), R"({"a":""})");
  EXPECT_EQ(edited("{}", "a", "1e999"), R"({"a":"1e999"})");
  EXPECT_EQ(edited("{}", "a", R"([1, {"b": 2}])"), R"({"a":[1,{"b":2}]})");
}

TEST(SetJsonPath, BelowAPresetsNameTheNameBecomesAnObject) {
  EXPECT_EQ(edited(R"({"cluster": "dgx-h100"})", "cluster.nodes", "8"),
            R"({"cluster":{"preset":"dgx-h100","nodes":8}})");
  EXPECT_EQ(edited(R"({"cluster": {"node": "dgx-h100"}})", "cluster.node.nics.count", "4"),
            R"({"cluster":{"node":{"preset":"dgx-h100","nics":{"count":4}}}})");
}

TEST(SetJsonPath, ListIndexesAreNumbers) {
  EXPECT_EQ(edited(R"({"l": [1, {"a": 2}]})", "l.0", "5"), R"({"l":[5,{"a":2}]})");
  EXPECT_EQ(edited(R"({"l": [1, {"a": 2}]})", "l.1.a", "5"), R"({"l":[1,{"a":5}]})");
}

TEST(SetJsonPath, RefusesABadPathAndLeavesTheDocument) {
  struct Case {
    std::string path;
    std::string value;
    std::string line;
  };
  std::string deep = "k";
  for (int i = 0; i < 64; ++i) deep += ".k";
  const std::string document = R"({"n":3,"l":[1,2],"e":[],"o":{"t":true}})";
  const std::vector<Case> cases = {
      {"", "1",
       "--set : found an empty key, expected keys separated by single dots, such as training.micro_batch"},
      {"o..t", "1",
       "--set o..t: /o: found an empty key, expected keys separated by single dots, such as "
       "training.micro_batch"},
      {"o.", "1",
       "--set o.: /o: found an empty key, expected keys separated by single dots, such as "
       "training.micro_batch"},
      {"n.x", "1",
       "--set n.x: /n: found 3 (number), expected an object, a list or a preset's name to set a key below "
       "it"},
      {"o.t.x", "1",
       "--set o.t.x: /o/t: found true, expected an object, a list or a preset's name to set a key below it"},
      {"l.2", "1", "--set l.2: /l/2: found no such element, expected an index in [0, 1]"},
      {"l.-1", "1", "--set l.-1: /l/-1: found no such element, expected an index in [0, 1]"},
      {"l.x", "1", "--set l.x: /l/x: found no such element, expected an index in [0, 1]"},
      {"e.0", "1", "--set e.0: /e/0: found no such element, expected no index: the list is empty"},
      {"o.x", R"({"a": 1, "a": 2})", "--set o.x: /a: found a duplicate key, expected each key once"},
      {deep, "1", "--set " + deep + ": found a path deeper than 64, expected at most 64 keys"},
  };
  for (const Case& c : cases) {
    Json json = parse_json(document, "f.json");
    EXPECT_EQ(testing::refusals([&] { set_json_path(json, c.path, c.value); }), Lines{c.line});
    EXPECT_EQ(json.dump(), document) << c.path;
  }
}

}  // namespace
}  // namespace orrery
