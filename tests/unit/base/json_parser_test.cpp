#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sim/base/json_reader.hpp"
#include "tests/unit/base/refusal.hpp"

namespace orrery {
namespace {

using Lines = std::vector<std::string>;

Lines refused(const std::string& text) {
  return testing::refusals([&] { parse_json(text, "f.json"); });
}

std::string nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJson, KeepsTheOrderOfKeysAndTheTypesOfNumbers) {
  const Json json = parse_json(R"({"z": 1, "a": [1.0, -2, 1e3, true, null, "x"], "m": {}})", "f.json");
  EXPECT_EQ(json.dump(), R"({"z":1,"a":[1.0,-2,1000.0,true,null,"x"],"m":{}})");
  EXPECT_TRUE(json["z"].is_number_integer());
  EXPECT_TRUE(json["a"][0].is_number_float());
  EXPECT_TRUE(json["a"][2].is_number_float());
}

TEST(ParseJson, AcceptsAnyValueAndSpaceAround) {
  EXPECT_EQ(parse_json(" \n\t\"x\"\r\n ", "f").get<std::string>(), "x");
  EXPECT_EQ(parse_json("7", "f").get<int>(), 7);
  EXPECT_TRUE(parse_json("[]", "f").empty());
  EXPECT_EQ(parse_json("\"\xC3\xA9 \\u00e9\"", "f").get<std::string>(), "\xC3\xA9 \xC3\xA9");
}

TEST(ParseJson, AcceptsDepth64AndRefuses65) {
  EXPECT_NO_THROW(parse_json(nested(64), "f.json"));
  std::string pointer;
  for (int i = 0; i < 64; ++i) pointer += "/0";
  EXPECT_EQ(refused(nested(65)),
            Lines{"f.json: " + pointer +
                  ": found nesting deeper than 64, expected at most 64 levels of lists and objects"});
  // A million levels are refused at the 65th, not by a stack overflow.
  EXPECT_EQ(refused(std::string(1000000, '[')).size(), 1U);
}

TEST(ParseJson, RefusesWithWholeLines) {
  struct Case {
    std::string text;
    Lines lines;
  };
  const std::string invalid_utf8 = "{\"a\": \"\xFF\"}";
  const std::vector<Case> cases = {
      {"", {"f.json: found an empty text, expected a JSON document"}},
      {" \n ", {"f.json: found an empty text, expected a JSON document"}},
      {"\xEF\xBB\xBF{}",
       {"f.json: line 1, column 1: found a byte-order mark, expected JSON in UTF-8 without one"}},
      {std::string("{}\0{", 4), {"f.json: line 1, column 3: found a zero byte, expected JSON text"}},
      {"{\n  \"a\": 1,\n}",
       {"f.json: line 3, column 1: syntax error while parsing object key - unexpected '}'; expected string "
        "literal"}},
      {"{\"a\": 1} x",
       {"f.json: line 1, column 10: syntax error while parsing value - invalid literal; expected end of "
        "input"}},
      {"{\"a\": 1}{}",
       {"f.json: line 1, column 9: syntax error while parsing value - unexpected '{'; expected end of "
        "input"}},
      {"{\"a\": NaN}", {"f.json: line 1, column 7: syntax error while parsing value - invalid literal"}},
      {"[Infinity]", {"f.json: line 1, column 2: syntax error while parsing value - invalid literal"}},
      {"[-Infinity]",
       {"f.json: line 1, column 3: syntax error while parsing value - invalid number; expected digit after "
        "'-'"}},
      {"[01]",
       {"f.json: line 1, column 3: syntax error while parsing array - unexpected number literal; expected "
        "']'"}},
      {"[1] // no",
       {"f.json: line 1, column 5: syntax error while parsing value - invalid literal; expected end of "
        "input"}},
      {invalid_utf8,
       {"f.json: line 1, column 8: syntax error while parsing value - invalid string: ill-formed UTF-8 "
        "byte"}},
      {R"({"a": {"b": [1, 1e999]}})",
       {"f.json: /a/b/1: found 1e999, expected a number that a double can hold (at most 1.8e308)"}},
      {"-1e999", {"f.json: found -1e999, expected a number that a double can hold (at most 1.8e308)"}},
      {R"({"a": 1, "b": 2, "a": 3})", {"f.json: /a: found a duplicate key, expected each key once"}},
      {R"([{"x": {"a/b": 1, "a/b": 2}}, {"k": 1, "k": 1, "j": 1, "j": {}}])",
       {"f.json: /0/x/a~1b: found a duplicate key, expected each key once",
        "f.json: /1/k: found a duplicate key, expected each key once",
        "f.json: /1/j: found a duplicate key, expected each key once"}},
      {R"({"a": 1, "a": 2, "b": 1e999})",
       {"f.json: /a: found a duplicate key, expected each key once",
        "f.json: /b: found 1e999, expected a number that a double can hold (at most 1.8e308)"}},
  };
  for (const Case& c : cases) EXPECT_EQ(refused(c.text), c.lines) << c.text;
}

TEST(ParseJson, NamesTheEndWhereTheTextBreaksOff) {
  const Lines lines = refused("{\n\"a\": [1, 2");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].rfind("f.json: line 2, column ", 0), 0U) << lines[0];
  EXPECT_NE(lines[0].find("unexpected end of input"), std::string::npos) << lines[0];
}

TEST(ParseJson, DoesNotRepeatAHugeTokenInTheMessage) {
  const Lines lines = refused("[\"" + std::string(1 << 20, 'a'));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_LT(lines[0].size(), 200U);
  const Lines digits = refused("[1" + std::string(5000, '0') + "]");
  ASSERT_EQ(digits.size(), 1U);
  EXPECT_LT(digits[0].size(), 200U);
}

TEST(ParseJson, FindsADuplicateAmongManyKeysQuickly) {
  std::string text = "{";
  for (int i = 0; i < 100000; ++i) text += "\"k" + std::to_string(i) + "\": 0, ";
  EXPECT_EQ(parse_json(text + "\"last\": 1}", "f").size(), 100001U);
  EXPECT_EQ(refused(text + "\"k99999\": 1}"),
            Lines{"f.json: /k99999: found a duplicate key, expected each key once"});
  EXPECT_EQ(refused(text + "\"k3\": 1}"),
            Lines{"f.json: /k3: found a duplicate key, expected each key once"});
}

TEST(ParseJson, KeepsIntegersThatAreTooLargeForTheReaderToRefuse) {
  EXPECT_EQ(parse_json("9223372036854775807", "f").get<std::int64_t>(),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_TRUE(parse_json("9223372036854775808", "f").is_number_unsigned());
  EXPECT_TRUE(parse_json("99999999999999999999", "f").is_number_float());
}

TEST(ParseJson, MinusZeroIsANumberAndNoInteger) {
  const Json zero = parse_json("-0", "f");
  EXPECT_TRUE(zero.is_number_float());
  EXPECT_TRUE(std::signbit(zero.get<double>()));
}

}  // namespace
}  // namespace orrery
