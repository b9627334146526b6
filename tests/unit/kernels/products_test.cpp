#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>

#include "kernels/harness/json_line.hpp"
#include "kernels/harness/options.hpp"
#include "kernels/products/gemm_case.hpp"

namespace orrery::kernels {
namespace {

std::vector<GemmCase> read(const std::string& text, std::size_t* others = nullptr) {
  std::istringstream lines(text);
  std::size_t count = 0;
  auto cases = read_gemm_cases(lines, "shapes.jsonl", &count);
  if (others != nullptr) *others = count;
  return cases;
}

std::string refusal(const std::string& text) {
  try {
    read(text);
  } catch (const OptionError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(JsonLine, ReadsFlatObjects) {
  const JsonLine line(R"( {"op": "gemm", "m" : 4096, "x": -1.5e3, "grouped": true, "t": "a\"b\\c"} )");
  EXPECT_EQ(line.text("op"), "gemm");
  EXPECT_EQ(line.integer("m", 1, 5000), 4096);
  EXPECT_TRUE(line.truth("grouped"));
  EXPECT_EQ(line.text("t"), "a\"b\\c");
  EXPECT_FALSE(line.has("n"));
  EXPECT_THROW(line.integer("x", -2000, -1501), LineError);
  EXPECT_EQ(line.integer("x", -1500, 0), -1500);
  EXPECT_THROW(line.text("m"), LineError);
  EXPECT_NO_THROW(JsonLine("{}"));
}

TEST(JsonLine, RefusesWhatIsNone) {
  for (const char* text :
       {"", "[1]", "{\"a\": 1", "{\"a\" 1}", "{\"a\": [1]}", "{\"a\": {}}", "{\"a\": nul}",
        "{\"a\": 1, \"a\": 2}", "{\"a\": 1} x", "{\"a\": \"b}", "{\"a\": 1,}", "{'a': 1}"}) {
    EXPECT_THROW(JsonLine{text}, LineError) << text;
  }
}

TEST(Shapes, ReadsTheContractsLines) {
  std::size_t others = 0;
  const auto cases = read(
      "{\"op\": \"gemm\", \"m\": 4096, \"n\": 6144, \"k\": 4096, \"precision\": \"bf16\"}\n"
      "{\"op\": \"memory\", \"bytes\": 12}\n"
      "\n"
      "{\"op\": \"gemm\", \"m\": 6144, \"n\": 4096, \"k\": 8192, \"precision\": \"bf16\", \"output_bytes\": "
      "8}\n"
      "{\"op\": \"gemm\", \"m\": 64, \"n\": 32, \"k\": 16, \"batch\": 8, \"grouped\": true, \"precision\": "
      "\"fp8_block\"}\n"
      "{\"op\": \"gemm\", \"m\": 4096, \"n\": 6144, \"k\": 4096, \"precision\": \"bf16\"}\n",
      &others);
  ASSERT_EQ(cases.size(), 3U);  // the last repeats the first
  EXPECT_EQ(others, 1U);
  EXPECT_EQ(cases[0], (GemmCase{4096, 6144, 4096, 1, "bf16", 2, "tn", false}));
  EXPECT_EQ(cases[1].layout, "nt");  // what is accumulated is a weight gradient
  EXPECT_EQ(cases[1].output_bytes, 8);
  EXPECT_EQ(cases[2].precision, "fp8");
  EXPECT_TRUE(cases[2].grouped);
}

TEST(Shapes, NamesFileLineFoundAndExpected) {
  EXPECT_EQ(refusal("{\"op\": \"gemm\", \"m\": 0, \"n\": 1, \"k\": 1}\n"
                    "{\"op\": \"gemm\", \"m\": 1, \"n\": 1, \"k\": 1, \"precision\": \"bf61\"}\n"
                    "{\"op\": \"gemm\", \"m\": 1, \"n\": 1, \"k\": 1, \"layout\": \"tt\"}\n"
                    "{\"m\": 1}\n"),
            "shapes.jsonl:1: \"m\": expected an integer in [1, 2147483648]\n"
            "shapes.jsonl:2: \"precision\": found \"bf61\"; nearest is bf16\n"
            "shapes.jsonl:3: \"layout\": found \"tt\", expected tn, nn or nt\n"
            "shapes.jsonl:4: \"op\" is missing");
  EXPECT_EQ(refusal("{\"op\": \"memory\", \"bytes\": 1}\n"),
            "shapes.jsonl: found no line with \"op\": \"gemm\", expected at least one");
}

TEST(GemmCaseTest, CountsFlopsAndBytes) {
  const GemmCase shape{10, 20, 30, 2, "bf16", 8, "nt", false};
  EXPECT_DOUBLE_EQ(shape.flops(), 2.0 * 2 * 10 * 20 * 30);
  EXPECT_DOUBLE_EQ(shape.bytes(), 2.0 * ((10 + 20) * 30 * 2 + 10 * 20 * 8));
  EXPECT_EQ(shape.title(), "10 x 20 x 30 batch 2 bf16 nt accumulated");
  const GemmCase quarter{4, 4, 32, 1, "nvfp4", 2, "tn", false};
  EXPECT_DOUBLE_EQ(quarter.bytes(), 8 * 32 / 2.0 + 4 * 4 * 2);
}

TEST(GemmGrid, CoversEveryPrecisionOnceAndShufflesBySeed) {
  const auto grid = gemm_grid({"bf16", "fp8", "fp32"}, 1, false);
  auto sorted = grid;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
  std::map<std::string, int> layouts, precisions;
  for (const GemmCase& shape : grid) {
    ++layouts[shape.precision + shape.layout];
    ++precisions[shape.precision];
  }
  EXPECT_GT(layouts["bf16nn"], 0);
  EXPECT_GT(layouts["bf16nt"], 0);
  EXPECT_EQ(layouts["fp8nt"] + layouts["fp8nn"], 0);  // transposed copies are made: all fp8 products are tn
  EXPECT_GT(precisions["bf16"], 2 * precisions["fp32"]);
  EXPECT_GT(precisions["fp32"], 10);
  auto again = gemm_grid({"bf16", "fp8", "fp32"}, 1, false);
  EXPECT_EQ(again, grid);
  again = gemm_grid({"bf16", "fp8", "fp32"}, 2, false);
  EXPECT_NE(again, grid);
  std::sort(again.begin(), again.end());
  EXPECT_EQ(again, sorted);
}

TEST(UnevenRows, SumToTheWholeAndSpreadWithTheUnevenness) {
  const auto rows = uneven_rows(16, 1000, 3.0, 5);
  EXPECT_EQ(rows.size(), 16U);
  EXPECT_EQ(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}), 16'000);
  EXPECT_EQ(uneven_rows(16, 1000, 3.0, 5), rows);
  // Chance alone spreads 1,000 rows by sqrt(1000): five deviations are 158.
  for (const std::int64_t even : uneven_rows(16, 1000, 0.0, 5))
    EXPECT_NEAR(static_cast<double>(even), 1000, 158);
  // Shares from 1 to 4: the largest group stands well above what chance does.
  EXPECT_GT(*std::max_element(rows.begin(), rows.end()), 1158);
}

}  // namespace
}  // namespace orrery::kernels
