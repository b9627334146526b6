#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "tests/unit/base/refusal.hpp"

namespace orrery {
namespace {

using testing::problems_of;
using Lines = std::vector<std::string>;

TEST(SpecReader, ReadsWhatIsThere) {
  const Lines lines = problems_of(
      R"({"n": 8, "x": 0.5, "t": "ring", "b": true, "l": [1, 2], "r": "400 Gb/s", "z": "0 B", "o": {"k": 1}})",
      [](const SpecReader& root) {
        root.only({"n", "x", "t", "b", "l", "r", "z", "o"});
        EXPECT_TRUE(root.is_object());
        EXPECT_TRUE(root.has("n"));
        EXPECT_FALSE(root.has("m"));
        EXPECT_EQ(root.at("n").integer(1, 8), 8);
        EXPECT_EQ(root.at("n").number(0, 10), 8.0);
        EXPECT_EQ(root.at("x").number(0, 1), 0.5);
        EXPECT_EQ(root.at("x").number_above(0), 0.5);
        EXPECT_EQ(root.at("t").text(), "ring");
        EXPECT_TRUE(root.at("t").is_text());
        EXPECT_EQ(root.at("t").choice({"tree", "ring"}), 1U);
        EXPECT_EQ(root.at("t").choice_of<int>({{"tree", 30}, {"ring", 40}}), 40);
        EXPECT_TRUE(root.at("b").boolean());
        ASSERT_TRUE(root.at("l").is_list());
        ASSERT_EQ(root.at("l").elements().size(), 2U);
        EXPECT_EQ(root.at("l").elements()[1].pointer(), "/l/1");
        EXPECT_EQ(root.at("l").elements()[1].integer(0, 9), 2);
        EXPECT_EQ(root.at("r").quantity<BytesPerSecond>().base(), 50e9);
        EXPECT_EQ(root.at("z").quantity<Bytes>(true).base(), 0.0);
        ASSERT_EQ(root.members().size(), 8U);
        EXPECT_EQ(root.members()[0].first, "n");
        EXPECT_EQ(root.members()[7].second.at("k").pointer(), "/o/k");
      });
  EXPECT_EQ(lines, Lines{});
}

TEST(SpecReader, RefusesWithWholeLines) {
  struct Case {
    const char* value;
    void (*read)(const SpecReader&);
    const char* line;  // after "f.json: /v: ", empty if accepted
  };
  const auto degree = [](const SpecReader& v) { v.integer(1, 1024); };
  const auto positive = [](const SpecReader& v) { v.integer(1, std::numeric_limits<std::int64_t>::max()); };
  const auto ratio = [](const SpecReader& v) { v.number(0, 1); };
  const auto above = [](const SpecReader& v) { v.number_above(0); };
  const auto rate = [](const SpecReader& v) { v.quantity<BytesPerSecond>(); };
  const auto size_or_zero = [](const SpecReader& v) { v.quantity<Bytes>(true); };
  const auto flag = [](const SpecReader& v) { v.boolean(); };
  const auto text = [](const SpecReader& v) { v.text(); };
  const auto kind = [](const SpecReader& v) { v.choice({"none", "selective", "full"}); };
  const auto list = [](const SpecReader& v) { v.elements(); };
  const auto object = [](const SpecReader& v) { v.members(); };
  const std::vector<Case> cases = {
      {"1", degree, ""},
      {"1024", degree, ""},
      {"0", degree, "found 0, expected an integer in [1, 1024]"},
      {"1025", degree, "found 1025, expected an integer in [1, 1024]"},
      {"3.0", degree, "found 3.0, expected an integer in [1, 1024]"},
      {"3.7", degree, "found 3.7, expected an integer in [1, 1024]"},
      {"1e3", degree, "found 1000.0, expected an integer in [1, 1024]"},
      {"-0", degree, "found -0.0, expected an integer in [1, 1024]"},
      {"\"8\"", degree, "found \"8\", expected an integer in [1, 1024]"},
      {"true", degree, "found true, expected an integer in [1, 1024]"},
      {"null", degree, "found null, expected an integer in [1, 1024]"},
      {"[8]", degree, "found a list, expected an integer in [1, 1024]"},
      {"{}", degree, "found an object, expected an integer in [1, 1024]"},
      {"9223372036854775807", positive, ""},
      {"9223372036854775808", positive, "found 9223372036854775808, expected an integer of at least 1"},
      {"1e300", positive, "found 1e+300, expected an integer of at least 1"},
      {"0", ratio, ""},
      {"1", ratio, ""},
      {"1.0000000000000002", ratio, "found 1.0000000000000002, expected a number in [0, 1]"},
      {"-0.5", ratio, "found -0.5, expected a number in [0, 1]"},
      {"\"0.5\"", ratio, "found \"0.5\", expected a number in [0, 1]"},
      {"0", above, "found 0, expected a number above 0"},
      {"5e-324", above, ""},
      {"450", rate, "found 450 (number), expected a string with a rate unit such as \"450 GB/s\""},
      {"4.5", rate, "found 4.5 (number), expected a string with a rate unit such as \"450 GB/s\""},
      {"\"450 GB\"", rate, "found \"450 GB\", expected a string with a rate unit such as \"450 GB/s\""},
      {"\"-1 GB/s\"", rate, "found \"-1 GB/s\", expected a string with a rate unit such as \"450 GB/s\""},
      {"\"0 GB/s\"", rate,
       "found \"0 GB/s\", expected a string with a rate unit such as \"450 GB/s\", above zero"},
      {"\"0 GiB\"", size_or_zero, ""},
      {"0", size_or_zero, "found 0 (number), expected a string with a size unit such as \"80 GiB\""},
      {"1", flag, "found 1 (number), expected true or false"},
      {"\"true\"", flag, "found \"true\", expected true or false"},
      {"7", text, "found 7 (number), expected a string"},
      {"\"selectiv\"", kind, "found \"selectiv\", expected \"selective\" or one of none, full"},
      {"\"everything\"", kind, "found \"everything\", expected one of none, selective, full"},
      {"false", kind, "found false, expected one of none, selective, full"},
      {"{}", list, "found an object, expected a list"},
      {"[]", object, "found a list, expected an object"},
      {"\"a\\nb\\u0000\"", kind, "found \"a\\nb\\u0000\", expected one of none, selective, full"},
  };
  for (const Case& c : cases) {
    const Lines lines = problems_of(std::string("{\"v\": ") + c.value + "}",
                                    [&](const SpecReader& root) { c.read(root.at("v")); });
    const Lines expected = *c.line == '\0' ? Lines{} : Lines{std::string("f.json: /v: ") + c.line};
    EXPECT_EQ(lines, expected) << c.value;
  }
}

TEST(SpecReader, GoesOnWithAHarmlessValueInsideTheRange) {
  problems_of(R"({"v": null})", [](const SpecReader& root) {
    const SpecReader v = root.at("v");
    EXPECT_EQ(v.integer(4, 16), 4);
    EXPECT_EQ(v.integer(0, 16), 1);
    EXPECT_EQ(v.integer(-8, -2), -2);
    EXPECT_EQ(v.number(0, 0.5), 0.5);
    EXPECT_GT(v.number_above(3), 3.0);
    EXPECT_EQ(v.quantity<Seconds>().base(), 1.0);
    EXPECT_FALSE(v.boolean());
    EXPECT_EQ(v.text(), "");
    EXPECT_EQ(v.choice({"a", "b"}), 0U);
    EXPECT_TRUE(v.elements().empty());
    EXPECT_TRUE(v.members().empty());
  });
}

TEST(SpecReader, AnUnknownKeyIsRefusedWithTheNearestFirst) {
  const Lines lines =
      problems_of(R"({"parallel": {"pipe": 2, "tensro": 8, "a/~b": 1}})", [](const SpecReader& root) {
        root.only({"parallel"});
        root.at("parallel").only({"tensor", "pipeline", "data"});
      });
  EXPECT_EQ(
      lines,
      (Lines{"f.json: /parallel/pipe: found an unknown key, expected one of tensor, pipeline, data",
             "f.json: /parallel/tensro: found an unknown key, expected \"tensor\" or one of pipeline, data",
             "f.json: /parallel/a~1~0b: found an unknown key, expected one of tensor, pipeline, data"}));
  EXPECT_EQ(problems_of(R"({"a": 1})", [](const SpecReader& root) { root.only(std::vector<std::string>{}); }),
            Lines{"f.json: /a: found an unknown key, expected an empty object"});
}

TEST(SpecReader, AMissingMemberIsRefusedWhenItIsRead) {
  const Lines lines = problems_of(R"({"parallel": {}})", [](const SpecReader& root) {
    const SpecReader unread = root.at("never read");
    EXPECT_EQ(unread.pointer(), "/never read");
    root.at("parallel").at("tensor").integer(1, 1024);
    root.at("rate").quantity<BytesPerSecond>();
    root.at("kind").choice({"a", "b"});
  });
  EXPECT_EQ(lines,
            (Lines{"f.json: /parallel/tensor: found nothing, expected an integer in [1, 1024]",
                   "f.json: /rate: found nothing, expected a string with a rate unit such as \"450 GB/s\"",
                   "f.json: /kind: found nothing, expected one of a, b"}));
}

TEST(SpecReader, WhatFollowsFromARefusalIsNotRefusedAgain) {
  const Lines lines = problems_of(R"({"parallel": 5})", [](const SpecReader& root) {
    const SpecReader parallel = root.at("parallel");
    parallel.only({"tensor", "overlap"});
    parallel.at("tensor").integer(1, 1024);
    parallel.at("overlap").at("gradient").boolean();
    const SpecReader training = root.at("training");
    training.at("tokens").number_above(0);
    training.at("data").members();
  });
  EXPECT_EQ(lines, (Lines{"f.json: /parallel: found 5 (number), expected an object",
                          "f.json: /training: found nothing, expected an object"}));
}

TEST(SpecReader, ReadersOfMissingMembersOutliveTheirParent) {
  const Json json = parse_json("{}", "f.json");
  Problems problems("f.json");
  const SpecReader missing = [&] { return SpecReader(json, "", problems).at("a"); }();
  EXPECT_FALSE(missing.is_object() || missing.is_list() || missing.is_text());
  EXPECT_FALSE(missing.has("b"));
  EXPECT_EQ(missing.text(), "");
  EXPECT_EQ(problems.list().size(), 1U);
}

TEST(SpecReader, RefusalsOfCallersNameThePlace) {
  const Lines lines = problems_of(R"({"v": [3]})", [](const SpecReader& root) {
    root.at("v").elements()[0].refuse("an even number", true);
    root.at("v").refuse_message("three does not divide by two");
  });
  EXPECT_EQ(lines, (Lines{"f.json: /v/0: found 3, expected an even number",
                          "f.json: /v: three does not divide by two"}));
}

TEST(SpecReader, ReadsDocumentsBuiltInCode) {
  const Json json = {{"n", size_t{7}}};  // an unsigned number, as no parsed document holds
  Problems problems("f.json");
  EXPECT_EQ(SpecReader(json, "", problems).at("n").integer(1, 8), 7);
  EXPECT_TRUE(problems.empty());
}

TEST(DescribeJson, CutsLongTextsBetweenCharacters) {
  EXPECT_EQ(describe_json(Json(std::string(60, 'a'))), '"' + std::string(60, 'a') + '"');
  EXPECT_EQ(describe_json(Json(std::string(61, 'a'))), '"' + std::string(60, 'a') + "...\"");
  // The 60th byte falls into the two bytes of e acute: it goes as a whole.
  EXPECT_EQ(describe_json(Json(std::string(59, 'a') + "\xC3\xA9" + "b")),
            '"' + std::string(59, 'a') + "...\"");
}

TEST(PointerToken, EscapesAsRfc6901) {
  EXPECT_EQ(pointer_token("a/b~c"), "a~1b~0c");
  EXPECT_EQ(pointer_token("~1"), "~01");
  EXPECT_EQ(pointer_token(""), "");
}

}  // namespace
}  // namespace orrery
